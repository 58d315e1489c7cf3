"""The messages that are expected next of a VM, by its state and the tables of the lifecycle. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from receiver.lifecycle import operation_tables, stage_rules
from receiver.model.entities import Operation, OperationState, Vm, VmState

NEXT: Mapping[str, tuple[str, ...]] = {
    VmState.UNSEEN: ("VM_DEPLOYED",),
    VmState.DEPLOYING: ("VM_DEPLOYED",),
    VmState.INERT: ("VM_ALIVE",),
    VmState.STARTING: ("VM_STARTED", "VM_ALIVE"),
    VmState.REBOOTING: ("VM_REBOOTED", "VM_ALIVE"),
    VmState.STOPPING: ("VM_STOPPED",),
    VmState.UNDEPLOYING: ("VM_UNDEPLOYED",),
}
"""Messages that lead on from the states a VM passes through; in the others it rests."""

RESTS: Mapping[str, str] = {
    VmState.ALIVE: "nothing, it is up",
    VmState.STOPPED: "nothing, it stays stopped until somebody starts it",
    VmState.ERROR: "nothing by itself, somebody must recover or remove it",
    VmState.UNDEPLOYED: "nothing, it is gone",
}


def expected(vm: Vm, last_trigger: str | None) -> list[dict[str, Any]]:
    """The messages that may come next, each with the state it leads to. `last_trigger` brought the present one."""
    if vm.state == VmState.RECOVERING:
        triggers = _recovery_after(last_trigger)
    elif vm.needs_manual_recovery:
        triggers = ["VM_RECOVERY_INIT"]
    else:
        triggers = list(NEXT.get(vm.state, ()))
    rows = [(trigger, stage_rules.VM[trigger, stage_rules.OK]) for trigger in triggers]
    return [{"trigger": trigger, "state": row.to, "rule": row.rule, "reason": row.reason} for trigger, row in rows]


def expected_of_operation(operation: Operation | None) -> list[str]:
    """The messages that would end it; none when it has ended."""
    if operation is None or operation.state not in (OperationState.OPEN, OperationState.OVERDUE):
        return []
    return sorted(
        trigger
        for trigger, (_, kind) in operation_tables.KINDS.items()
        if kind == operation.kind
        and ((trigger, stage_rules.OK) in operation_tables.CLOSERS or trigger in operation_tables.CLOSERS_AS_EVENT)
    )


def _recovery_after(trigger: str | None) -> list[str]:
    """The steps of a recovery that rank above the last one received, lowest first."""
    row = stage_rules.VM.get((trigger or "", stage_rules.OK))
    rank = row.rank if row and row.recovery else 0
    steps = [
        (row.rank, name)
        for (name, failed), row in stage_rules.VM.items()
        if row.recovery in ("step", "closes") and not failed
    ]
    return [name for above, name in sorted(steps) if above > rank]
