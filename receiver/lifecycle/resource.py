"""What a message does to a tenant, network, subnet, image, flavor, router … (docs/esc-callbacks.md#3.3,
docs/storage.md#states)."""

from __future__ import annotations

from typing import Any

from receiver.lifecycle import delayed as held
from receiver.lifecycle import ordering_marks as memory
from receiver.lifecycle.context import DecisionContext, RuleResult, differs
from receiver.lifecycle.ordering_marks import Track
from receiver.model.entities import Resource, ResourceState, entity_id
from receiver.model.notification import ResourceReport

_NOT_CREATED = "it could not be created: delete it before creating it again (A52)"
VERBS = {
    "CREATE": (10, ResourceState.CREATED, "it was created", _NOT_CREATED),
    "UPDATE": (20, ResourceState.UPDATED, "it was updated", "it could not be updated"),
    "ATTACH": (20, ResourceState.UPDATED, "an interface was attached", "an interface could not be attached"),
    "DELETE": (30, ResourceState.DELETED, "it was deleted", "it could not be deleted"),
}
"""By the first word of the event type: rank within one operation, state, why, and why when it failed.
A failure ranks just above the success it contradicts."""


def unseen(context: DecisionContext, report: ResourceReport) -> Resource:
    """The resource before its first message."""
    n = context.notification
    return Resource(
        id=entity_id("resource", n.source, report.kind, report.id),
        source=n.source, kind=report.kind, resource_id=report.id,
        state=ResourceState.UNSEEN, first_seen_at=n.received_at, changed_at=n.received_at,
    )  # fmt: skip


def apply(context: DecisionContext, before: Resource, report: ResourceReport) -> tuple[Resource, RuleResult]:
    """The resource after the message, and why."""
    key, track = _track(context, before)
    if passed := held.passed_over(context, before, context.notification.trigger or ""):
        return before, passed
    repeated = track.heard(context.notification.fingerprint, context.now, context.windows)
    after, result = _judge(context, before, report, track)
    if repeated and not differs(before, after):
        result = RuleResult("duplicate", "the same message was received before, and nothing new came of it")
    kept = memory.remember(after.memory, key, track, context.windows, after.memory.get("chain"))
    return after._replace(memory=kept), result


def _judge(
    context: DecisionContext, before: Resource, report: ResourceReport, track: Track
) -> tuple[Resource, RuleResult]:
    if memory.is_older(context.operation, before.memory.get("mover")):
        return before, RuleResult("newer-operation", "an operation that began later has moved it since", late=True)
    trigger = context.notification.trigger or ""
    if held.moved_since(context, before.memory, trigger):
        return before, held.MOVED_SINCE
    verb = trigger.partition("_")[0]
    rank, to, done, failed = VERBS[verb]
    after = before if held.told_since(context, before.memory, trigger) else _learn(before, report, track, rank)
    if not track.raises(rank + context.failed, ResourceState.ERROR if context.failed else to):
        return after, RuleResult("already-passed", "the same operation has already passed this", late=rank < track.rank)
    rule = f"resource-{verb.lower()}-failed" if context.failed else f"resource-{to.lower()}"
    return _moved(context, after, track.to), RuleResult(rule, failed if context.failed else done, changed=True)


def _track(context: DecisionContext, resource: Resource) -> tuple[str, Track]:
    """Without a transaction id each new event is a chain of its own: arrival decides."""
    key = context.key(context.notification.trigger or "")
    written = resource.memory.get("tracks", {}).get(key)
    track = memory.load(written) if written else None
    if track is None or (not context.operation[1] and resource.memory.get("chain") != key):
        track = Track(began=context.now, touched=context.now)
    track.touched = max(track.touched, context.now)
    return key, track


def _learn(resource: Resource, report: ResourceReport, track: Track, rank: int) -> Resource:
    told: dict[str, Any] = {
        "external_id": report.external_id, "name": report.name, "tenant": report.internal_tenant_id,
        "deployment": report.internal_deployment_id, "attributes": dict(report.attributes) or None,
    }  # fmt: skip
    new = {name: value for name, value in told.items() if track.tells(name, rank, value, getattr(resource, name))}
    return resource._replace(**new) if new else resource


def _moved(context: DecisionContext, resource: Resource, to: str) -> Resource:
    at = context.notification.received_at
    kept = context.moved(resource.memory, context.notification.trigger or "")
    ended = at if to == ResourceState.DELETED else None
    return resource._replace(state=to, memory=kept, changed_at=at, ended_at=ended)
