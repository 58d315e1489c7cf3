"""What a message does to its deployment. Applies `tables.DEPLOYMENT`; must not know the tables of VMs or operations."""

from __future__ import annotations

from typing import Any

from receiver.lifecycle import delayed as held
from receiver.lifecycle import ordering_marks as memory
from receiver.lifecycle import tables
from receiver.lifecycle.context import DecisionContext, RuleResult, differs
from receiver.lifecycle.ordering_marks import Track
from receiver.lifecycle.tables import DeploymentRow
from receiver.model.entities import Deployment, DeploymentState, entity_id
from receiver.model.notification import DeploymentReport, Family

FORMER = RuleResult(
    "former-incarnation", "this tells of an earlier deployment of the same id, which is gone", late=True
)
FORMER_MAX = 16
"""External ids of earlier incarnations that are remembered."""


def identify(context: DecisionContext, current: Deployment | None, report: DeploymentReport) -> tuple[Deployment, bool]:
    """The incarnation the message belongs to, and whether it tells of one that is gone
    (docs/esc-callbacks.md#6.2, #6.3)."""
    external = report.external_id
    if current is None:
        return _unseen(context, report, 1, []), False
    if held.before_its_time(context, current, external):
        return current, True
    if external is None or current.external_deployment_id in (None, external):
        return current, False
    if external in current.memory.get("former", []):
        return current, True
    of_it = same_operation(context, current, "chain") or held.begins_nothing(context, current)
    if current.state == DeploymentState.UNDEPLOYED and not of_it:
        former = [*current.memory.get("former", []), current.external_deployment_id][-FORMER_MAX:]
        return _unseen(context, report, current.incarnation + 1, former), False
    return _conflicting(context, current, external), False


def same_operation(context: DecisionContext, deployment: Deployment, what: str) -> bool:
    """Whether this message's operation is the one remembered under `what`: `chain` moved it, `named_by` gave its id."""
    return bool(context.operation[1]) and deployment.memory.get(what) == context.operation[1]


def _conflicting(context: DecisionContext, current: Deployment, external: str) -> Deployment:
    """One live deployment under two ids is noted, not split. Within the operation that told the first, the
    smaller id is taken for the true one, so that order does not matter."""
    if context.again:
        return current
    known = current.external_deployment_id or external
    if same_operation(context, current, "named_by") and external < known:
        known, external = external, known
    return current._replace(
        external_deployment_id=known,
        conflicting_external_id=max(external, current.conflicting_external_id or ""),
    )


def _unseen(context: DecisionContext, report: DeploymentReport, incarnation: int, former: list[str]) -> Deployment:
    n = context.notification
    return Deployment(
        id=entity_id("deployment", n.source, report.internal_id, incarnation), source=n.source,
        internal_deployment_id=report.internal_id, incarnation=incarnation, current=True,
        state=DeploymentState.UNSEEN, first_seen_at=n.received_at, changed_at=n.received_at,
        memory={"former": former} if former else {},
    )  # fmt: skip


def apply(
    context: DecisionContext, before: Deployment, report: DeploymentReport
) -> tuple[Deployment, RuleResult, Track]:
    """The deployment after the message, why, and the marks its operation has now left on it."""
    n = context.notification
    row = tables.DEPLOYMENT.get((n.trigger or "", context.failed))
    chain = row.chain if row else "up"
    key, track = _track(context, chain, before)
    if passed := held.passed_over(context, before, chain):
        return before, passed, track
    repeated = track.heard(n.fingerprint, context.now, context.windows)
    after, result = _judge(context, row, chain, before, report, track)
    after = _timed(context, before, after)
    if repeated and not differs(before, after):
        result = RuleResult("duplicate", "the same message was received before, and nothing new came of it")
    kept = memory.remember(after.memory, key, track, context.windows, after.memory.get("chain"))
    return after._replace(memory=kept), result, track


def _judge(
    context: DecisionContext,
    row: DeploymentRow | None,
    chain: str,
    before: Deployment,
    report: DeploymentReport,
    track: Track,
) -> tuple[Deployment, RuleResult]:
    exempt = row.exempt if row else context.notification.family is Family.VM_EVENT
    if not exempt and memory.is_older(context.operation, before.memory.get("mover")):
        return _fill(context, before, report), RuleResult(
            "newer-operation", "an operation that began later has moved the deployment since", late=True
        )
    if held.moved_since(context, before.memory, chain):
        return _fill(context, before, report), held.MOVED_SINCE
    if before.state == DeploymentState.UNDEPLOYED:
        return _of_the_gone(context, row, chain, before, report, track)
    after = _learn(context, row, before, report, track, chain)
    rank, to = _leads_to(context, row, before, report, track)
    rule, reason = (row.rule, row.reason) if row else ("vm-stage-reports", "a VM's stage reported the service's state")
    if to is None:
        return after, RuleResult(rule, reason, changed=row is not None and row.note is not None)
    if not track.raises(rank, to):
        return after, _said_again(row, rank, track)
    return _leak(_moved(context, chain, after, to), row), RuleResult(rule, reason, changed=True)


def _said_again(row: DeploymentRow | None, rank: int, track: Track) -> RuleResult:
    """Below what the operation has brought: late. As high, and no mere repeat: noted once more."""
    if row and row.note and rank == track.rank:
        return RuleResult(row.rule, row.reason, changed=True)
    return RuleResult("already-passed", "the same operation has already passed this stage", late=rank < track.rank)


def _of_the_gone(
    context: DecisionContext,
    row: DeploymentRow | None,
    chain: str,
    before: Deployment,
    report: DeploymentReport,
    track: Track,
) -> tuple[Deployment, RuleResult]:
    """Only the operation that removed it may still add to what is known, such as a leak in the VIM."""
    after = before
    if same_operation(context, before, "chain"):
        after = _leak(_learn(context, row, before, report, track, chain), row)
    news = after.vim_leak_suspected != before.vim_leak_suspected
    return after, RuleResult(
        "deployment-gone", "the deployment is gone; this tells of an earlier time", changed=news, late=not news
    )


def _leads_to(
    context: DecisionContext, row: DeploymentRow | None, before: Deployment, report: DeploymentReport, track: Track
) -> tuple[int, str | None]:
    if row is None:
        return _by_vm_stage(context, before, report, track)
    reported = None if report.state in tables.NEVER_FROM_A_REPORT else report.state
    if row.to == tables.FAILS_FIRST_DEPLOY:
        return row.rank, DeploymentState.ERROR if track.fresh else reported
    return row.rank, reported if row.to == tables.AS_REPORTED else row.to


def _by_vm_stage(
    context: DecisionContext, before: Deployment, report: DeploymentReport, track: Track
) -> tuple[int, str | None]:
    """A VM's stage moves the service only to where its own stages do not lead."""
    n = context.notification
    if n.family is not Family.DEPLOYMENT:
        return 0, None
    if report.state and report.state in tables.REPORTED_BY_VM_STAGE:
        return tables.REPORTED_BY_VM_STAGE[report.state], report.state
    begins = track.fresh and before.state in tables.NOT_YET_CREATED and n.trigger in tables.DEPLOY_STAGES
    if begins and report.state is None:
        return tables.DEPLOYING_UNREPORTED_RANK, DeploymentState.DEPLOYING
    return 0, None


def _track(context: DecisionContext, chain: str, deployment: Deployment) -> tuple[str, Track]:
    transaction, key = context.operation[1], context.key(chain)
    written = deployment.memory.get("tracks", {}).get(key)
    track = memory.load(written) if written else None
    if track and not transaction:
        over = deployment.memory.get("chain") != key or context.now - track.touched > context.windows.reorder_window_s
        track = None if over else track
    if track is None:
        fresh = deployment.state in tables.NEVER_ACTIVE and not deployment.memory.get("was_up")
        track = Track(began=context.now, touched=context.now, fresh=fresh)
    track.touched = max(track.touched, context.now)
    return key, track


def _moved(context: DecisionContext, chain: str, deployment: Deployment, to: str) -> Deployment:
    kept = context.moved(deployment.memory, chain)
    if to in (DeploymentState.ACTIVE, DeploymentState.STOPPED):
        kept["was_up"] = True
    return deployment._replace(state=to, memory=kept)


def _facts(report: DeploymentReport) -> dict[str, Any]:
    return {
        "external_deployment_id": report.external_id, "deployment_name": report.name,
        "tenant": report.internal_tenant_id, "external_tenant_id": report.external_tenant_id,
        "reported_state": report.raw_state, "extra": dict(report.extra) or None,
    }  # fmt: skip


def _learn(
    context: DecisionContext,
    row: DeploymentRow | None,
    deployment: Deployment,
    report: DeploymentReport,
    track: Track,
    chain: str,
) -> Deployment:
    if held.told_since(context, deployment.memory, chain):
        return _fill(context, deployment, report)
    told = _facts(report)
    if deployment.external_deployment_id is not None:
        del told["external_deployment_id"]
    rank = row.rank if row else tables.REPORTED_BY_VM_STAGE.get(report.state or "", 1)
    new = {name: value for name, value in told.items() if track.tells(name, rank, value, getattr(deployment, name))}
    if "external_deployment_id" in new:
        new["memory"] = {**deployment.memory, "named_by": context.operation[1]}
    if row:
        new |= _last_operation(context, row, deployment, track)
    return deployment._replace(**new) if new else deployment


def _last_operation(
    context: DecisionContext, row: DeploymentRow, deployment: Deployment, track: Track
) -> dict[str, Any]:
    n = context.notification
    value = {
        "name": n.trigger,
        "transaction_id": n.transaction_id,
        "outcome": "failed" if context.failed else "succeeded",
    }
    return (
        {"last_operation": value} if track.tells("last_operation", row.rank, value, deployment.last_operation) else {}
    )


def _fill(context: DecisionContext, deployment: Deployment, report: DeploymentReport) -> Deployment:
    if context.again:
        return deployment
    missing = {n: v for n, v in _facts(report).items() if v is not None and not getattr(deployment, n)}
    return deployment._replace(**missing) if missing else deployment


def _leak(deployment: Deployment, row: DeploymentRow | None) -> Deployment:
    return deployment._replace(vim_leak_suspected=True) if row and row.leak else deployment


def _timed(context: DecisionContext, before: Deployment, after: Deployment) -> Deployment:
    if after.state == before.state:
        return after
    at = context.notification.received_at
    return after._replace(changed_at=at, ended_at=at if after.state == DeploymentState.UNDEPLOYED else None)
