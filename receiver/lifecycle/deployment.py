"""What a message does to its deployment, by `stage_rules.DEPLOYMENT`. Must not know the rules of VMs or operations."""

from __future__ import annotations

from typing import Any

from receiver.lifecycle import delayed, inference, stage_rules
from receiver.lifecycle.application import ALREADY_PASSED, NEWER_OPERATION, RuleApplication
from receiver.lifecycle.context import DecisionContext, RuleResult
from receiver.lifecycle.ordering_marks import OrderingMarks
from receiver.model.entities import Deployment, DeploymentState
from receiver.model.entity_ids import entity_id
from receiver.model.notification import DeploymentReport, Family

FORMER = RuleResult(
    "former-incarnation", "this tells of an earlier deployment of the same id, which is gone", late=True
)
FORMER_MAX = 16
"""External ids of earlier incarnations that are remembered."""


def identify(context: DecisionContext, current: Deployment | None, report: DeploymentReport) -> tuple[Deployment, bool]:
    """The incarnation the message belongs to, and whether that one is gone (docs/esc-callbacks.md#6.2, #6.3)."""
    external = report.external_id
    if current is None:
        return unseen(context, report, 1, []), False
    if context.delayed and delayed.is_of_earlier_incarnation(context, current, external):
        return current, True
    if external is None or current.external_deployment_id in (None, external):
        return current, False
    if external in current.memory.get("former", []):
        return current, True
    of_it = moved_by_same_operation(context, current) or delayed.begins_nothing(context, current)
    if current.state == DeploymentState.UNDEPLOYED and not of_it:
        return unseen(context, report, current.incarnation + 1, former_of(current)), False
    return _conflicting(context, current, external), False


def moved_by_same_operation(context: DecisionContext, deployment: Deployment) -> bool:
    """Whether this message's operation is the one that last moved the deployment."""
    return bool(context.transaction_id) and deployment.memory.get("chain") == context.transaction_id


def _conflicting(context: DecisionContext, current: Deployment, external: str) -> Deployment:
    """One live deployment under two ids is noted, not split. Within the operation that reported the first, the
    smaller id is taken for the true one, so that order does not matter."""
    if context.again:
        return current
    known = current.external_deployment_id or external
    named_by_same = bool(context.transaction_id) and current.memory.get("named_by") == context.transaction_id
    if named_by_same and external < known:
        known, external = external, known
    return current._replace(
        external_deployment_id=known,
        conflicting_external_id=max(external, current.conflicting_external_id or ""),
    )


def former_of(gone: Deployment) -> list[str]:
    """The external ids that the next incarnation remembers as those of earlier ones."""
    return list(filter(None, [*gone.memory.get("former", []), gone.external_deployment_id]))[-FORMER_MAX:]


def unseen(context: DecisionContext, report: DeploymentReport, incarnation: int, former: list[str]) -> Deployment:
    """An incarnation before its first message."""
    n = context.notification
    return Deployment(
        id=entity_id("deployment", n.source, report.internal_id, incarnation), source=n.source,
        internal_deployment_id=report.internal_id, incarnation=incarnation, current=True,
        state=DeploymentState.UNSEEN, first_seen_at=n.received_at, changed_at=n.received_at,
        memory={"former": former} if former else {},
    )  # fmt: skip


class DeploymentApplication(RuleApplication[Deployment]):
    """A message applied to its deployment: by its row of `stage_rules.DEPLOYMENT`, or as a VM's stage without one."""

    def __init__(self, context: DecisionContext, before: Deployment, report: DeploymentReport) -> None:
        self.row = stage_rules.DEPLOYMENT.get((context.notification.trigger or "", context.failed))
        self.report = report
        super().__init__(context, before, self.row.chain if self.row else "up")
        self.lives_again = False
        """It was only presumed to be gone, and this message shows that it is not."""

    def new_marks(self) -> OrderingMarks:
        """Fresh while the deployment was never up, as far as callbacks tell."""
        fresh = self._state_told() in stage_rules.NEVER_ACTIVE and not self.memory.get("was_up")
        return OrderingMarks(self.context.now, self.context.now, fresh=fresh)

    def decide(self) -> RuleResult:
        """As the row says, unless the message is late."""
        row = self.row
        exempt = row.exempt if row else self.context.notification.family is Family.VM_EVENT
        if not exempt and self.is_older:
            self.fill_in(self._facts())
            return RuleResult(
                NEWER_OPERATION, "an operation that began later has moved the deployment since", late=True
            )
        if self.moved_since:
            self.fill_in(self._facts())
            return delayed.MOVED_SINCE
        self.lives_again = inference.take_back(self.context, self, self._chain_of_removal())
        if self.state == DeploymentState.UNDEPLOYED:
            return self._add_to_the_gone()
        self._learn()
        result = self._advance()
        return inference.TAKEN_BACK if self.lives_again and not result.changed else result

    def _state_told(self) -> str:
        """What callbacks have brought, where ESC was asked not long ago and knew better."""
        said = self.memory.get("inferred")
        if said is None or self.context.now - said["at"] > self.context.windows.reorder_window_s:
            return self.before.state
        return str(said["from"])

    def _chain_of_removal(self) -> str:
        """That of the VM's row for a VM's stage: it may tell that it is going."""
        case = self.context.notification.trigger or "", self.context.failed
        row = None if self.row else stage_rules.VM.get(case)
        return row.chain if row else ""

    def _advance(self) -> RuleResult:
        row, marks = self.row, self.marks
        rule, reason = (
            (row.rule, row.reason) if row else ("vm-stage-reports", "a VM's stage reported the service's state")
        )
        rank, to = self._leads_to()
        if to is not None and marks.raises(rank, to):
            self._move(to)
            return RuleResult(rule, reason, changed=True)
        noted = row is not None and row.note is not None
        if to is None or (noted and rank == marks.rank):  # as high, and no mere repeat: noted once more
            return RuleResult(rule, reason, changed=noted)
        late = rank < marks.rank
        return RuleResult(ALREADY_PASSED, "the same operation has already passed this stage", late=late)

    def _add_to_the_gone(self) -> RuleResult:
        """Only the operation that removed it may still add to what is known, such as a leak in the VIM."""
        if moved_by_same_operation(self.context, self.before):
            self._learn()
            self._suspect_leak()
        news = self.columns.vim_leak_suspected != self.before.vim_leak_suspected
        return RuleResult(
            "deployment-gone", "the deployment is gone; this tells of an earlier time", changed=news, late=not news
        )

    def _leads_to(self) -> tuple[int, str | None]:
        row = self.row
        if row is None:
            return self._by_vm_stage()
        reported = None if self.report.state in stage_rules.NEVER_FROM_A_REPORT else self.report.state
        if row.to == stage_rules.FAILS_FIRST_DEPLOY:
            return row.rank, DeploymentState.ERROR if self.marks.fresh else reported
        return row.rank, reported if row.to == stage_rules.AS_REPORTED else row.to

    def _by_vm_stage(self) -> tuple[int, str | None]:
        """A VM's stage moves the service only to where its own stages do not lead."""
        n, reported = self.context.notification, self.report.state
        if n.family is not Family.DEPLOYMENT:
            return 0, None
        if reported and reported in stage_rules.REPORTED_BY_VM_STAGE:
            return stage_rules.REPORTED_BY_VM_STAGE[reported], reported
        begins = (
            self.marks.fresh
            and self.before.state in stage_rules.NOT_YET_CREATED
            and n.trigger in stage_rules.DEPLOY_STAGES
        )
        if begins and reported is None:
            return stage_rules.DEPLOYING_UNREPORTED_RANK, DeploymentState.DEPLOYING
        return 0, None

    def _move(self, to: str) -> None:
        self.move(to, self.chain)
        if to in (DeploymentState.ACTIVE, DeploymentState.STOPPED):
            self.memory["was_up"] = True
        self._suspect_leak()

    def _suspect_leak(self) -> None:
        if self.row and self.row.leak:
            self.columns.vim_leak_suspected = True

    def _facts(self) -> dict[str, Any]:
        report = self.report
        return {
            "external_deployment_id": report.external_id, "deployment_name": report.name,
            "tenant": report.internal_tenant_id, "external_tenant_id": report.external_tenant_id,
            "reported_state": report.raw_state, "extra": dict(report.extra) if report.extra else None,
        }  # fmt: skip

    def _learn(self) -> None:
        row, facts = self.row, self._facts()
        if self.only_fills_in:
            self.fill_in(facts)
            return
        if self.before.external_deployment_id is not None:
            del facts["external_deployment_id"]
        self.learn(facts, row.rank if row else stage_rules.REPORTED_BY_VM_STAGE.get(self.report.state or "", 1))
        if self.columns.external_deployment_id != self.before.external_deployment_id:
            self.memory["named_by"] = self.context.transaction_id
        if row:
            self.learn_last_operation(row.rank)
