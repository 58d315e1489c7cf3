"""Whole operations on deployments and VMs: the simulator's scripts, at the pace that the data model sets.

Which VM answers when follows from `bootup_time`, `reboot_time` and `recovery_wait_time`; each VM keeps its own time, so
those of one deployment interleave. This file must not know requests, nor how callbacks are sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from esc_lab.emulator.datamodel import Group
from esc_lab.emulator.esc import Esc
from esc_lab.emulator.guesses import GUESSES
from esc_lab.emulator.placement import renew
from esc_lab.emulator.work_items import Work
from esc_lab.emulator.world import Placed, Urls
from esc_lab.simulator.esc_messages import Message
from esc_lab.simulator.fleet import Vm
from esc_lab.simulator.lives import SCRIPTS
from esc_lab.simulator.resource_scripts import Resource
from esc_lab.simulator.script_model import PACE_OTHERS_S, PACE_S, Script
from esc_lab.simulator.script_runner import Act, Cast, rehearse, settle

ALL_SCRIPTS: Mapping[str, Script] = {**SCRIPTS, **GUESSES}
ANSWERS_WITHIN = 0.2, 0.8
"""Of the time a VM may take, from and to: when it does answer."""
_AFTER_REBOOT = frozenset({"VM_REBOOTED", "VM_REBOOT_COMPLETE", "VM_RECOVERY_REBOOT"})


@dataclass(frozen=True, slots=True)
class Play:
    """A script with its cast. `network` comes or goes with it, network before subnet."""

    script: str
    cast: Cast
    network: Sequence[Resource] = ()
    silent: bool = False
    """A VM of it never answers: the end comes only when its `bootup_time` is over."""


def scripted(
    esc: Esc,
    placed: Placed,
    play: Play,
    urls: Urls,
    *,
    afterwards: Callable[[], None] | None = None,
    interrupts: bool = False,
) -> Work:
    """The work that plays a script on a deployment; `afterwards` is called when it has ended."""
    script = _in_the_style_of(esc, play)
    rehearsal = rehearse(
        script,
        placed.deployment,
        play.cast,
        play.network,
        style=esc.habits.header_style,
        rng=esc.rng,
        merge=partial(_timed, {group.name: group for group in placed.model.groups}),
        renew=lambda vm, rng: renew(esc, placed.deployment.vim, vm, rng),
    )
    operation = rehearsal.operation
    if play.silent:
        *others, last = operation.messages
        waited = max(group.bootup_s for group in placed.model.groups)
        operation = replace(operation, messages=(*others, replace(last, pause_s=waited)))

    def hear(message: Message) -> None:
        placed.hear(message)
        esc.world.touch(placed)

    def finish() -> None:
        settle(script, placed.deployment, play.cast, rehearsal.finals)
        placed.vm_states |= {
            name: state for name, state in _ended(placed.deployment.vms).items() if placed.vm_states.get(name) != state
        }
        if placed.deployment.state == "ERROR":  # an esc_event reports no state of the service
            placed.reported = "SERVICE_ERROR_STATE"
        esc.world.touch(placed)
        if afterwards is not None:
            afterwards()

    return Work(line_of(placed), operation, urls, hear, finish, interrupts)


def line_of(placed: Placed) -> str:
    """The line of all work on a deployment."""
    return f"deployment {placed.id}"


def _in_the_style_of(esc: Esc, play: Play) -> Script:
    script = ALL_SCRIPTS[play.script]
    if script.kind == "update" and script.closing is not None and esc.habits.updated_stage == "VM_ALIVE":
        # As printed, only the text tells that a VM was changed (docs/esc-callbacks.md#trap-1).
        lines = {role: steps for role, steps in script.lines.items() if role != "changed"}
        if "changed_by_text" in script.lines:
            return replace(script, lines={**lines, "changed": script.lines["changed_by_text"]})
    return script


def _ended(vms: Sequence[Vm]) -> dict[str, str]:
    """What ESC tells of VMs whose last message did not say."""
    words = {
        "ALIVE": "VM_ALIVE_STATE",
        "INERT": "VM_INERT_STATE",
        "STOPPED": "VM_SHUTOFF_STATE",
        "ERROR": "VM_ERROR_STATE",
    }
    return {vm.name: words[vm.state] for vm in vms if vm.state in words}


def _timed(groups: Mapping[str, Group], lines: Sequence[Sequence[Act]], rng: Random) -> list[Act]:
    """The lines in the order of time: each VM takes its own."""
    due: list[tuple[float, int, Act]] = []
    for number, line in enumerate(lines):
        at, before = 0.0, ""
        for act in line:
            at += _pause_s(act, before, groups, rng)
            before = act.step.says
            due.append((at, number, act))
    due.sort(key=lambda one: one[:2])
    return [
        replace(act, pause_s=at - (due[position - 1][0] if position else 0.0))
        for position, (at, _, act) in enumerate(due)
    ]


def _pause_s(act: Act, before: str, groups: Mapping[str, Group], rng: Random) -> float:
    group = groups.get(act.source.vm.group) if act.source else None
    share = rng.uniform(*ANSWERS_WITHIN)
    if group is None:
        return rng.uniform(*PACE_S.get(act.step.says, PACE_OTHERS_S))
    says = act.step.says
    if says == "VM_RECOVERY_INIT":
        return group.recovery_wait_s
    if says in {"VM_ALIVE", "VM_RECOVERY_COMPLETE"} and before:
        return (group.reboot_s if before in _AFTER_REBOOT else group.bootup_s) * (share if act.step.ok else 1.0)
    if says == "VM_RECOVERY_REBOOT":
        return group.reboot_s * (share if act.step.ok else 1.0)
    return rng.uniform(*PACE_S.get(says, PACE_OTHERS_S))
