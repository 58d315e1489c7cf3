"""Which instance in the VIM a VM is: its `vm_uuid` changes when recovery redeploys it (docs/esc-callbacks.md#6.3).

A VM remembers every instance id it had, and which operation replaced it:
`memory["uuids"] = {<vm_uuid>: <transaction id of the operation that replaced it, or None>}`.
"""

from __future__ import annotations

from typing import Any

from receiver.lifecycle import ordering_marks as memory
from receiver.lifecycle import tables
from receiver.lifecycle.context import DecisionContext
from receiver.lifecycle.ordering_marks import Track
from receiver.model.entities import Vm
from receiver.model.notification import VmReport


def facts(report: VmReport) -> dict[str, Any]:
    """What a message tells of an instance, by the names of `Vm`'s fields; None: not told."""
    return {
        "vm_group": report.group, "vm_uuid": report.uuid, "host_uuid": report.host_uuid, "host_name": report.host_name,
        "interfaces": [dict(nic) for nic in report.interfaces] or None,
        "reported_state": report.raw_state, "extra": dict(report.extra) or None,
    }  # fmt: skip


def living(context: DecisionContext, rank: int, track: Track) -> dict[str, Any]:
    """The facts of the instance that lives on, as far as this recovery and what came before it tell.

    It is the target that no other step names as its source. Between several (attempts whose order is
    lost) the greatest id is assumed, until VM_RECOVERY_COMPLETE names the true one.
    """
    n = context.notification
    replaced = (
        n.vm
        and n.vm.uuid
        and (n.trigger == "VM_RECOVERY_UNDEPLOYED" or (n.target and n.target.uuid not in (None, n.vm.uuid)))
    )
    if replaced:
        _note_gone(track, n.vm)
    if n.trigger in tables.RECOVERY_TARGETS and not context.failed and n.target and n.target.uuid:
        _note_target(track, rank, n.target)
    if not track.targets:
        return {}
    alive = {u: f for u, f in track.targets.items() if u not in track.gone} or track.targets
    best = alive[max(alive, key=lambda uuid: (alive[uuid]["rank"], uuid))]
    told = {
        name: value for name, value in best.items() if name != "rank" and value is not None and _may_tell(track, name)
    }
    track.facts |= dict.fromkeys(told, best["rank"])
    return told


def _may_tell(track: Track, name: str) -> bool:
    """A removal outranks recovery in what it tells, too."""
    return track.facts.get(name, 0) <= tables.RECOVERY_RANK_MAX


def _note_gone(track: Track, source: VmReport | None) -> None:
    if source and source.uuid and source.uuid not in track.gone:
        track.gone = sorted([*track.gone, source.uuid])[-memory.TARGETS_MAX :]


def _note_target(track: Track, rank: int, target: VmReport) -> None:
    known = track.targets.get(target.uuid or "")
    if known is None or known["rank"] < rank:
        track.targets[target.uuid or ""] = {**facts(target), "rank": rank}
    while len(track.targets) > memory.TARGETS_MAX:
        del track.targets[min(track.targets)]


def known_as(vm: Vm, before: str | None, operation: str) -> Vm:
    """The VM with its instance id remembered, and the one before marked as replaced by this operation."""
    if vm.vm_uuid is None or vm.vm_uuid == before:
        return vm
    uuids = {**vm.memory.get("uuids", {}), vm.vm_uuid: None}
    if before and uuids.get(before) is None:
        uuids[before] = operation
    while len(uuids) > memory.TRACKS_MAX:
        del uuids[next(iter(uuids))]
    return vm._replace(memory={**vm.memory, "uuids": uuids})


def ended(vm: Vm, operation: str) -> Vm:
    """The VM with its last instance marked as gone by this operation."""
    if vm.vm_uuid is None:
        return vm
    return vm._replace(memory={**vm.memory, "uuids": {**vm.memory.get("uuids", {}), vm.vm_uuid: operation}})


def is_former(vm: Vm, uuid: str | None, operation: str) -> bool:
    """Whether this instance was replaced or removed by another operation than this one (or by one without an id)."""
    by = vm.memory.get("uuids", {}).get(uuid) if uuid else None
    return by is not None and (not operation or by != operation)
