"""Realistic ESC traffic from one seed, and the state a receiver must be in when it has taken it.

`script_model`, `service_scripts` and `vm_scripts` hold whole operations as data; `fleet` what they change;
`esc_messages` XML and headers; `script_runner` makes operations of scripts; `scenario_choice`, `lives` and
`resource_scripts` choose what happens next; `delivery_faults` disturbs the delivery; `traffic` joins them. `posting`
and `player` send over HTTP, `expected_state` and `audit_log` serve auditors, `report` counts, `command` is the command
line. Nothing here may import what judges callbacks (`receiver.parsing.parser`, `receiver.lifecycle`, …): an auditor
needs an expectation of its own.
"""

from esc_lab.simulator.command import SimulateOptions, simulate, simulate_command
from esc_lab.simulator.delivery_faults import Faults
from esc_lab.simulator.expected_state import Discrepancy, ExpectedState
from esc_lab.simulator.report import Summary
from esc_lab.simulator.traffic import Life, Traffic

__all__ = [
    "Discrepancy",
    "ExpectedState",
    "Faults",
    "Life",
    "SimulateOptions",
    "Summary",
    "Traffic",
    "simulate",
    "simulate_command",
]
