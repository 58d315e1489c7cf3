"""The decision on one callback: which entities it is about, what it does to each, and the one outcome it gets.

This file joins the entities' own rules; it must not hold any of them.
"""

from __future__ import annotations

from receiver.lifecycle import attribution, stage_rules
from receiver.lifecycle import deployment as deployments
from receiver.lifecycle import operation as operations
from receiver.lifecycle import resource as resources
from receiver.lifecycle.attribution import Step
from receiver.lifecycle.context import DUPLICATE, LEARNED, Current, DecisionContext, DelayedContext, RuleResult
from receiver.lifecycle.deployment import DeploymentApplication
from receiver.lifecycle.deployment_vms import UNATTRIBUTED, DeploymentVms
from receiver.lifecycle.draft import DecisionBuilder
from receiver.lifecycle.operation import OPENED, OperationDraft
from receiver.lifecycle.ordering_marks import Windows
from receiver.lifecycle.resource import ResourceApplication
from receiver.lifecycle.source import decide_source, is_about_source
from receiver.model.entities import Decision, DeploymentState, Operation, OperationState, ResourceState, VmState
from receiver.model.notification import (
    DeploymentReport,
    Family,
    Notification,
    Outcome,
    ResourceReport,
    Status,
    VmReport,
)

NAMELESS = RuleResult("nameless-failure", "a VM's stage failed without naming the VM", changed=True)
DEGRADED = RuleResult("deployment-degraded", "one of its VMs is recovering or in error", changed=True)
RESTORED = RuleResult("deployment-restored", "none of its VMs is recovering or in error any more", changed=True)
NOTED = {NAMELESS.rule: "operation_failed", UNATTRIBUTED: "unattributed"}
"""What the ledger of a deployment notes of a message about a VM that it does not name."""
TROUBLED = (VmState.RECOVERING, VmState.ERROR)


def decide(
    current: Current, notification: Notification, windows: Windows, delayed: DelayedContext | None = None
) -> Decision:
    """What this callback does to what is known. Never raises for its meaning (docs/promises.md#promise-2).

    `delayed`: it waited since it arrived, so others may have been applied before it that came later.
    """
    n = notification
    if n.trigger is None or n.family is Family.UNKNOWN:
        return _unclassified(n.unclassified_because or "nothing in it is known")
    if is_about_source(n):
        began = n.received_at.timestamp(), n.transaction_id or ""
        context = DecisionContext(n, began[0], windows, began, delayed)
        return decide_source(context, current.source, current.sequence_floor)
    operation = (current.operation or operations.unseen(n)) if n.transaction_id else None
    first_seen_at = operation.first_seen_at if operation else n.received_at
    began = first_seen_at.timestamp(), n.transaction_id or ""
    context = DecisionContext(n, n.received_at.timestamp(), windows, began, delayed)
    decider = _Decider(context, current, OperationDraft(context, operation) if operation else None)
    if n.resource is not None:
        return decider.about_resource(n.resource)
    report = n.deployment or _deployment_of_operation(current)
    return decider.about_operation() if report is None else decider.about_deployment(report)


def is_about_every_vm(n: Notification, operation: Operation | None) -> bool:
    """Whether it is decided against all VMs of its deployment."""
    if n.trigger == "SERVICE_UNDEPLOYED" or (n.trigger or "", n.status is Status.FAILED) in stage_rules.EVERY_VM:
        return True
    return bool(operation and operation.memory.get("unnamed")) or attribution.step_of(n) is not None


def _deployment_of_operation(current: Current) -> DeploymentReport | None:
    """A message that names no deployment belongs to the one its operation is about (docs/esc-callbacks.md#6.4)."""
    known = current.deployment
    return DeploymentReport(known.internal_deployment_id) if known else None


def _unclassified(because: str) -> Decision:
    return Decision(Outcome.UNCLASSIFIED, "unclassified", because)


class _Decider:
    """One message, what it is compared with, and what has been decided so far."""

    def __init__(self, context: DecisionContext, current: Current, operation: OperationDraft | None) -> None:
        self.context = context
        self.current = current
        self.operation = operation
        self.builder = DecisionBuilder(context.notification, current.sequence_floor)

    def about_resource(self, report: ResourceReport) -> Decision:
        """A tenant, network, image … and its operation."""
        before = self.current.resource or resources.unseen(self.context, report)
        resource = ResourceApplication(self.context, before, report)
        result = resource.apply()
        if resource.state != before.state or (result.changed and resource.state == ResourceState.UPDATED):
            self.builder.record(resource, before.state, resource.state.lower(), result)
        elif resource.differs:
            self.builder.record(resource, before.state, "updated", LEARNED)
        else:
            self.builder.write(resource)
        self._apply_operation(was_up=False, counted="")
        return self._decision(result)

    def about_operation(self) -> Decision:
        """It names nothing but its operation, which is not known to be about a deployment."""
        if self.operation is None or self.current.operation is None:
            return _unclassified("it names no deployment, and no known transaction tells which one is meant")
        failed = self.context.failed
        step = attribution.step_of(self.context.notification)
        self._steps(step, "")
        is_new = self.operation.is_new_nameless() if failed or step else True
        result = self._apply_operation(was_up=False, counted="f" if failed and is_new else "")
        return self._decision(result if is_new else DUPLICATE)

    def about_deployment(self, report: DeploymentReport) -> Decision:
        """A deployment, the VM that the message names, and their operation."""
        stored = self.current.deployment
        before, is_former = deployments.identify(self.context, stored, report)
        n = self.context.notification
        step = None if self.context.again else attribution.step_of(n)
        nameless, counted = self._nameless(step)
        if is_former:
            self._apply_operation(was_up=True, counted=counted)
            return self._decision(deployments.FORMER)
        if stored and before.id != stored.id:
            self.builder.rows[stored.id] = stored._replace(current=False)
        deployment = DeploymentApplication(self.context, before, report)
        result = deployment.apply()
        self.builder.incarnation = before.incarnation
        known = self.current.vms if stored and before.id == stored.id else {}
        vms = DeploymentVms(self.builder, deployment, known, self._steps(step, before.id.hex))
        vm_result = None
        is_live = before.state != DeploymentState.UNDEPLOYED or deployment.lives_again
        is_about_vms = is_live or deployments.moved_by_same_operation(self.context, before)
        if is_about_vms and nameless is None:
            vms.apply_to_every()
            vm_result, counted = vms.apply_named() if step is None and _names_a_vm(n) else (None, counted)
        if deployment.state == DeploymentState.UNDEPLOYED and is_live:
            vms.remove_all(result)
        if is_about_vms:
            vm_result = vms.attribute(step) or vm_result
        vms.record()
        if nameless and result is not DUPLICATE:
            result = nameless
        self._record_deployment(deployment, result, vm_result, vms.counts)
        self._apply_operation(was_up=not deployment.marks.fresh, counted=counted)
        return self._decision(result if nameless is DUPLICATE else vm_result or result)

    def _steps(self, new: Step | None, of: str) -> list[Step]:
        """What may still be about any VM of this incarnation: its operation's steps that name none; without an
        operation, this message's."""
        context = self.context
        new = new._replace(of=of) if new else None
        if self.operation is None:
            return [new] if new else []
        if context.again:
            return []
        steps = attribution.remember(self.operation.memory, new, context.now, context.windows.reorder_window_s)
        return [step for step in steps if step.of in ("", of)]

    def _nameless(self, step: Step | None) -> tuple[RuleResult | None, str]:
        """A message may not say which VM it is about: the operation counts it, and notes a failure on the deployment,
        unless it is found out which VM it is (docs/esc-callbacks.md#3.2, #10)."""
        n, failed = self.context.notification, self.context.failed
        row = stage_rules.VM.get((n.trigger or "", failed))
        if row is None or self.context.again:
            return None, ""  # counted and noted when it was applied first
        if step is None and (not failed or _shows_a_vm(n, row)):
            return None, ""
        if self.operation and not self.operation.is_new_nameless():
            return DUPLICATE, ""
        return None if step else NAMELESS, stage_rules.progress(n.trigger or "", row, failed=failed)

    def _record_deployment(
        self,
        deployment: DeploymentApplication,
        result: RuleResult,
        vm_result: RuleResult | None,
        vm_counts: dict[str, int],
    ) -> None:
        stored, before, builder = self.current.deployment, deployment.before, self.builder
        degraded = deployment.state == DeploymentState.ACTIVE and any(vm_counts.get(state) for state in TROUBLED)
        deployment.columns.vms, deployment.columns.degraded = vm_counts, degraded
        if deployment.state != before.state:
            builder.record_move(deployment, result)
            return
        said = vm_result if vm_result and vm_result.rule in NOTED else result
        note = self._note(deployment, said)
        if note:
            builder.record(deployment, before.state, note, said)
        elif degraded == before.degraded and self._differs(deployment):
            builder.record(deployment, before.state, "updated", LEARNED)
        elif (row := deployment.as_row()) != stored:
            builder.rows[row.id] = row
        if degraded != before.degraded:
            change, result = ("degraded", DEGRADED) if degraded else ("restored", RESTORED)
            builder.record(deployment, before.state, change, result)

    def _differs(self, deployment: DeploymentApplication) -> bool:
        """Whether anything people see has changed; an id in conflict is noted before the rules are applied."""
        stored, before = self.current.deployment, deployment.before
        return deployment.differs or (stored is not None and stored.id == before.id and stored != before)

    def _note(self, deployment: DeploymentApplication, result: RuleResult) -> str | None:
        """What the ledger notes of a deployment that keeps its state."""
        if deployment.columns.vim_leak_suspected != deployment.before.vim_leak_suspected:
            return "vim_leak_suspected"
        if deployment.row and result.changed:
            return deployment.row.note
        return NOTED.get(result.rule)

    def _apply_operation(self, *, was_up: bool, counted: str) -> RuleResult:
        operation, builder = self.operation, self.builder
        if operation is None:
            return RuleResult("no-operation", "the message carries no transaction id", changed=True)
        before = operation.before.state
        result = operation.apply(was_up=was_up, counted=counted)
        columns = operation.columns
        state, ended_at = columns.state, columns.ended_at
        if before == OperationState.UNSEEN and state != OperationState.OPEN:
            columns.state, columns.ended_at = OperationState.OPEN, None
            builder.record(operation, before, "open", RuleResult(OPENED, operations.REASONS[OperationState.OPEN]))
            columns.state, columns.ended_at = state, ended_at
            before = OperationState.OPEN
        if state != before:
            builder.record(operation, before, state.lower(), result)
        else:
            builder.write(operation)
        return result

    def _decision(self, result: RuleResult) -> Decision:
        """The outcome of the whole: what it did to the entity it is about, unless it did more to another.

        That it is the first of its operation is not more: it may still be late for the entity it is about.
        """
        builder = self.builder
        outcome, rule, reason = Outcome.APPLIED, result.rule, result.reason
        if result.late or result is DUPLICATE:
            outcome = Outcome.LATE if result.late else Outcome.DUPLICATE
            moved = next((t for t, _ in builder.transitions if t.rule not in (LEARNED.rule, OPENED)), None)
            if moved:
                outcome, rule, reason = Outcome.APPLIED, moved.rule, moved.reason
        return Decision(
            outcome, rule, reason, tuple(builder.rows.values()), tuple(builder.transitions), tuple(builder.aliases),
            tuple(builder.since),
        )  # fmt: skip


def _names_a_vm(n: Notification) -> bool:
    return _is_named(n.vm) or _is_named(n.target)


def _shows_a_vm(n: Notification, row: stage_rules.VmRow) -> bool:
    """Whether it says which VM it is about, on the side where that stands."""
    return _is_named(n.target) or (row.about != "target" and _is_named(n.vm))


def _is_named(side: VmReport | None) -> bool:
    return side is not None and bool(side.name or side.uuid)
