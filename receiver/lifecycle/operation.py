"""What a message does to its operation: all that shares one ESC transaction id.

Which messages end it depends on what else it said, so an operation remembers the endings it heard
(`memory["closers"]`, by precedence) and how far it is known to reach (`memory["level"]`): the outcome
follows from that set, whatever the order. Must not know the tables of VMs or deployments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from receiver.lifecycle import tables
from receiver.lifecycle.context import DecisionContext, RuleResult
from receiver.model.entities import Operation, OperationState, entity_id
from receiver.model.notification import Family, Notification

ENDED = frozenset({OperationState.SUCCEEDED, OperationState.FAILED, OperationState.CANCELLED})
LEVELS: Mapping[Family, int] = {Family.RESOURCE: 0, Family.VM_EVENT: 1, Family.DEPLOYMENT: 2}
NAMELESS_MAX = 64
RESUMED = RuleResult("operation-resumed", "it was overdue, and a message came after all", changed=True)
REOPENED = RuleResult(
    "operation-reopened", "what had ended it was a part of it: a stage of the service shares its id", changed=True
)
REASONS = {
    OperationState.OPEN: "its first message was received",
    OperationState.SUCCEEDED: "its closing message reports success",
    OperationState.FAILED: "its closing message reports failure",
    OperationState.CANCELLED: "the recovery was cancelled: the VM came back by itself",
}


def unseen(notification: Notification) -> Operation:
    """The operation before its first message."""
    n, transaction = notification, notification.transaction_id or ""
    return Operation(
        id=entity_id("operation", n.source, transaction), source=n.source, transaction_id=transaction, kind="unknown",
        state=OperationState.UNSEEN, first_seen_at=n.received_at, last_seen_at=n.received_at,
    )  # fmt: skip


def apply(context: DecisionContext, before: Operation, *, was_up: bool, counted: str) -> tuple[Operation, RuleResult]:
    """The operation after the message, and why it stands so.

    `was_up`: its deployment had been up when it began. `counted`: what it now knows of one more VM (`_COUNTS`).
    """
    n = context.notification
    kept = _heard(context, before, was_up)
    state = _state(before, n, kept)
    after = before._replace(
        state=state, kind=kept["kind"][1], memory=kept, revised=_revised(kept, state),
        first_seen_at=min(before.first_seen_at, n.received_at), last_seen_at=max(before.last_seen_at, n.received_at),
        **_told(before, n), **_counted(before, counted),
    )  # fmt: skip
    after = _ended(context, before, _status(context, after))
    return after, _verdict(before, state)


def nameless_failure(context: DecisionContext, operation: Operation) -> tuple[Operation, bool]:
    """Count a failed VM that the message does not name; False for a repeat."""
    heard = operation.memory.get("nameless", [])
    if context.notification.fingerprint in heard:
        return operation, False
    kept = {**operation.memory, "nameless": [*heard, context.notification.fingerprint][-NAMELESS_MAX:]}
    return operation._replace(memory=kept), True


def _heard(context: DecisionContext, operation: Operation, was_up: bool) -> dict[str, Any]:
    n, kept = context.notification, dict(operation.memory)
    kept["level"] = max(kept.get("level", 0), _level(n))
    kept["kind"] = max(kept.get("kind", [0, "unknown"]), list(_kind(n, was_up)))
    closer = _closer(context)
    if closer:
        own = n.trigger in tables.OWN_WORKFLOW
        kept["closers"] = sorted({*map(tuple, kept.get("closers", [])), (*closer, own)})
    return kept


def _level(n: Notification) -> int:
    """A network or subnet that names a deployment is a step of that deployment's operation."""
    inside = n.resource is not None and n.resource.internal_deployment_id is not None
    return LEVELS[Family.DEPLOYMENT] if inside else LEVELS.get(n.family, 0)


def _kind(n: Notification, was_up: bool) -> tuple[int, str]:
    if n.family is Family.RESOURCE:
        return 1, (n.trigger or "unknown").lower()
    kinds = tables.KINDS_WHEN_UP if was_up and n.trigger in tables.KINDS_WHEN_UP else tables.KINDS
    return kinds.get(n.trigger or "", (0, "unknown"))


def _closer(context: DecisionContext) -> tuple[int, str] | None:
    n, failed = context.notification, context.failed
    outcome = OperationState.FAILED if failed else OperationState.SUCCEEDED
    if n.family is Family.RESOURCE:
        return tables.RESOURCE_RANKS[failed], outcome
    if n.trigger in tables.CLOSERS_AS_EVENT and n.family is Family.VM_EVENT:
        return tables.EVENT_RANKS[failed], outcome
    return tables.CLOSERS.get((n.trigger or "", failed))


def _counting(kept: dict[str, Any]) -> list[tuple[int, str]]:
    """The endings that count: inside a service's operation neither resources nor ESC's own workflows end it."""
    level = kept["level"]
    return [
        (rank, outcome) for rank, outcome, own in kept.get("closers", [])
        if (rank > max(tables.RESOURCE_RANKS) or level == 0) and not (own and level == LEVELS[Family.DEPLOYMENT])
    ]  # fmt: skip


def _state(before: Operation, n: Notification, kept: dict[str, Any]) -> str:
    """An overdue operation is open again when it is heard of again (`overdue`); what arrived earlier is no sign."""
    counting = _counting(kept)
    if counting:
        return max(counting)[1]
    silent = before.state == OperationState.OVERDUE and n.received_at <= before.last_seen_at
    return OperationState.OVERDUE if silent else OperationState.OPEN


def _verdict(before: Operation, state: str) -> RuleResult:
    if state == OperationState.OPEN and before.state == OperationState.OVERDUE:
        return RESUMED
    if state == OperationState.OPEN and before.state in ENDED:
        return REOPENED
    rule = "operation-opened" if state == OperationState.OPEN else f"operation-{state.lower()}"
    return RuleResult(rule, REASONS.get(OperationState(state), "it goes on"), changed=state != before.state)


def _revised(kept: dict[str, Any], state: str) -> bool:
    """More than one outcome was heard."""
    return state in ENDED and len({outcome for _, outcome in _counting(kept)}) > 1


def _told(operation: Operation, n: Notification) -> dict[str, Any]:
    """Of several tenants, deployments or references under one id, the greatest is shown: any order agrees."""
    deployment = n.deployment.internal_id if n.deployment else n.resource.internal_deployment_id if n.resource else None
    tenant = n.deployment.internal_tenant_id if n.deployment else n.resource.internal_tenant_id if n.resource else None
    said = {"tenant": tenant, "deployment": deployment, "ref": n.ref}
    return {name: max(value, getattr(operation, name) or "") for name, value in said.items() if value}


_COUNTS: Mapping[str, str] = {"s": "vms_seen", "d": "vms_deployed", "a": "vms_alive", "f": "vms_failed"}


def _counted(operation: Operation, counted: str) -> dict[str, Any]:
    return {_COUNTS[letter]: getattr(operation, _COUNTS[letter]) + 1 for letter in counted}


def _status(context: DecisionContext, operation: Operation) -> Operation:
    """Code and text of the message that weighs most: the highest ending, else the latest failure."""
    n = context.notification
    closer = _closer(context)
    weight = [closer[0] if closer else int(context.failed), n.status_message or "", n.status_code or 0]
    if weight < operation.memory.get("status", [0, "", 0]):
        return operation
    kept = {**operation.memory, "status": weight}
    return operation._replace(memory=kept, status_code=n.status_code, status_message=n.status_message)


def _ended(context: DecisionContext, before: Operation, after: Operation) -> Operation:
    """An ending that was not the operation's own (a recovery under a deploy's id) is taken back when a
    service's stage shows whose the id is; an ending that counts stays."""
    if after.state not in ENDED:
        return after._replace(ended_at=None) if before.ended_at else after
    return after if before.ended_at else after._replace(ended_at=context.notification.received_at)
