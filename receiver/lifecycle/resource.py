"""What a message does to a tenant, network, subnet, image, flavor, router … (reference 3.3, design section 6)."""

from __future__ import annotations

from typing import Any

from receiver.entities import Resource, ResourceState, entity_id
from receiver.lifecycle import held, memory
from receiver.lifecycle.current import Moment, Verdict, differs
from receiver.lifecycle.memory import Track
from receiver.notification import ResourceReport

_NOT_CREATED = "it could not be created: delete it before creating it again (A52)"
VERBS = {
    "CREATE": (10, ResourceState.CREATED, "it was created", _NOT_CREATED),
    "UPDATE": (20, ResourceState.UPDATED, "it was updated", "it could not be updated"),
    "ATTACH": (20, ResourceState.UPDATED, "an interface was attached", "an interface could not be attached"),
    "DELETE": (30, ResourceState.DELETED, "it was deleted", "it could not be deleted"),
}
"""By the first word of the event type: rank within one operation, state, why, and why when it failed.
A failure ranks just above the success it contradicts."""


def unseen(moment: Moment, report: ResourceReport) -> Resource:
    """The resource before its first message."""
    n = moment.notification
    return Resource(
        id=entity_id("resource", n.source, report.kind, report.id),
        source=n.source, kind=report.kind, resource_id=report.id,
        state=ResourceState.UNSEEN, first_seen_at=n.received_at, changed_at=n.received_at,
    )  # fmt: skip


def apply(moment: Moment, before: Resource, report: ResourceReport) -> tuple[Resource, Verdict]:
    """The resource after the message, and why."""
    key, track = _track(moment, before)
    if passed := held.passed_over(moment, before, moment.notification.trigger or ""):
        return before, passed
    repeated = track.heard(moment.notification.fingerprint, moment.now, moment.windows)
    after, verdict = _judge(moment, before, report, track)
    if repeated and not differs(before, after):
        verdict = Verdict("duplicate", "the same message was received before, and nothing new came of it")
    kept = memory.remember(after.memory, key, track, moment.windows, after.memory.get("chain"))
    return after._replace(memory=kept), verdict


def _judge(moment: Moment, before: Resource, report: ResourceReport, track: Track) -> tuple[Resource, Verdict]:
    if memory.is_older(moment.operation, before.memory.get("mover")):
        return before, Verdict("newer-operation", "an operation that began later has moved it since", late=True)
    trigger = moment.notification.trigger or ""
    if held.moved_since(moment, before.memory, trigger):
        return before, held.MOVED_SINCE
    verb = trigger.partition("_")[0]
    rank, to, done, failed = VERBS[verb]
    after = before if held.told_since(moment, before.memory, trigger) else _learn(before, report, track, rank)
    if not track.raises(rank + moment.failed, ResourceState.ERROR if moment.failed else to):
        return after, Verdict("already-passed", "the same operation has already passed this", late=rank < track.rank)
    rule = f"resource-{verb.lower()}-failed" if moment.failed else f"resource-{to.lower()}"
    return _moved(moment, after, track.to), Verdict(rule, failed if moment.failed else done, changed=True)


def _track(moment: Moment, resource: Resource) -> tuple[str, Track]:
    """Without a transaction id each new event is a chain of its own: arrival decides."""
    key = moment.key(moment.notification.trigger or "")
    written = resource.memory.get("tracks", {}).get(key)
    track = memory.load(written) if written else None
    if track is None or (not moment.operation[1] and resource.memory.get("chain") != key):
        track = Track(began=moment.now, touched=moment.now)
    track.touched = max(track.touched, moment.now)
    return key, track


def _learn(resource: Resource, report: ResourceReport, track: Track, rank: int) -> Resource:
    told: dict[str, Any] = {
        "external_id": report.external_id, "name": report.name, "tenant": report.internal_tenant_id,
        "deployment": report.internal_deployment_id, "attributes": dict(report.attributes) or None,
    }  # fmt: skip
    new = {name: value for name, value in told.items() if track.tells(name, rank, value, getattr(resource, name))}
    return resource._replace(**new) if new else resource


def _moved(moment: Moment, resource: Resource, to: str) -> Resource:
    at = moment.notification.received_at
    kept = moment.moved(resource.memory, moment.notification.trigger or "")
    ended = at if to == ResourceState.DELETED else None
    return resource._replace(state=to, memory=kept, changed_at=at, ended_at=ended)
