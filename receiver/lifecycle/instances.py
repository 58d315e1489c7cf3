"""Which instance in the VIM a VM is: its `vm_uuid` changes when recovery redeploys it (docs/esc-callbacks.md#6.3).

A VM remembers every instance id it had, and which operation replaced it:
`memory["uuids"] = {<vm_uuid>: <transaction id of the operation that replaced it, or None>}`.
"""

from __future__ import annotations

from typing import Any

from receiver.lifecycle import stage_rules
from receiver.lifecycle.context import DecisionContext
from receiver.lifecycle.draft import Draft
from receiver.lifecycle.ordering_marks import MARKS_MAX, TARGETS_MAX, OrderingMarks
from receiver.model.entities import Alias, Vm
from receiver.model.notification import VmReport


def facts(report: VmReport) -> dict[str, Any]:
    """What a message reports of an instance, by the columns of `Vm`; None: not reported."""
    return {
        "vm_group": report.group, "vm_uuid": report.uuid, "host_uuid": report.host_uuid, "host_name": report.host_name,
        "interfaces": [dict(nic) for nic in report.interfaces] or None,
        "reported_state": report.raw_state, "extra": dict(report.extra) if report.extra else None,
    }  # fmt: skip


def living(context: DecisionContext, rank: int, marks: OrderingMarks) -> dict[str, Any]:
    """The facts of the instance that lives on, as far as this recovery and what came before it show.

    It is the target that no other step names as its source. Between several (attempts whose order is
    lost) the greatest id is assumed, until VM_RECOVERY_COMPLETE names the true one.
    """
    _note_replaced(context, marks)
    _note_target(context, rank, marks)
    if not marks.targets:
        return {}
    alive = {uuid: known for uuid, known in marks.targets.items() if uuid not in marks.gone} or marks.targets
    best = alive[max(alive, key=lambda uuid: (alive[uuid]["rank"], uuid))]
    reported = {
        name: value for name, value in best.items()
        # The facts of a removal outrank those of a recovery, too.
        if name != "rank" and value is not None and marks.facts.get(name, 0) <= stage_rules.RECOVERY_RANK_MAX
    }  # fmt: skip
    marks.facts |= dict.fromkeys(reported, best["rank"])
    return reported


def _note_replaced(context: DecisionContext, marks: OrderingMarks) -> None:
    n = context.notification
    source, target = n.vm and n.vm.uuid, n.target and n.target.uuid
    if not source or source in marks.gone:
        return
    if n.trigger == "VM_RECOVERY_UNDEPLOYED" or target not in (None, source):
        marks.gone = sorted([*marks.gone, source])[-TARGETS_MAX:]


def _note_target(context: DecisionContext, rank: int, marks: OrderingMarks) -> None:
    target = context.notification.target
    is_recovery = not context.failed and context.notification.trigger in stage_rules.RECOVERY_TARGETS
    if not is_recovery or not (target and target.uuid):
        return
    known = marks.targets.get(target.uuid)
    if known is None or known["rank"] < rank:
        marks.targets[target.uuid] = {**facts(target), "rank": rank}
    while len(marks.targets) > TARGETS_MAX:
        del marks.targets[min(marks.targets)]


def remember_instance(vm: Draft[Vm]) -> None:
    """Remember the VM's new instance id, and that this operation has replaced the one before."""
    before, uuid = vm.before.vm_uuid, vm.columns.vm_uuid
    if uuid is None or uuid == before:
        return
    uuids = {**vm.memory.get("uuids", {}), uuid: None}
    if before and uuids.get(before) is None:
        uuids[before] = vm.context.transaction_id
    while len(uuids) > MARKS_MAX:
        del uuids[next(iter(uuids))]
    vm.memory["uuids"] = uuids


def end_instance(vm: Draft[Vm]) -> None:
    """Remember that this operation has removed the VM's last instance."""
    if uuid := vm.columns.vm_uuid:
        vm.memory["uuids"] = {**vm.memory.get("uuids", {}), uuid: vm.context.transaction_id}


def is_former(vm: Vm, uuid: str | None, transaction_id: str) -> bool:
    """Whether this instance was replaced or removed by another operation than this one (or by one without an id)."""
    by = vm.memory.get("uuids", {}).get(uuid) if uuid else None
    return by is not None and (not transaction_id or by != transaction_id)


def aliases(vm: Draft[Vm]) -> list[Alias]:
    """How the change of the VM's instance id, or its end, shows among its aliases."""
    before, at = vm.before, vm.context.notification.received_at
    uuid, ended_at = vm.columns.vm_uuid, vm.columns.ended_at
    changed = uuid != before.vm_uuid
    rows = []
    if before.vm_uuid and (changed or (ended_at is not None and before.ended_at is None)):
        rows.append(Alias(before.source, before.vm_uuid, before.id, before.first_seen_at, at))
    if uuid and (changed or (before.ended_at is not None and ended_at is None)):
        rows.append(Alias(before.source, uuid, before.id, at, at if ended_at else None))
    return rows
