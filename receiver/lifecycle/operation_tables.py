"""Which messages end an operation, how, and what kind of operation they belong to, as data.

Any order of an operation's messages gives the same end: the highest precedence counts. This file must not know how its
rows are applied (`operation`). Source: docs/esc-callbacks.md#6, #10, with docs/lifecycle.md#rulings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from receiver.lifecycle.stage_rules import FAILED, OK
from receiver.model.entities import OperationState as O


def _closers(triggers: str, rank: int) -> dict[tuple[str, bool], tuple[int, str]]:
    ok = {(trigger, OK): (rank, str(O.SUCCEEDED)) for trigger in triggers.split()}
    return ok | {(trigger, FAILED): (rank + 1, str(O.FAILED)) for trigger in triggers.split()}


_SERVICE_STAGES = """
    SERVICE_ALIVE SERVICE_STARTED SERVICE_REBOOTED SERVICE_UPDATED SERVICE_STOPPED SERVICE_UNDEPLOYED
    SERVICE_MONITOR_SET SERVICE_MONITOR_UNSET SERVICE_REGISTRATION SERVICE_UNREGISTRATION
"""
_CLOSING_EVENTS = """
    VM_STOP_COMPLETE VM_START_COMPLETE VM_REBOOT_COMPLETE
    VM_RECOVERY_COMPLETE VM_SCALE_OUT_COMPLETE VM_SCALE_IN_COMPLETE
"""
SERVICE_RANK: Final = 22
"""Precedence of a service's stage, and of all above."""
CLOSERS: Final[Mapping[tuple[str, bool], tuple[int, str]]] = {
    **_closers(_SERVICE_STAGES, SERVICE_RANK),
    **_closers(_CLOSING_EVENTS, 12),
    ("VM_RECOVERY_CANCELLED", OK): (11, str(O.CANCELLED)),
    ("VM_RECOVERY_CANCELLED", FAILED): (11, str(O.CANCELLED)),
}
"""Which message ends an operation, how, and its precedence: service stage over closing event over resource,
then FAILED over SUCCEEDED over CANCELLED (docs/lifecycle.md#rulings)."""

CLOSERS_AS_EVENT: Final = frozenset({"VM_MONITOR_SET", "VM_MONITOR_UNSET", "VM_SET_MONITOR_STATUS"})
"""Close an operation when they come as `esc_event` (a VM's operation), not as the stage of a service's."""
EVENT_RANKS: Final = (8, 9)
"""Where a service's stage has ended the operation they do not count: results of single VMs may follow it."""

RESOURCE_RANKS: Final = (2, 3)
"""Precedence of a resource's event, ok and failed."""

OWN_WORKFLOW: Final = frozenset(
    {"VM_RECOVERY_COMPLETE", "VM_RECOVERY_CANCELLED", "VM_SCALE_OUT_COMPLETE", "VM_SCALE_IN_COMPLETE"}
    | {"VM_SET_MONITOR_STATUS"}
)
"""Work that ESC starts by itself and that may borrow the id of a service's operation: then it must not end it."""

_KINDS = (
    (10, "scale_out", "VM_SCALE_OUT_INIT VM_SCALE_OUT_DEPLOYED VM_SCALE_OUT_COMPLETE"),
    (11, "scale_in", "VM_SCALE_IN_INIT VM_SCALE_IN_COMPLETE"),
    (12, "recovery", "VM_RECOVERY_INIT VM_RECOVERY_REBOOT VM_RECOVERY_UNDEPLOYED VM_RECOVERY_DEPLOYED"),
    (12, "recovery", "VM_RECOVERY_COMPLETE VM_RECOVERY_CANCELLED VM_MANUAL_RECOVERY_NEEDED"),
    (20, "stop_vm", "VM_STOP_COMPLETE"),
    (21, "start_vm", "VM_START_COMPLETE"),
    (22, "reboot_vm", "VM_REBOOT_COMPLETE"),
    (30, "deploy", "VM_ALIVE"),
    (31, "deploy", "VM_DEPLOYED"),
    (32, "deploy", "SERVICE_ALIVE"),
    (40, "enable_monitoring", "VM_MONITOR_SET SERVICE_MONITOR_SET"),
    (41, "disable_monitoring", "VM_MONITOR_UNSET SERVICE_MONITOR_UNSET"),
    (42, "undeploy", "VM_UNDEPLOYED"),
    (50, "start", "VM_STARTED SERVICE_STARTED"),
    (51, "reboot", "VM_REBOOTED SERVICE_REBOOTED"),
    (52, "stop", "VM_STOPPED SERVICE_STOPPED"),
    (60, "update", "VM_SOFTWARE_VERSION_UPDATED VM_UPDATED VM_SET_MONITOR_STATUS"),
    (61, "update", "SERVICE_UPDATED"),
    (62, "undeploy", "SERVICE_UNDEPLOYED"),
    (63, "registration", "SERVICE_REGISTRATION"),
    (64, "unregistration", "SERVICE_UNREGISTRATION"),
)
KINDS: Final[Mapping[str, tuple[int, str]]] = {
    trigger: (weight, kind) for weight, kind, triggers in _KINDS for trigger in triggers.split()
}
"""The kind of operation that a trigger belongs to; the highest number seen wins. VM_ALIVE and VM_DEPLOYED are the
weakest of the requests, because starts and updates send them too. A resource's kind ranks below all."""

KINDS_WHEN_UP: Final[Mapping[str, tuple[int, str]]] = {
    "VM_ALIVE": (30, "enable_monitoring"),
    "SERVICE_ALIVE": (30, "enable_monitoring"),
    "VM_DEPLOYED": (31, "update"),
}
"""The same where the deployment had been up before the operation began."""
