"""Realistic ESC traffic from one seed, and what must be true when it has been received.

`lifecycles` holds the words of a script and `scripts` the whole operations as data; `fleet` the world they change;
`messages` the XML and headers; `operations` performs a script; `lives` and `resources` choose what happens next;
`faults` spoils the delivery; `traffic` joins them. `truth` says what must hold after it, `player` sends it over HTTP,
`report` counts and draws, `command` is the command line. Nothing here may import what judges callbacks
(`receiver.parsing.parser`, `receiver.lifecycle`, …): an auditor needs a truth of its own.
"""

from esc_lab.simulator.command import SimulateOptions, simulate, simulate_command
from esc_lab.simulator.delivery_faults import Faults
from esc_lab.simulator.expected_state import Discrepancy, Truth
from esc_lab.simulator.report import Summary
from esc_lab.simulator.traffic import Life, Traffic

__all__ = [
    "Discrepancy",
    "Faults",
    "Life",
    "SimulateOptions",
    "Summary",
    "Traffic",
    "Truth",
    "simulate",
    "simulate_command",
]
