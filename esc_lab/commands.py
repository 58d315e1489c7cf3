"""The laboratory's commands as `esc-receiver` finds them by entry points: each is imported when it is used."""

from __future__ import annotations

from receiver.cli.deferred import Deferred

demo_command = Deferred(
    "demo",
    "esc_lab.demo.demo",
    "Watch the whole service at work on emulated ESCs and their orchestrators, until Ctrl-C.",
)
emulate_command = Deferred(
    "emulate",
    "esc_lab.emulator.command",
    "Be an ESC from outside: its REST northbound API, and the callbacks that follow.",
)
simulate_command = Deferred(
    "simulate",
    "esc_lab.simulator.command",
    "Play realistic ESC traffic at a receiver: deploys, updates, recoveries, scaling, undeploys, good and bad.",
)
