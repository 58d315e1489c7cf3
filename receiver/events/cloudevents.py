"""Ledger entries, and callbacks not understood, as CloudEvents: what an outbox row holds (docs/feed.md#headers).

Pure: values in, text out; no clock, no I/O, no settings. This file must not know how a state was decided,
nor how a row is stored or published. Whatever the ids look like, the row can be published: headers and
subjects are plain ASCII (`subjects`), and text that JSON cannot carry is sanitized.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from receiver.events.subjects import SUBJECTS, deployment_key, header_value, token, vm_key
from receiver.model.entities import Deployment, Entity, Operation, Resource, Source, Transition, Vm
from receiver.model.envelope import Envelope
from receiver.model.notification import Family, Notification
from receiver.model.sanitize import sanitize

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}").fullmatch
_NOT_SHOWN = ("memory", "vms")
"""Not in an item: a deployment's VMs have items of their own."""
_alike = lru_cache(maxsize=4096)(header_value)
"""Of values that are the same in many messages."""
_BEFORE_ITEM = b',"item":'
_INTEGER_MAX = 2**63 - 1
_TEXT_MAX = 128
_EMPTIED = ("interfaces", "extra", "attributes", "last_operation")


class OutboxRow(NamedTuple):
    """One message to publish. `headers` and `payload` are JSON text; `kv_ended` lets the key expire.

    A tuple, because one is made for every ledger entry, and a frozen dataclass takes four times as long to make.
    """

    id: UUID
    at: datetime
    subject: str
    headers: str
    payload: str
    kv_key: str | None
    kv_ended: bool


class BucketRow(NamedTuple):
    """What of an outbox row the KV bucket is made from."""

    headers: str
    payload: str
    kv_key: str
    kv_ended: bool


def transition_event(transition: Transition, entity: Entity, traceparent: str | None = None) -> OutboxRow:
    """The message of a ledger entry; `entity` is as it stands after it.

    `traceparent` is W3C's, and passed on when it is well-formed.
    """
    t, path, message_id = transition, _path(transition), str(transition.id)
    headers = {
        "ce-id": message_id,
        "ce-specversion": "1.0",
        "ce-source": _alike(f"/esc/{t.source}"),
        "ce-type": _alike(f"esc.{t.entity}.{t.change}.v1"),
        "ce-subject": header_value(path),
        "ce-time": t.at,
        "ce-sequence": f"{t.sequence:020d}",
        "ce-partitionkey": _alike(f"{t.source}/{_partition(t, path)}"),
        "content-type": "application/json",
        "Nats-Msg-Id": message_id,
    }
    if t.operation or traceparent:
        headers |= _correlation(t.operation, traceparent)
    payload = {
        "id": message_id, "entity": t.entity, "source": t.source, "tenant": t.tenant, "deployment": t.deployment,
        "incarnation": t.incarnation, "name": t.name, "sequence": t.sequence, "change": t.change,
        "from_state": t.from_state, "to_state": t.to_state, "trigger": t.trigger, "rule": t.rule, "reason": t.reason,
        "receipt": str(t.receipt) if t.receipt else None, "operation": t.operation, "ref": t.ref, "at": t.at,
        "item": item(entity),  # last: item_json relies on it
    }  # fmt: skip
    return OutboxRow(
        t.id,
        t.at,
        f"{SUBJECTS}.{t.entity}.{token(t.change)}.{token(t.source)}{_subject_end(t, entity)}",
        _json(headers).decode(),
        _json(payload).decode(),
        _kv_key(entity),
        entity.ended_at is not None,
    )


def bucket_row(entity: Entity) -> BucketRow | None:
    """The entity as it stands, for the bucket alone; None: the bucket does not show it."""
    key = _kv_key(entity)
    if key is None:
        return None
    payload = {"id": str(entity.id), "item": item(entity)}  # last: item_json relies on it
    return BucketRow("", _json(payload).decode(), key, entity.ended_at is not None)


def unclassified_event(notification: Notification, reason: str, rule: str, traceparent: str | None = None) -> OutboxRow:
    """The message of a callback that fits no rule. `traceparent` as with a ledger entry."""
    n = notification
    said = {
        "family": n.family, "root": n.root, "trigger": n.trigger or n.raw_trigger, "status": n.status,
        "status_code": n.status_code, "status_message": n.status_message,
    }  # fmt: skip
    return _callback_event("unclassified", n, said, (rule, reason), traceparent)


def malformed_event(envelope: Envelope, reason: str, rule: str) -> OutboxRow:
    """The message of a callback that could not be read: what its head says, and nothing of its bytes."""
    e = envelope
    said = {
        "family": Family.UNKNOWN, "root": "", "trigger": None, "status": e.status, "status_code": e.status_code,
        "status_message": e.status_message,
    }  # fmt: skip
    return _callback_event("malformed", e, said, (rule, reason), e.traceparent)


def _callback_event(
    change: str,
    of: Notification | Envelope,
    said: Mapping[str, Any],
    ruling: tuple[str, str],
    traceparent: str | None,
) -> OutboxRow:
    """A callback has no ledger entry: the receipt is the id of its message, which has no sequence."""
    path = f"callback/{of.receipt}"
    headers = {
        "ce-id": of.receipt,
        "ce-specversion": "1.0",
        "ce-source": header_value(f"/esc/{of.source}"),
        "ce-type": f"esc.callback.{change}.v1",
        "ce-subject": path,
        "ce-time": of.received_at,
        "ce-partitionkey": header_value(f"{of.source}/{path}"),
        "content-type": "application/json",
        "Nats-Msg-Id": of.receipt,
    }
    rule, reason = ruling
    payload = {
        "id": of.receipt, "entity": "callback", "source": of.source, "change": change, **said, "rule": rule,
        "reason": reason, "receipt": of.receipt, "operation": of.transaction_id, "ref": of.ref, "notes": of.notes,
        "at": of.received_at,
    }  # fmt: skip
    return OutboxRow(
        of.receipt,
        of.received_at,
        f"{SUBJECTS}.callback.{change}.{token(of.source)}",
        _json(headers | _correlation(of.transaction_id, traceparent)).decode(),
        _json(payload).decode(),
        kv_key=None,
        kv_ended=False,
    )


def archived_event(message_id: UUID, at: datetime, database_id: str, told: Mapping[str, Any]) -> OutboxRow:
    """The message of a new segment of the ledger's archive (docs/archive.md#feed): it is about no entity."""
    headers = {
        "ce-id": message_id,
        "ce-specversion": "1.0",
        "ce-source": header_value(f"/ledger/{database_id}"),
        "ce-type": "esc.ledger.archived.v1",
        "ce-subject": "ledger",
        "ce-time": at,
        "ce-partitionkey": "ledger",
        "content-type": "application/json",
        "Nats-Msg-Id": message_id,
    }
    payload = {"id": message_id, "entity": "ledger", "change": "archived", **told, "at": at}
    subject = f"{SUBJECTS}.ledger.archived"
    return OutboxRow(message_id, at, subject, _json(headers).decode(), _json(payload).decode(), None, False)


def _correlation(transaction_id: str | None, traceparent: str | None) -> dict[str, str]:
    """The headers that not every message has."""
    headers = {"ce-correlationid": header_value(transaction_id)} if transaction_id else {}
    if traceparent and _TRACEPARENT(traceparent):
        headers["traceparent"] = traceparent
    return headers


def item(entity: Entity) -> dict[str, Any]:
    """The entity as API lists, feed and KV bucket show it: all its columns but `memory` and `vms`.

    Ids as text: for each UUID orjson would ask a function, which takes longer than all the rest of the item.
    """
    shown = dict(zip(entity._fields, entity, strict=True))
    shown["id"] = str(entity.id)
    if isinstance(entity, Deployment):
        shown["deployment"] = entity.internal_deployment_id  # as other items call it
    if isinstance(entity, Vm):
        shown["deployment_id"] = str(entity.deployment_id)
    if isinstance(entity, Operation):
        shown["inferred"] = "inferred" in entity.memory
    for name in _NOT_SHOWN:
        shown.pop(name, None)
    return shown


def item_json(payload: bytes) -> bytes:
    """The `item` of a payload made here, as it stands there: the value of the KV bucket.

    A slice, because reading 2 kB of JSON to write it again costs more than to publish it. That is safe because
    `item` comes last and only plain values come before it: a quote inside a text is always escaped.
    """
    return payload[payload.index(_BEFORE_ITEM) + len(_BEFORE_ITEM) : -1]


def shortened(payload: bytes, bytes_max: int) -> bytes:
    """`payload` cut down until it has at most `bytes_max`; `truncated` then names what was cut.

    First the item's largest fields are emptied, one by one, then every text is cut to 128 characters. What is left
    is bounded, so 64 KiB are always enough; the whole stays in PostgreSQL.
    """
    event = orjson.loads(payload)
    cut: list[str] = []
    for name in _EMPTIED:
        if event.get("item", {}).get(name):
            event["item"][name] = type(event["item"][name])()
            cut.append(name)
            if len(marked := _marked(event, cut)) <= bytes_max:
                return marked
    cut.append("text")
    return _marked(_texts_mapped(event, lambda text: text[:_TEXT_MAX]), cut)


def _marked(event: dict[str, Any], cut: list[str]) -> bytes:
    whole = {**event, "truncated": cut}
    if "item" in event:
        # Taken out and put back, because item_json relies on its coming last.
        whole["item"] = {**whole.pop("item"), "truncated": cut}
    return _json(whole)


def _path(transition: Transition) -> str:
    """The entity within its source, with its true ids."""
    if transition.entity == "vm":
        return f"vm/{transition.deployment}/{transition.name}"
    return f"{transition.entity}/{transition.name}"


def _partition(transition: Transition, path: str) -> str:
    """What must stay in one partition: a deployment and its VMs go together, all else goes alone.

    Operations and resources may learn their deployment later, so it cannot be their key.
    """
    return f"deployment/{transition.deployment}" if transition.entity in {"vm", "deployment"} else path


def _subject_end(transition: Transition, entity: Entity) -> str:
    """The tokens of the subject after the source, each with the dot before it."""
    match entity:
        case Vm():
            return f".{token(transition.tenant)}.{token(transition.deployment)}.{token(entity.vm_name)}"
        case Deployment():
            return f".{token(transition.tenant)}.{token(entity.internal_deployment_id)}"
        case Resource():
            return f".{token(entity.kind)}.{token(entity.resource_id)}"
        case Operation():
            return f".{token(entity.transaction_id)}"
        case Source():
            return ""


def _kv_key(entity: Entity) -> str | None:
    """None for what the bucket does not show; an older incarnation must not overwrite the current one."""
    match entity:
        case Vm():
            return vm_key(entity.source, entity.deployment, entity.vm_name)
        case Deployment() if entity.current:
            return deployment_key(entity.source, entity.internal_deployment_id)
        case _:
            return None


def _json(value: Any) -> bytes:
    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_UTC_Z)
    except TypeError:  # a lone surrogate, or a number of more than 64 bits
        return orjson.dumps(_texts_mapped(value, sanitize), default=_plain, option=orjson.OPT_UTC_Z)


def _plain(value: Any) -> Any:
    """What orjson does not know: read-only mappings become objects, all else text."""
    return dict(value) if isinstance(value, MappingProxyType) else str(value)


def _texts_mapped(value: Any, change: Callable[[str], str]) -> Any:
    match value:
        case str():
            return change(value)
        case Mapping():
            return {change(str(key)): _texts_mapped(inner, change) for key, inner in value.items()}
        case list() | tuple():
            return [_texts_mapped(inner, change) for inner in value]
        case int() if abs(value) > _INTEGER_MAX:
            return change(str(value))
        case _:
            return value
