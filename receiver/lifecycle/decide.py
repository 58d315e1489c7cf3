"""One callback, judged: which entities it speaks of, what it does to each, and the one outcome it gets.

This file joins the entities' own rules; it must not hold any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from receiver.entities import (
    Alias,
    Decision,
    Deployment,
    DeploymentState,
    Operation,
    OperationState,
    ResourceState,
    Vm,
    VmState,
)
from receiver.lifecycle import deployment as deployments
from receiver.lifecycle import operation as operations
from receiver.lifecycle import resource as resources
from receiver.lifecycle import tables
from receiver.lifecycle import vm as vms
from receiver.lifecycle.current import LEARNED, Current, Held, Moment, Verdict, Writer, differs
from receiver.lifecycle.memory import Windows
from receiver.notification import DeploymentReport, Family, Notification, Outcome, VmReport

NOT_A_VM = VmReport()
OPENED = "operation-opened"
SHOWN = tables.VmRow("vm-shown", 1, None, "a service's stage showed it", shows=True)
"""A service's stage may carry a VM's block (reference trap 2): it tells facts, and the state of a VM never seen."""
NAMELESS = Verdict("nameless-failure", "a VM's stage failed without naming the VM", changed=True)
DEGRADED = Verdict("deployment-degraded", "one of its VMs is recovering or in error", changed=True)
RESTORED = Verdict("deployment-restored", "none of its VMs is recovering or in error any more", changed=True)
TROUBLED = (VmState.RECOVERING, VmState.ERROR)


def decide(current: Current, notification: Notification, windows: Windows, held: Held | None = None) -> Decision:
    """What this callback does to what is known. Never raises for its meaning (design promise 2).

    `held`: it waited since it arrived, so others may have been judged before it that came later.
    """
    n = notification
    if n.trigger is None or n.family is Family.UNKNOWN:
        return _unclassified(n.unclassified_because or "nothing in it is known")
    operation = (current.operation or operations.unseen(n)) if n.transaction_id else None
    moment = _moment(n, operation, windows, held)
    if n.resource is not None:
        return _resource(moment, current, operation)
    report = n.deployment or _deployment_of_operation(current)
    if report is None:
        return _operation_alone(moment, operation, known=current.operation is not None)
    return _deployment(moment, current, operation, report)


def _moment(n: Notification, operation: Operation | None, windows: Windows, held: Held | None) -> Moment:
    first = operation.first_seen_at if operation else n.received_at
    return Moment(n, n.received_at.timestamp(), windows, (first.timestamp(), n.transaction_id or ""), held)


def _deployment_of_operation(current: Current) -> DeploymentReport | None:
    """A message that names no deployment belongs to the one its operation is about (reference 6.4)."""
    known = current.deployment
    return DeploymentReport(known.internal_deployment_id) if known else None


def _unclassified(because: str) -> Decision:
    return Decision(Outcome.UNCLASSIFIED, "unclassified", because)


def _resource(moment: Moment, current: Current, operation: Operation | None) -> Decision:
    assert moment.notification.resource is not None  # the caller looked
    before = current.resource or resources.unseen(moment, moment.notification.resource)
    after, verdict = resources.apply(moment, before, moment.notification.resource)
    writer = Writer(moment.notification)
    writer.keep(after)
    if after.state != before.state or (verdict.changed and after.state == ResourceState.UPDATED):
        writer.record(after, before.state, after.state.lower(), verdict)
    elif differs(before, after):
        writer.record(after, before.state, "updated", LEARNED)
    _operation(moment, writer, operation, was_up=False, counted="")
    return _decision(writer, verdict, ())


def _operation_alone(moment: Moment, operation: Operation | None, *, known: bool) -> Decision:
    if operation is None or not known:
        return _unclassified("it names no deployment, and no known transaction tells which one is meant")
    writer = Writer(moment.notification)
    after, is_new = operations.nameless_failure(moment, operation) if moment.failed else (operation, True)
    verdict = _operation(moment, writer, after, was_up=False, counted="f" if moment.failed and is_new else "")
    return _decision(writer, verdict if is_new else vms.DUPLICATE, ())


@dataclass(slots=True)
class _Fleet:
    """The deployment's count of VMs by state, kept while VMs change."""

    counts: dict[str, int]

    def moved(self, before: str | None, after: str) -> None:
        if before == after:
            return
        if before is not None:
            self.counts[before] = self.counts.get(before, 0) - 1
            if self.counts[before] <= 0:
                del self.counts[before]
        self.counts[str(after)] = self.counts.get(after, 0) + 1


def _deployment(moment: Moment, current: Current, operation: Operation | None, report: DeploymentReport) -> Decision:
    n, writer = moment.notification, Writer(moment.notification)
    before, former = deployments.identify(moment, current.deployment, report)
    operation, nameless, counted = _nameless(moment, operation)
    if former:
        _operation(moment, writer, operation, was_up=True, counted=counted)
        return _decision(writer, deployments.FORMER, ())
    if current.deployment and before.id != current.deployment.id:
        writer.keep(current.deployment._replace(current=False))
    after, verdict, track = deployments.apply(moment, before, report)
    writer.incarnation = after.incarnation
    verdict = nameless if nameless and verdict.rule != vms.DUPLICATE.rule else verdict
    fleet = _Fleet(dict(after.vms))
    known = current.vms if current.deployment and before.id == current.deployment.id else {}
    vm_verdict: Verdict | None = None
    aliases: tuple[Alias, ...] = ()
    if _names_a_vm(n) and (
        before.state != DeploymentState.UNDEPLOYED or deployments.same_operation(moment, before, "chain")
    ):
        counted, vm_verdict, aliases = _vm(moment, writer, after, known, fleet)
    if after.state == DeploymentState.UNDEPLOYED != before.state:
        aliases += _cascade(moment, writer, verdict, known, fleet)
    _record_deployment(moment, writer, current.deployment, before, after, fleet, verdict)
    _operation(moment, writer, operation, was_up=not track.fresh, counted=counted)
    return _decision(writer, vm_verdict or verdict, aliases)


def _vm(
    moment: Moment, writer: Writer, deployment: Deployment, known: Mapping[str, Vm], fleet: _Fleet
) -> tuple[str, Verdict | None, tuple[Alias, ...]]:
    """Apply the message to the VM it is about; no verdict when it is not about one."""
    n = moment.notification
    row = tables.VM.get((n.trigger or "", moment.failed), SHOWN)
    report = _report(n, row, failed=moment.failed)
    before_row = _find(known, report)
    name = report.name or (before_row.vm_name if before_row else None)
    if name is None:
        return "", None, ()
    before = before_row or vms.unseen(moment, deployment, name)
    after, verdict, counted = vms.apply(
        moment, row, before, report, deployment_gone=deployment.state == DeploymentState.UNDEPLOYED
    )
    aliases = vms.aliases(moment, before, after)
    fleet.moved(before.state if before_row else None, after.state)
    writer.keep(after)
    _record_vm(writer, before, after, row, verdict)
    return counted, None if row is SHOWN else verdict, aliases


def _names_a_vm(n: Notification) -> bool:
    return _is_named(n.vm) or _is_named(n.target)


def _is_named(side: VmReport | None) -> bool:
    return side is not None and bool(side.name or side.uuid)


def _report(n: Notification, row: tables.VmRow, *, failed: bool) -> VmReport:
    target = n.target or NOT_A_VM
    if row.about == "target":
        return target
    if n.trigger in tables.RECOVERY_TARGETS and not failed and target.uuid:
        return target if target.name else replace(target, name=(n.vm or NOT_A_VM).name)
    return n.vm or NOT_A_VM


def _find(known: Mapping[str, Vm], report: VmReport) -> Vm | None:
    if report.name:
        return known.get(report.name)
    if report.uuid is None:
        return None
    return next((vm for vm in known.values() if report.uuid in vm.memory.get("uuids", {})), None)


def _record_vm(writer: Writer, before: Vm, after: Vm, row: tables.VmRow, verdict: Verdict) -> None:
    if after.state != before.state:
        writer.record(after, before.state, after.state.lower(), verdict, _since(before))
    elif verdict.changed and row.note and _is_news(before, after, row.note):
        writer.record(after, before.state, row.note, verdict)
    elif differs(before, after):
        writer.record(after, before.state, "updated", LEARNED)


def _since(before: Vm | Deployment) -> datetime | None:
    """None: it had not been seen, so nobody knows."""
    return None if before.state == VmState.UNSEEN else before.changed_at


def _is_news(before: Vm, after: Vm, note: str) -> bool:
    if note == "redeployed":
        return before.vm_uuid != after.vm_uuid
    return note not in ("monitored", "unmonitored") or before.monitored != after.monitored


def _cascade(
    moment: Moment, writer: Writer, verdict: Verdict, known: Mapping[str, Vm], fleet: _Fleet
) -> tuple[Alias, ...]:
    """Every VM goes with its deployment."""
    aliases: tuple[Alias, ...] = ()
    for name, stored in sorted(known.items()):
        before = writer.rows.get(stored.id, stored)
        if not isinstance(before, Vm) or before.state == VmState.UNDEPLOYED:
            continue
        after = vms.remove(moment, before)
        aliases += vms.aliases(moment, before, after)
        fleet.moved(before.state, after.state)
        gone = Verdict("deployment-gone", f"{verdict.reason}, and so is its VM {name}")
        writer.record(after, before.state, after.state.lower(), gone, _since(before))
    return aliases


def _nameless(moment: Moment, operation: Operation | None) -> tuple[Operation | None, Verdict | None, str]:
    """A failed VM operation may name no VM at all: the operation counts it, the deployment notes it (reference 3.2)."""
    n = moment.notification
    if _names_a_vm(n) or not moment.failed or (n.trigger or "", True) not in tables.VM:
        return operation, None, ""
    if moment.held and moment.held.again:
        return operation, None, ""  # counted and noted when it was judged first
    if operation is None:
        return None, NAMELESS, ""
    operation, is_new = operations.nameless_failure(moment, operation)
    return operation, NAMELESS if is_new else vms.DUPLICATE, "f" if is_new else ""


def _record_deployment(
    moment: Moment,
    writer: Writer,
    stored: Deployment | None,
    before: Deployment,
    after: Deployment,
    fleet: _Fleet,
    verdict: Verdict,
) -> None:
    troubled = after.state == DeploymentState.ACTIVE and any(fleet.counts.get(state) for state in TROUBLED)
    after = after._replace(vms=fleet.counts, degraded=troubled)
    if after != stored:
        writer.keep(after)
    row = tables.DEPLOYMENT.get((moment.notification.trigger or "", moment.failed))
    if after.state != before.state:
        writer.record(after, before.state, after.state.lower(), verdict, _since(before))
        return
    known = stored if stored and stored.id == before.id else before  # an id in conflict is noted in `before` already
    note = row.note if row and verdict.changed else "operation_failed" if verdict is NAMELESS else None
    if after.vim_leak_suspected != before.vim_leak_suspected:
        note = "vim_leak_suspected"
    if note:
        after = writer.record(after, before.state, note, verdict)
    elif after.degraded == before.degraded and differs(known, after):
        writer.record(after, before.state, "updated", LEARNED)
    if after.degraded != before.degraded:
        change, verdict = ("degraded", DEGRADED) if after.degraded else ("restored", RESTORED)
        writer.record(after, before.state, change, verdict)


def _operation(moment: Moment, writer: Writer, before: Operation | None, *, was_up: bool, counted: str) -> Verdict:
    if before is None:
        return Verdict("no-operation", "the message carries no transaction id", changed=True)
    after, verdict = operations.apply(moment, before, was_up=was_up, counted=counted)
    writer.keep(after)
    if before.state == OperationState.UNSEEN and after.state != OperationState.OPEN:
        opened = Verdict(OPENED, operations.REASONS[OperationState.OPEN])
        first = writer.record(after._replace(state=OperationState.OPEN, ended_at=None), before.state, "open", opened)
        writer.record(after._replace(sequence=first.sequence), OperationState.OPEN, after.state.lower(), verdict)
    elif after.state != before.state:
        writer.record(after, before.state, after.state.lower(), verdict)
    return verdict


def _decision(writer: Writer, verdict: Verdict, aliases: tuple[Alias, ...]) -> Decision:
    """The outcome of the whole: what it did to the entity it is about, unless it did more to another.

    That it is the first to be heard of its operation is not more: what it tells may still be late.
    """
    outcome, rule, reason = Outcome.APPLIED, verdict.rule, verdict.reason
    if verdict.late or verdict.rule == vms.DUPLICATE.rule:
        outcome = Outcome.LATE if verdict.late else Outcome.DUPLICATE
        moved = next((t for t, _ in writer.transitions if t.rule not in (LEARNED.rule, OPENED)), None)
        if moved:
            outcome, rule, reason = Outcome.APPLIED, moved.rule, moved.reason
    return Decision(
        outcome, rule, reason, tuple(writer.rows.values()), tuple(writer.transitions), aliases, tuple(writer.since)
    )
