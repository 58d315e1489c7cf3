"""One callback, judged: which entities it speaks of, what it does to each, and the one outcome it gets.

This file joins the entities' own rules; it must not hold any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from receiver.lifecycle import deployment as deployments
from receiver.lifecycle import operation as operations
from receiver.lifecycle import resource as resources
from receiver.lifecycle import tables
from receiver.lifecycle import vm as vms
from receiver.lifecycle.context import (
    LEARNED,
    Current,
    DecisionBuilder,
    DecisionContext,
    DelayedContext,
    RuleResult,
    differs,
)
from receiver.lifecycle.ordering_marks import Windows
from receiver.model.entities import (
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
from receiver.model.notification import DeploymentReport, Family, Notification, Outcome, VmReport

NOT_A_VM = VmReport()
OPENED = "operation-opened"
SHOWN = tables.VmRow("vm-shown", 1, None, "a service's stage showed it", shows=True)
"""A service's stage may carry a VM's block (docs/esc-callbacks.md#trap-2): it tells facts, and the state of a VM never
seen."""
NAMELESS = RuleResult("nameless-failure", "a VM's stage failed without naming the VM", changed=True)
DEGRADED = RuleResult("deployment-degraded", "one of its VMs is recovering or in error", changed=True)
RESTORED = RuleResult("deployment-restored", "none of its VMs is recovering or in error any more", changed=True)
TROUBLED = (VmState.RECOVERING, VmState.ERROR)


def decide(
    current: Current, notification: Notification, windows: Windows, held: DelayedContext | None = None
) -> Decision:
    """What this callback does to what is known. Never raises for its meaning (docs/promises.md#promise-2).

    `held`: it waited since it arrived, so others may have been judged before it that came later.
    """
    n = notification
    if n.trigger is None or n.family is Family.UNKNOWN:
        return _unclassified(n.unclassified_because or "nothing in it is known")
    operation = (current.operation or operations.unseen(n)) if n.transaction_id else None
    context = _moment(n, operation, windows, held)
    if n.resource is not None:
        return _resource(context, current, operation)
    report = n.deployment or _deployment_of_operation(current)
    if report is None:
        return _operation_alone(context, operation, known=current.operation is not None)
    return _deployment(context, current, operation, report)


def _moment(
    n: Notification, operation: Operation | None, windows: Windows, held: DelayedContext | None
) -> DecisionContext:
    first = operation.first_seen_at if operation else n.received_at
    return DecisionContext(n, n.received_at.timestamp(), windows, (first.timestamp(), n.transaction_id or ""), held)


def _deployment_of_operation(current: Current) -> DeploymentReport | None:
    """A message that names no deployment belongs to the one its operation is about (docs/esc-callbacks.md#6.4)."""
    known = current.deployment
    return DeploymentReport(known.internal_deployment_id) if known else None


def _unclassified(because: str) -> Decision:
    return Decision(Outcome.UNCLASSIFIED, "unclassified", because)


def _resource(context: DecisionContext, current: Current, operation: Operation | None) -> Decision:
    assert context.notification.resource is not None  # the caller looked
    before = current.resource or resources.unseen(context, context.notification.resource)
    after, result = resources.apply(context, before, context.notification.resource)
    builder = DecisionBuilder(context.notification)
    builder.keep(after)
    if after.state != before.state or (result.changed and after.state == ResourceState.UPDATED):
        builder.record(after, before.state, after.state.lower(), result)
    elif differs(before, after):
        builder.record(after, before.state, "updated", LEARNED)
    _operation(context, builder, operation, was_up=False, counted="")
    return _decision(builder, result, ())


def _operation_alone(context: DecisionContext, operation: Operation | None, *, known: bool) -> Decision:
    if operation is None or not known:
        return _unclassified("it names no deployment, and no known transaction tells which one is meant")
    builder = DecisionBuilder(context.notification)
    after, is_new = operations.nameless_failure(context, operation) if context.failed else (operation, True)
    result = _operation(context, builder, after, was_up=False, counted="f" if context.failed and is_new else "")
    return _decision(builder, result if is_new else vms.DUPLICATE, ())


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


def _deployment(
    context: DecisionContext, current: Current, operation: Operation | None, report: DeploymentReport
) -> Decision:
    n, builder = context.notification, DecisionBuilder(context.notification)
    before, former = deployments.identify(context, current.deployment, report)
    operation, nameless, counted = _nameless(context, operation)
    if former:
        _operation(context, builder, operation, was_up=True, counted=counted)
        return _decision(builder, deployments.FORMER, ())
    if current.deployment and before.id != current.deployment.id:
        builder.keep(current.deployment._replace(current=False))
    after, result, track = deployments.apply(context, before, report)
    builder.incarnation = after.incarnation
    result = nameless if nameless and result.rule != vms.DUPLICATE.rule else result
    fleet = _Fleet(dict(after.vms))
    known = current.vms if current.deployment and before.id == current.deployment.id else {}
    vm_verdict: RuleResult | None = None
    aliases: tuple[Alias, ...] = ()
    if _names_a_vm(n) and (
        before.state != DeploymentState.UNDEPLOYED or deployments.same_operation(context, before, "chain")
    ):
        counted, vm_verdict, aliases = _vm(context, builder, after, known, fleet)
    if after.state == DeploymentState.UNDEPLOYED != before.state:
        aliases += _cascade(context, builder, result, known, fleet)
    _record_deployment(context, builder, current.deployment, before, after, fleet, result)
    _operation(context, builder, operation, was_up=not track.fresh, counted=counted)
    return _decision(builder, vm_verdict or result, aliases)


def _vm(
    context: DecisionContext, builder: DecisionBuilder, deployment: Deployment, known: Mapping[str, Vm], fleet: _Fleet
) -> tuple[str, RuleResult | None, tuple[Alias, ...]]:
    """Apply the message to the VM it is about; no result when it is not about one."""
    n = context.notification
    row = tables.VM.get((n.trigger or "", context.failed), SHOWN)
    report = _report(n, row, failed=context.failed)
    before_row = _find(known, report)
    name = report.name or (before_row.vm_name if before_row else None)
    if name is None:
        return "", None, ()
    before = before_row or vms.unseen(context, deployment, name)
    after, result, counted = vms.apply(
        context, row, before, report, deployment_gone=deployment.state == DeploymentState.UNDEPLOYED
    )
    aliases = vms.aliases(context, before, after)
    fleet.moved(before.state if before_row else None, after.state)
    builder.keep(after)
    _record_vm(builder, before, after, row, result)
    return counted, None if row is SHOWN else result, aliases


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


def _record_vm(builder: DecisionBuilder, before: Vm, after: Vm, row: tables.VmRow, result: RuleResult) -> None:
    if after.state != before.state:
        builder.record(after, before.state, after.state.lower(), result, _since(before))
    elif result.changed and row.note and _is_news(before, after, row.note):
        builder.record(after, before.state, row.note, result)
    elif differs(before, after):
        builder.record(after, before.state, "updated", LEARNED)


def _since(before: Vm | Deployment) -> datetime | None:
    """None: it had not been seen, so nobody knows."""
    return None if before.state == VmState.UNSEEN else before.changed_at


def _is_news(before: Vm, after: Vm, note: str) -> bool:
    if note == "redeployed":
        return before.vm_uuid != after.vm_uuid
    return note not in ("monitored", "unmonitored") or before.monitored != after.monitored


def _cascade(
    context: DecisionContext, builder: DecisionBuilder, result: RuleResult, known: Mapping[str, Vm], fleet: _Fleet
) -> tuple[Alias, ...]:
    """Every VM goes with its deployment."""
    aliases: tuple[Alias, ...] = ()
    for name, stored in sorted(known.items()):
        before = builder.rows.get(stored.id, stored)
        if not isinstance(before, Vm) or before.state == VmState.UNDEPLOYED:
            continue
        after = vms.remove(context, before)
        aliases += vms.aliases(context, before, after)
        fleet.moved(before.state, after.state)
        gone = RuleResult("deployment-gone", f"{result.reason}, and so is its VM {name}")
        builder.record(after, before.state, after.state.lower(), gone, _since(before))
    return aliases


def _nameless(context: DecisionContext, operation: Operation | None) -> tuple[Operation | None, RuleResult | None, str]:
    """A failed VM operation may name no VM at all: the operation counts it, the deployment notes it
    (docs/esc-callbacks.md#3.2)."""
    n = context.notification
    if _names_a_vm(n) or not context.failed or (n.trigger or "", True) not in tables.VM:
        return operation, None, ""
    if context.held and context.held.again:
        return operation, None, ""  # counted and noted when it was judged first
    if operation is None:
        return None, NAMELESS, ""
    operation, is_new = operations.nameless_failure(context, operation)
    return operation, NAMELESS if is_new else vms.DUPLICATE, "f" if is_new else ""


def _record_deployment(
    context: DecisionContext,
    builder: DecisionBuilder,
    stored: Deployment | None,
    before: Deployment,
    after: Deployment,
    fleet: _Fleet,
    result: RuleResult,
) -> None:
    troubled = after.state == DeploymentState.ACTIVE and any(fleet.counts.get(state) for state in TROUBLED)
    after = after._replace(vms=fleet.counts, degraded=troubled)
    if after != stored:
        builder.keep(after)
    row = tables.DEPLOYMENT.get((context.notification.trigger or "", context.failed))
    if after.state != before.state:
        builder.record(after, before.state, after.state.lower(), result, _since(before))
        return
    known = stored if stored and stored.id == before.id else before  # an id in conflict is noted in `before` already
    note = row.note if row and result.changed else "operation_failed" if result is NAMELESS else None
    if after.vim_leak_suspected != before.vim_leak_suspected:
        note = "vim_leak_suspected"
    if note:
        after = builder.record(after, before.state, note, result)
    elif after.degraded == before.degraded and differs(known, after):
        builder.record(after, before.state, "updated", LEARNED)
    if after.degraded != before.degraded:
        change, result = ("degraded", DEGRADED) if after.degraded else ("restored", RESTORED)
        builder.record(after, before.state, change, result)


def _operation(
    context: DecisionContext, builder: DecisionBuilder, before: Operation | None, *, was_up: bool, counted: str
) -> RuleResult:
    if before is None:
        return RuleResult("no-operation", "the message carries no transaction id", changed=True)
    after, result = operations.apply(context, before, was_up=was_up, counted=counted)
    builder.keep(after)
    if before.state == OperationState.UNSEEN and after.state != OperationState.OPEN:
        opened = RuleResult(OPENED, operations.REASONS[OperationState.OPEN])
        first = builder.record(after._replace(state=OperationState.OPEN, ended_at=None), before.state, "open", opened)
        builder.record(after._replace(sequence=first.sequence), OperationState.OPEN, after.state.lower(), result)
    elif after.state != before.state:
        builder.record(after, before.state, after.state.lower(), result)
    return result


def _decision(builder: DecisionBuilder, result: RuleResult, aliases: tuple[Alias, ...]) -> Decision:
    """The outcome of the whole: what it did to the entity it is about, unless it did more to another.

    That it is the first to be heard of its operation is not more: what it tells may still be late.
    """
    outcome, rule, reason = Outcome.APPLIED, result.rule, result.reason
    if result.late or result.rule == vms.DUPLICATE.rule:
        outcome = Outcome.LATE if result.late else Outcome.DUPLICATE
        moved = next((t for t, _ in builder.transitions if t.rule not in (LEARNED.rule, OPENED)), None)
        if moved:
            outcome, rule, reason = Outcome.APPLIED, moved.rule, moved.reason
    return Decision(
        outcome, rule, reason, tuple(builder.rows.values()), tuple(builder.transitions), aliases, tuple(builder.since)
    )
