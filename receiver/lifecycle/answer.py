"""What ESC says of a deployment when it is asked, compared with what is known: what was never said is found out.

An answer moves only what has been silent for longer than the reorder window before ESC was asked, so nothing that a
callback moved since, and nothing of which one may still be under way. What it moves is marked (`inference`), and every
callback that comes later knows better. Operations end by `answer_tables`, where the state leaves no doubt. Whether an
answer that misses something is believed at all is for the caller. Pure: times are handed in. Must not know how ESC is
asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from receiver.lifecycle import deployment as deployments
from receiver.lifecycle import inference
from receiver.lifecycle.answer_tables import BUSY, GONE, reason_of, said_of, verdict
from receiver.lifecycle.answered_vms import AnsweredVms
from receiver.lifecycle.context import DecisionContext, RuleResult
from receiver.lifecycle.draft import DecisionBuilder, Draft
from receiver.lifecycle.ordering_marks import Windows
from receiver.lifecycle.stage_rules import NEVER_FROM_A_REPORT
from receiver.model.entities import Decision, Deployment, DeploymentState, Operation, OperationState, Vm, VmState
from receiver.model.notification import DeploymentReport, Family, Notification, Outcome, Status, VmReport

TRIGGER: Final = "reconcile"
AGREES: Final = "reconcile-agrees"
NOT_SILENT: Final = "reconcile-not-silent"
ANOTHER_TENANT: Final = "reconcile-another-tenant"
STALE: Final = "reconcile-stale"
MADE_ANEW: Final = "ESC has another deployment of the same id"
TROUBLED: Final = (VmState.RECOVERING, VmState.ERROR)


@dataclass(frozen=True, slots=True)
class Answer:
    """What ESC says of one deployment."""

    receipt: UUID
    source: str
    internal_id: str
    asked_at: datetime
    answered_at: datetime
    deployment: DeploymentReport | None = None
    """None: ESC does not have it."""
    vms: Sequence[VmReport] = ()

    def notification(self) -> Notification:
        """As what is decided and kept."""
        return Notification(
            self.receipt, self.source, self.answered_at, Family.DEPLOYMENT, "deployment", TRIGGER, TRIGGER, Status.OK,
            deployment=self.deployment or DeploymentReport(self.internal_id),
        )  # fmt: skip


@dataclass(slots=True)
class Known:
    """What is known of the deployment: its current incarnation, all its VMs, its operations that have not ended."""

    deployment: Deployment | None = None
    vms: Mapping[str, Vm] = field(default_factory=dict)
    operations: Sequence[Operation] = ()
    sequence_floor: int = 0


def judge(known: Known, answer: Answer, windows: Windows) -> Decision:
    """What this answer changes. Without ledger entries: nothing, and the rule says why."""
    asked = answer.asked_at.timestamp()
    context = DecisionContext(answer.notification(), asked, windows, (asked, ""))
    if passed_over := _passed_over(known, answer, asked, windows):
        return Decision(Outcome.LATE, passed_over.rule, passed_over.reason)
    return _Judgement(context, known, answer).decision()


def heard_at(known: Known) -> float:
    """When a callback about any of it arrived last; an answer is none."""
    tracks = known.deployment.memory.get("tracks", {}).values() if known.deployment else ()
    times = [float(marks["touched"]) for marks in tracks]
    times += [operation.last_seen_at.timestamp() for operation in known.operations]
    return max(times, default=float("-inf"))


def _passed_over(known: Known, answer: Answer, asked: float, windows: Windows) -> RuleResult | None:
    """Why this answer says nothing of today, or nothing of ours."""
    deployment, report = known.deployment, answer.deployment
    if asked - heard_at(known) <= windows.reorder_window_s:
        return RuleResult(NOT_SILENT, "a callback of it was received not long before ESC was asked, or since")
    if deployment is None:
        return None
    if (inference.inferred_at(deployment) or asked) > asked:
        return RuleResult(STALE, "ESC was asked again since")
    return _not_ours(deployment, report) if report else None


def _not_ours(deployment: Deployment, report: DeploymentReport) -> RuleResult | None:
    """Why it is about another deployment than the one that is known by this id, if it is."""
    if deployment.tenant and report.internal_tenant_id not in (None, deployment.tenant):
        return RuleResult(ANOTHER_TENANT, f"ESC has it in tenant {report.internal_tenant_id}, not {deployment.tenant}")
    if report.external_id and report.external_id in deployment.memory.get("former", []):
        return RuleResult(STALE, "this tells of an earlier deployment of the same id")
    is_gone = deployment.state == DeploymentState.UNDEPLOYED and not inference.is_presumed_gone(deployment)
    if is_gone and report.external_id in (None, deployment.external_deployment_id):
        return RuleResult(STALE, "ESC has told that it is gone")
    return None


class _Judgement:
    """One answer that counts."""

    def __init__(self, context: DecisionContext, known: Known, answer: Answer) -> None:
        self.context = context
        self.known = known
        self.answer = answer
        self.builder = DecisionBuilder(context.notification, known.sequence_floor)

    def decision(self) -> Decision:
        """What it changes."""
        known: Deployment | None = self.known.deployment
        report = self.answer.deployment
        if report is None:
            if known is not None:
                self._remove(known, "reconcile-gone", "ESC does not have it any more; what removed it was never told")
            self._settle(known, GONE)
        elif known is None:
            self._learn(report, 1, [])
            self._settle(known, report.state)
        elif self._is_made_anew(known, report):
            self._remove(known, "reconcile-made-anew", "ESC has another deployment of the same id; this one is gone")
            self._settle(known, GONE)
            self.builder.rows[known.id] = self._row(known)._replace(current=False)
            self._learn(report, known.incarnation + 1, deployments.former_of(known))
        else:
            self._settle(known, self._compare(known, report))
        return self._decision()

    def _decision(self) -> Decision:
        builder = self.builder
        if not builder.transitions:
            return Decision(Outcome.DUPLICATE, AGREES, "what ESC says was known")
        first, _ = builder.transitions[0]
        return Decision(
            Outcome.APPLIED, first.rule, first.reason, tuple(builder.rows.values()), tuple(builder.transitions),
            tuple(builder.aliases), tuple(builder.since),
        )  # fmt: skip

    def _row(self, deployment: Deployment) -> Deployment:
        row = self.builder.rows.get(deployment.id, deployment)
        assert isinstance(row, Deployment)  # by its id
        return row

    def _is_made_anew(self, known: Deployment, report: DeploymentReport) -> bool:
        """Under the same id, with another external id, and none of the VMs: a slip of a message leaves those as they
        are (docs/esc-callbacks.md#6.3)."""
        other = report.external_id and known.external_deployment_id not in (None, report.external_id)
        if not other:
            return False
        live = {name for name, vm in self.known.vms.items() if vm.state != VmState.UNDEPLOYED}
        return live.isdisjoint(vm.name for vm in self.answer.vms)

    def _remove(self, known: Deployment, rule: str, reason: str) -> None:
        if known.state == DeploymentState.UNDEPLOYED:
            return
        draft, result = Draft(self.context, known), RuleResult(rule, reason, changed=True)
        inference.infer(draft, DeploymentState.UNDEPLOYED)
        self.builder.incarnation = known.incarnation
        answered = AnsweredVms(self.builder, draft, self.known.vms)
        answered.remove_all("reconcile-gone", "its deployment is gone, and so is it")
        self._record(draft, answered, result)

    def _learn(self, report: DeploymentReport, incarnation: int, former: list[str]) -> None:
        """One that no callback has named."""
        if report.state in NEVER_FROM_A_REPORT:
            return
        draft = Draft(self.context, deployments.unseen(self.context, report, incarnation, former))
        self.builder.incarnation = incarnation
        self._take_facts(draft, report)
        inference.infer(draft, str(report.state))
        answered = AnsweredVms(self.builder, draft, {})
        answered.compare(self.answer.vms)
        reason = f"{said_of(report.state)}; no callback of it was ever received"
        self._record(draft, answered, RuleResult("reconcile-learned", reason, changed=True))

    def _compare(self, known: Deployment, report: DeploymentReport) -> str | None:
        """The state that counts, if ESC says one."""
        draft = Draft(self.context, known)
        self.builder.incarnation = known.incarnation
        state = None if report.state in NEVER_FROM_A_REPORT or self._is_ahead(report) else report.state
        self._take_facts(draft, report)
        if state is not None and state != known.state:
            inference.infer(draft, state)
            if draft.state != DeploymentState.UNDEPLOYED:
                draft.columns.ended_at = None
        answered = AnsweredVms(self.builder, draft, self.known.vms)
        answered.compare(self.answer.vms)
        self._record(draft, answered, RuleResult("reconcile-state", reason_of(state, known.state), changed=True))
        return state

    def _is_ahead(self, report: DeploymentReport) -> bool:
        """ESC reports a service stopped while its VMs are still being stopped (docs/esc-callbacks.md#trap-3)."""
        states = {vm.state for vm in self.answer.vms}
        return report.state == DeploymentState.STOPPED and not states <= {VmState.STOPPED, VmState.ERROR, None}

    def _take_facts(self, draft: Draft[Deployment], report: DeploymentReport) -> None:
        columns = draft.columns
        columns.external_deployment_id = report.external_id or columns.external_deployment_id
        columns.deployment_name = columns.deployment_name or report.name
        columns.tenant = columns.tenant or report.internal_tenant_id
        columns.external_tenant_id = columns.external_tenant_id or report.external_tenant_id
        if report.state != draft.before.state:
            columns.reported_state = report.raw_state or columns.reported_state

    def _record(self, draft: Draft[Deployment], answered: AnsweredVms, result: RuleResult) -> None:
        """The deployment first, then its VMs."""
        columns, before, builder = draft.columns, draft.before, self.builder
        columns.vms = answered.counts
        columns.degraded = draft.state == DeploymentState.ACTIVE and any(answered.counts.get(s) for s in TROUBLED)
        if draft.state != before.state:
            draft.set_times()
            builder.record_move(draft, result)
        elif columns.degraded != before.degraded:
            change = "degraded" if columns.degraded else "restored"
            builder.record(draft, before.state, change, RuleResult("reconcile-vms", "so ESC says of its VMs"))
        elif columns.external_deployment_id != before.external_deployment_id:
            builder.record(draft, before.state, "updated", RuleResult("reconcile-facts", "ESC knows its ids better"))
        elif columns.vms != before.vms:
            builder.write(draft)
        answered.record()

    # Operations.

    def _settle(self, deployment: Deployment | None, state: str | None) -> None:
        """End those that this state leaves no doubt of; of an overdue one it is noted what ESC says.

        What an operation of an earlier incarnation was about is gone, whatever is there now.
        """
        for operation in self.known.operations:
            if not _is_of(operation, deployment):
                self._end(operation, deployment, GONE, MADE_ANEW)
            elif state not in BUSY:
                self._end(operation, deployment, state, said_of(state))

    def _end(self, operation: Operation, deployment: Deployment | None, state: str | None, said: str) -> None:
        draft = Draft(self.context, operation)
        outcome = verdict(operation.kind, state, is_last=_is_last(operation, deployment))
        if outcome is not None:
            draft.columns.state, draft.columns.ended_at = outcome, self.answer.answered_at
            draft.memory["inferred"] = outcome
            reason, rule = f"{said}; how {operation.kind} ended was never told", f"reconcile-{outcome.lower()}"
            self.builder.record(draft, operation.state, outcome.lower(), RuleResult(rule, reason, changed=True))
        elif operation.state == OperationState.OVERDUE and operation.memory.get("asked") != state:
            draft.memory["asked"] = state
            reason = f"{said}; that does not tell how {operation.kind} ended"
            self.builder.record(draft, operation.state, "asked", RuleResult("reconcile-undecided", reason))


def _is_of(operation: Operation, deployment: Deployment | None) -> bool:
    """Whether it is about this incarnation, and not about an earlier one."""
    if deployment is None or operation.transaction_id in deployment.memory.get("tracks", {}):
        return True
    return deployment.incarnation == 1 or operation.first_seen_at >= deployment.first_seen_at


def _is_last(operation: Operation, deployment: Deployment | None) -> bool:
    """Whether no other operation, that began later, has moved the deployment."""
    mover = deployment.memory.get("mover") if deployment else None
    began = operation.first_seen_at.timestamp(), operation.transaction_id
    return not mover or not mover[1] or mover[1] == operation.transaction_id or began >= (mover[0], mover[1])
