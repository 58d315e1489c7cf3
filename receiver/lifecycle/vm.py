"""What a message does to one VM. Applies `tables.VM`; must not know deployments' or operations' tables."""

from __future__ import annotations

from typing import Any

from receiver.lifecycle import delayed as held
from receiver.lifecycle import instances, tables
from receiver.lifecycle import ordering_marks as memory
from receiver.lifecycle.context import DecisionContext, RuleResult, differs
from receiver.lifecycle.ordering_marks import Track
from receiver.lifecycle.tables import VmRow
from receiver.model.entities import Alias, Deployment, Vm, VmState, entity_id
from receiver.model.notification import VmReport

GONE = RuleResult("deployment-gone", "its deployment is gone, and so is it", changed=True)
DUPLICATE = RuleResult("duplicate", "the same message was received before, and nothing new came of it")


def unseen(context: DecisionContext, deployment: Deployment, name: str) -> Vm:
    """The VM before its first message."""
    n = context.notification
    return Vm(
        id=entity_id("vm", deployment.id.hex, name), source=n.source, deployment_id=deployment.id,
        deployment=deployment.internal_deployment_id, tenant=deployment.tenant, vm_name=name,
        state=VmState.UNSEEN, first_seen_at=n.received_at, changed_at=n.received_at,
    )  # fmt: skip


def apply(
    context: DecisionContext, row: VmRow, before: Vm, report: VmReport, *, deployment_gone: bool
) -> tuple[Vm, RuleResult, str]:
    """The VM after the message, why, and what its operation now knows of one more VM (letters of `operation`)."""
    key, track = _track(context, row, before)
    if passed := held.passed_over(context, before, row.chain):
        return before, passed, ""
    repeated = track.heard(context.notification.fingerprint, context.now, context.windows)
    result = _late(context, row, before, track, report)
    if result is None:
        after, result = _advance(context, row, before, report, track)
    elif result.rule == "vm-gone" and _moved_by(before) == key and not track.reborn:
        after = _learn(context, row, before, report, track)
    else:
        after = _fill(context, before, report)
    if deployment_gone and after.state != VmState.UNDEPLOYED:
        after, result = _removed(context, after), GONE
    after = _timed(context, before, after)
    if repeated and not differs(before, after):
        result = DUPLICATE
    counted = _progress(context, row, track)
    kept = memory.remember(after.memory, key, track, context.windows, _moved_by(after))
    return after._replace(memory=kept), result, counted


def remove(context: DecisionContext, before: Vm) -> Vm:
    """The VM when its deployment is gone."""
    return _timed(context, before, _removed(context, before))


def _removed(context: DecisionContext, vm: Vm) -> Vm:
    kept = context.moved(vm.memory, "remove")
    gone = vm._replace(state=VmState.UNDEPLOYED, recovery_open=False, needs_manual_recovery=False, memory=kept)
    return instances.ended(gone, context.operation[1])


def aliases(context: DecisionContext, before: Vm, after: Vm) -> tuple[Alias, ...]:
    """How the change of its instance id, or its end, shows among its aliases."""
    at = context.notification.received_at
    ended = after.ended_at is not None and before.ended_at is None
    changed = after.vm_uuid != before.vm_uuid
    rows: tuple[Alias, ...] = ()
    if before.vm_uuid and (ended or changed):
        rows += (Alias(after.source, before.vm_uuid, after.id, before.first_seen_at, at),)
    if after.vm_uuid and changed:
        rows += (Alias(after.source, after.vm_uuid, after.id, at, at if after.ended_at else None),)
    return rows


def _track(context: DecisionContext, row: VmRow, vm: Vm) -> tuple[str, Track]:
    transaction, key = context.operation[1], context.key(row.chain)
    written = vm.memory.get("tracks", {}).get(key)
    track = memory.load(written) if written else None
    if track and not transaction and _chain_is_over(context, key, track, vm):
        track = None
    if track is None:
        reborn = vm.state == VmState.UNDEPLOYED and _moved_by(vm) != key
        track = Track(began=context.now, touched=context.now, fresh=vm.state == VmState.UNSEEN, reborn=reborn)
    if row.recovery == "opens" and track.closed and context.now - track.closed > context.windows.reorder_window_s:
        track.begin_round(context.now)
    track.touched = max(track.touched, context.now)
    return key, track


def _progress(context: DecisionContext, row: VmRow, track: Track) -> str:
    n = context.notification
    if context.failed:
        # A recovery whose step failed goes on with the next one: only a VM that was given up has failed.
        letters = "s" if row.recovery and row.to != VmState.ERROR else "sf"
    else:
        letters = "s" + "d" * (n.trigger in tables.DEPLOYED_MARKS) + "a" * (n.trigger in tables.ALIVE_MARKS)
    return "".join(letter for letter in letters if track.marks(letter))


def _moved_by(vm: Vm) -> str | None:
    """The transaction id, or the chain of messages without one, that last moved the VM."""
    mover: str | None = vm.memory.get("chain")
    return mover


def _chain_is_over(context: DecisionContext, key: str, track: Track, vm: Vm) -> bool:
    """Without ids, arrival decides between chains, and rank only within one, and only for a while."""
    return _moved_by(vm) != key or context.now - track.touched > context.windows.reorder_window_s


def _late(context: DecisionContext, row: VmRow, vm: Vm, track: Track, report: VmReport) -> RuleResult | None:
    former = instances.is_former(vm, report.uuid, context.operation[1])
    older = memory.is_older(context.operation, vm.memory.get("mover"))
    if former and row.recovery is None:
        return RuleResult("former-instance", "this tells of an instance that is gone since", late=True)
    concerns_the_new = not (former or older) and bool(report.uuid)
    if not concerns_the_new if track.reborn else vm.state == VmState.UNDEPLOYED:
        return RuleResult("vm-gone", "the VM is gone; this tells of an earlier time", late=True)
    if older and not row.exempt:
        return RuleResult("newer-operation", "an operation that began later has moved the VM since", late=True)
    return held.MOVED_SINCE if held.moved_since(context, vm.memory, row.chain) else None


def _advance(context: DecisionContext, row: VmRow, before: Vm, report: VmReport, track: Track) -> tuple[Vm, RuleResult]:
    after = _learn(context, row, before, report, track)
    rank, to = _leads_to(row, report, track)
    if to is None:
        return after, RuleResult(row.rule, row.reason, changed=True)
    if track.raises(rank, to):
        return _moved(context, row, after, to, track), RuleResult(row.rule, row.reason, changed=True)
    if rank < track.rank and not row.note:
        return after, RuleResult("already-passed", "the same operation has already passed this stage", late=True)
    return after, RuleResult(row.rule, row.reason, changed=True)


def _leads_to(row: VmRow, report: VmReport, track: Track) -> tuple[int, str | None]:
    if row.to is not None:
        return row.rank, report.state if report.state in row.refine else row.to
    if row.shows and track.fresh:
        return row.rank, row.shows_else if report.state in tables.NEVER_FROM_A_REPORT else report.state
    return row.rank, None


def _moved(context: DecisionContext, row: VmRow, vm: Vm, to: str, track: Track) -> Vm:
    kept = context.moved(vm.memory, row.chain)
    if row.recovery is None:
        keeps_open = vm.recovery_open and row.rank <= tables.RECOVERY_RANK_MAX
        moved = vm._replace(state=to, memory=kept, recovery_open=keeps_open, needs_manual_recovery=False)
        return instances.ended(moved, context.operation[1]) if to == VmState.UNDEPLOYED else moved
    if row.recovery == "closes":
        track.closed = context.now
    is_open = row.recovery in ("opens", "step")
    return vm._replace(state=to, memory=kept, recovery_open=is_open, needs_manual_recovery=row.recovery == "manual")


def _learn(context: DecisionContext, row: VmRow, vm: Vm, report: VmReport, track: Track) -> Vm:
    """Take over what this message tells better than those before it in its operation."""
    if held.told_since(context, vm.memory, row.chain):
        if context.again or instances.is_former(vm, report.uuid, context.operation[1]):
            return vm
        return _fill(context, vm, report)._replace(monitored=row.monitored if vm.monitored is None else vm.monitored)
    rank = 0 if row.recovery and report is context.notification.vm else row.rank
    told = {} if instances.is_former(vm, report.uuid, context.operation[1]) else instances.facts(report)
    if row.monitored is not None:
        told["monitored"] = row.monitored
    new = {name: value for name, value in told.items() if track.tells(name, rank, value, getattr(vm, name))}
    if row.recovery:
        new |= instances.living(context, row.rank, track)
    else:
        new |= _last_operation(context, row, track, vm)
    return instances.known_as(vm._replace(**new), vm.vm_uuid, context.operation[1]) if new else vm


def _last_operation(context: DecisionContext, row: VmRow, track: Track, vm: Vm) -> dict[str, Any]:
    n = context.notification
    outcome = "failed" if context.failed else "succeeded"
    value = {"name": n.trigger, "transaction_id": n.transaction_id, "outcome": outcome}
    rank = row.rank + (tables.FAILURE_SHOWS if context.failed else 0)
    return {"last_operation": value} if track.tells("last_operation", rank, value, vm.last_operation) else {}


def _fill(context: DecisionContext, vm: Vm, report: VmReport) -> Vm:
    """A late message fills in what nobody has told yet."""
    if context.again:
        return vm
    missing = {
        n: v for n, v in instances.facts(report).items() if v is not None and n != "vm_uuid" and not getattr(vm, n)
    }
    return vm._replace(**missing) if missing else vm


def _timed(context: DecisionContext, before: Vm, after: Vm) -> Vm:
    if after.state == before.state:
        return after
    at = context.notification.received_at
    return after._replace(changed_at=at, ended_at=at if after.state == VmState.UNDEPLOYED else None)
