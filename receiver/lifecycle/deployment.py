"""What a message does to its deployment. Applies `tables.DEPLOYMENT`; must not know the tables of VMs or operations."""

from __future__ import annotations

from typing import Any

from receiver.entities import Deployment, DeploymentState, entity_id
from receiver.lifecycle import held, memory, tables
from receiver.lifecycle.current import Moment, Verdict, differs
from receiver.lifecycle.memory import Track
from receiver.lifecycle.tables import DeploymentRow
from receiver.notification import DeploymentReport, Family

FORMER = Verdict("former-incarnation", "this tells of an earlier deployment of the same id, which is gone", late=True)
FORMER_MAX = 16
"""External ids of earlier incarnations that are remembered."""


def identify(moment: Moment, current: Deployment | None, report: DeploymentReport) -> tuple[Deployment, bool]:
    """The incarnation the message belongs to, and whether it tells of one that is gone (reference 6.2, 6.3)."""
    external = report.external_id
    if current is None:
        return _unseen(moment, report, 1, []), False
    if held.before_its_time(moment, current, external):
        return current, True
    if external is None or current.external_deployment_id in (None, external):
        return current, False
    if external in current.memory.get("former", []):
        return current, True
    of_it = same_operation(moment, current, "chain") or held.begins_nothing(moment, current)
    if current.state == DeploymentState.UNDEPLOYED and not of_it:
        former = [*current.memory.get("former", []), current.external_deployment_id][-FORMER_MAX:]
        return _unseen(moment, report, current.incarnation + 1, former), False
    return _conflicting(moment, current, external), False


def same_operation(moment: Moment, deployment: Deployment, what: str) -> bool:
    """Whether this message's operation is the one remembered under `what`: `chain` moved it, `named_by` gave its id."""
    return bool(moment.operation[1]) and deployment.memory.get(what) == moment.operation[1]


def _conflicting(moment: Moment, current: Deployment, external: str) -> Deployment:
    """One live deployment under two ids is noted, not split. Within the operation that told the first, the
    smaller id is taken for the true one, so that order does not matter."""
    if moment.again:
        return current
    known = current.external_deployment_id or external
    if same_operation(moment, current, "named_by") and external < known:
        known, external = external, known
    return current._replace(
        external_deployment_id=known,
        conflicting_external_id=max(external, current.conflicting_external_id or ""),
    )


def _unseen(moment: Moment, report: DeploymentReport, incarnation: int, former: list[str]) -> Deployment:
    n = moment.notification
    return Deployment(
        id=entity_id("deployment", n.source, report.internal_id, incarnation), source=n.source,
        internal_deployment_id=report.internal_id, incarnation=incarnation, current=True,
        state=DeploymentState.UNSEEN, first_seen_at=n.received_at, changed_at=n.received_at,
        memory={"former": former} if former else {},
    )  # fmt: skip


def apply(moment: Moment, before: Deployment, report: DeploymentReport) -> tuple[Deployment, Verdict, Track]:
    """The deployment after the message, why, and the marks its operation has now left on it."""
    n = moment.notification
    row = tables.DEPLOYMENT.get((n.trigger or "", moment.failed))
    chain = row.chain if row else "up"
    key, track = _track(moment, chain, before)
    if passed := held.passed_over(moment, before, chain):
        return before, passed, track
    repeated = track.heard(n.fingerprint, moment.now, moment.windows)
    after, verdict = _judge(moment, row, chain, before, report, track)
    after = _timed(moment, before, after)
    if repeated and not differs(before, after):
        verdict = Verdict("duplicate", "the same message was received before, and nothing new came of it")
    kept = memory.remember(after.memory, key, track, moment.windows, after.memory.get("chain"))
    return after._replace(memory=kept), verdict, track


def _judge(
    moment: Moment, row: DeploymentRow | None, chain: str, before: Deployment, report: DeploymentReport, track: Track
) -> tuple[Deployment, Verdict]:
    exempt = row.exempt if row else moment.notification.family is Family.VM_EVENT
    if not exempt and memory.is_older(moment.operation, before.memory.get("mover")):
        return _fill(moment, before, report), Verdict(
            "newer-operation", "an operation that began later has moved the deployment since", late=True
        )
    if held.moved_since(moment, before.memory, chain):
        return _fill(moment, before, report), held.MOVED_SINCE
    if before.state == DeploymentState.UNDEPLOYED:
        return _of_the_gone(moment, row, chain, before, report, track)
    after = _learn(moment, row, before, report, track, chain)
    rank, to = _leads_to(moment, row, before, report, track)
    rule, reason = (row.rule, row.reason) if row else ("vm-stage-reports", "a VM's stage reported the service's state")
    if to is None:
        return after, Verdict(rule, reason, changed=row is not None and row.note is not None)
    if not track.raises(rank, to):
        return after, _said_again(row, rank, track)
    return _leak(_moved(moment, chain, after, to), row), Verdict(rule, reason, changed=True)


def _said_again(row: DeploymentRow | None, rank: int, track: Track) -> Verdict:
    """Below what the operation has brought: late. As high, and no mere repeat: noted once more."""
    if row and row.note and rank == track.rank:
        return Verdict(row.rule, row.reason, changed=True)
    return Verdict("already-passed", "the same operation has already passed this stage", late=rank < track.rank)


def _of_the_gone(
    moment: Moment, row: DeploymentRow | None, chain: str, before: Deployment, report: DeploymentReport, track: Track
) -> tuple[Deployment, Verdict]:
    """Only the operation that removed it may still add to what is known, such as a leak in the VIM."""
    after = before
    if same_operation(moment, before, "chain"):
        after = _leak(_learn(moment, row, before, report, track, chain), row)
    news = after.vim_leak_suspected != before.vim_leak_suspected
    return after, Verdict(
        "deployment-gone", "the deployment is gone; this tells of an earlier time", changed=news, late=not news
    )


def _leads_to(
    moment: Moment, row: DeploymentRow | None, before: Deployment, report: DeploymentReport, track: Track
) -> tuple[int, str | None]:
    if row is None:
        return _by_vm_stage(moment, before, report, track)
    reported = None if report.state in tables.NEVER_FROM_A_REPORT else report.state
    if row.to == tables.FAILS_FIRST_DEPLOY:
        return row.rank, DeploymentState.ERROR if track.fresh else reported
    return row.rank, reported if row.to == tables.AS_REPORTED else row.to


def _by_vm_stage(moment: Moment, before: Deployment, report: DeploymentReport, track: Track) -> tuple[int, str | None]:
    """A VM's stage moves the service only to where its own stages do not lead."""
    n = moment.notification
    if n.family is not Family.DEPLOYMENT:
        return 0, None
    if report.state and report.state in tables.REPORTED_BY_VM_STAGE:
        return tables.REPORTED_BY_VM_STAGE[report.state], report.state
    begins = track.fresh and before.state in tables.NOT_YET_CREATED and n.trigger in tables.DEPLOY_STAGES
    if begins and report.state is None:
        return tables.DEPLOYING_UNREPORTED_RANK, DeploymentState.DEPLOYING
    return 0, None


def _track(moment: Moment, chain: str, deployment: Deployment) -> tuple[str, Track]:
    transaction, key = moment.operation[1], moment.key(chain)
    written = deployment.memory.get("tracks", {}).get(key)
    track = memory.load(written) if written else None
    if track and not transaction:
        over = deployment.memory.get("chain") != key or moment.now - track.touched > moment.windows.reorder_window_s
        track = None if over else track
    if track is None:
        fresh = deployment.state in tables.NEVER_ACTIVE and not deployment.memory.get("was_up")
        track = Track(began=moment.now, touched=moment.now, fresh=fresh)
    track.touched = max(track.touched, moment.now)
    return key, track


def _moved(moment: Moment, chain: str, deployment: Deployment, to: str) -> Deployment:
    kept = moment.moved(deployment.memory, chain)
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
    moment: Moment,
    row: DeploymentRow | None,
    deployment: Deployment,
    report: DeploymentReport,
    track: Track,
    chain: str,
) -> Deployment:
    if held.told_since(moment, deployment.memory, chain):
        return _fill(moment, deployment, report)
    told = _facts(report)
    if deployment.external_deployment_id is not None:
        del told["external_deployment_id"]
    rank = row.rank if row else tables.REPORTED_BY_VM_STAGE.get(report.state or "", 1)
    new = {name: value for name, value in told.items() if track.tells(name, rank, value, getattr(deployment, name))}
    if "external_deployment_id" in new:
        new["memory"] = {**deployment.memory, "named_by": moment.operation[1]}
    if row:
        new |= _last_operation(moment, row, deployment, track)
    return deployment._replace(**new) if new else deployment


def _last_operation(moment: Moment, row: DeploymentRow, deployment: Deployment, track: Track) -> dict[str, Any]:
    n = moment.notification
    value = {
        "name": n.trigger,
        "transaction_id": n.transaction_id,
        "outcome": "failed" if moment.failed else "succeeded",
    }
    return (
        {"last_operation": value} if track.tells("last_operation", row.rank, value, deployment.last_operation) else {}
    )


def _fill(moment: Moment, deployment: Deployment, report: DeploymentReport) -> Deployment:
    if moment.again:
        return deployment
    missing = {n: v for n, v in _facts(report).items() if v is not None and not getattr(deployment, n)}
    return deployment._replace(**missing) if missing else deployment


def _leak(deployment: Deployment, row: DeploymentRow | None) -> Deployment:
    return deployment._replace(vim_leak_suspected=True) if row and row.leak else deployment


def _timed(moment: Moment, before: Deployment, after: Deployment) -> Deployment:
    if after.state == before.state:
        return after
    at = moment.notification.received_at
    return after._replace(changed_at=at, ended_at=at if after.state == DeploymentState.UNDEPLOYED else None)
