"""The answers of the query API as JSON Schema, for the OpenAPI document.

Entities have the schemas published with the feed; ledger entries and callbacks are made of the columns in `row_shapes`.
"""

from __future__ import annotations

from datetime import datetime
from enum import EnumType
from importlib.resources import files
from types import UnionType
from typing import Any, get_args
from uuid import UUID

import orjson
from pydantic import BaseModel

from receiver.api.consumer_list import TYPES as CONSUMER_TYPES
from receiver.api.dead_letter_groups import GROUP_TYPES
from receiver.api.openapi import Schema, array_of, reference
from receiver.api.operation_times import TYPES as TIMES
from receiver.api.past_lists import PAST_DEPLOYMENTS, PAST_OPERATIONS, PAST_VMS
from receiver.api.position import PATTERN
from receiver.api.request_body import Acknowledgement, ReconcileOrder, ReplayOrder, schema_of_body
from receiver.api.row_shapes import CALLBACK_TYPES, TRANSITION_TYPES
from receiver.api.search import TYPES as FOUND_TYPES
from receiver.api.source_list import ELSEWHERE_TYPES
from receiver.api.source_list import TYPES as SOURCE_TYPES
from receiver.api.webhook_desk import SEQUENCE_MAX, WEBHOOK_TYPES
from receiver.model.entities import EntityKind
from receiver.replay.results import Fate

COUNTS: Schema = {"type": "object", "additionalProperties": {"type": "integer"}}
_SIMPLE: dict[Any, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    datetime: {"type": "string", "format": "date-time"},
    UUID: {"type": "string", "format": "uuid"},
    list[str]: {"type": "array", "items": {"type": "string"}},
}


def of(**fields: Any) -> Schema:
    """An object that has all these fields, given by type or by schema. Others may be added within a version."""
    properties = {name: schema_of(field) for name, field in fields.items()}
    return {"type": "object", "properties": properties, "required": list(properties)}


def schema_of(field: Any, description: str | None = None) -> Schema:
    """The schema of a type: one of `_SIMPLE`, such a type or None, or an enumeration. A schema stays what it is."""
    if isinstance(field, dict):
        schema = field
    elif isinstance(field, EnumType):
        schema = {"enum": list(map(str, field))}
    elif isinstance(field, UnionType):
        schema = dict(_SIMPLE[get_args(field)[0]])
        schema["type"] = [schema["type"], "null"]
    else:
        schema = _SIMPLE[field]
    return {**schema, "description": description} if description else schema


def of_model(kind: type[BaseModel]) -> Schema:
    """The schema of a body of which nothing has to be given."""
    schema = kind.model_json_schema()
    for part in (schema, *schema["properties"].values()):
        part.pop("title", None)
    return {name: value for name, value in schema.items() if name != "description"}


def list_of(name: str, total: Any) -> Schema:
    """A page of a list, with the number of items on all pages, of the type `total`, if it was asked for."""
    page = of(items=array_of(reference(name)), next=str | None)
    page["properties"]["total"] = {**schema_of(total, "Only with `total=true`."), "minimum": 0}
    return page


def _or_null(schema: Schema, description: str | None = None) -> Schema:
    return schema_of({"oneOf": [schema, {"type": "null"}]}, description)


def _published(name: str) -> Schema:
    schema: Schema = orjson.loads(files("receiver").joinpath(f"events/schemas/{name}.json").read_bytes())
    item: Schema = schema["properties"]["item"]
    # Only messages are ever cut down to what a broker takes.
    item["properties"].pop("truncated", None)
    item["description"] = f"A {name}, as in the KV bucket and on the feed."
    return item


def _with(base: str, **fields: Any) -> Schema:
    return {"allOf": [reference(base), of(**fields)]}


_POSITION = {
    "type": "string",
    "pattern": PATTERN,
    "description": "Its place in the order of visibility: a cursor, and the feed's event id.",
}
_INSTANCE = of(vm_uuid=str, valid_from=datetime, valid_to=datetime | None)
_INCARNATION = of(
    incarnation=int, id=UUID, state=str, first_seen_at=datetime, ended_at=datetime | None,
    instances=array_of(_INSTANCE),
)  # fmt: skip
_EXPECTED = of(
    messages=array_of(of(trigger=str, state=str | None, rule=str, reason=str)),
    of_the_operation=schema_of(list[str], "Messages that would end its operation."),
    by=schema_of(datetime | None, "When its operation would be overdue; null when none is open."),
    rests=schema_of(str | None, "Why nothing is expected."),
)
_PUBLISHED = of(
    stream=str,
    id=schema_of(UUID, "`Nats-Msg-Id` of the message."),
    published=schema_of(bool | None, "null: the outbox is too long to tell."),
    sequence=schema_of(int | None, "Where it stands in the stream; null when the stream does not say."),
    at=schema_of(datetime | None, "When the stream took it."),
)
_PREVIOUS = of(state=str, since=datetime | None, rule=str | None, reason=str | None)
_EXPLANATION = of(
    words=schema_of(list[str], "The whole story for people."),
    vm=reference("Vm"), state=str, since=datetime,
    cause=_or_null(reference("Transition"), "The ledger entry that brought the state."),
    callback=_or_null(reference("Callback"), "The callback behind it; null when past its retention."),
    event=_or_null(
        {"type": "object", "additionalProperties": {"type": "string"}},
        "What ESC said of the event: the KPI that caused it (`name`, `threshold`, `value`, `details`), its `time`.",
    ),
    previous=_or_null(_PREVIOUS), operation=_or_null(reference("OperationWithTimes")), expected=_EXPECTED,
    published=_or_null(_PUBLISHED), source=_or_null(reference("Source"), "The ESC it belongs to."),
    history=schema_of(array_of(reference("Transition")), "Its last entries, latest first."),
)  # fmt: skip
_STATS = of(
    at=datetime, counted_max=schema_of(int, "No count goes beyond it."), deployments=COUNTS, vms=COUNTS,
    operations=COUNTS, resources={"type": "object", "additionalProperties": COUNTS},
    quarantine=of(
        callbacks_last_day=int, latest_at=datetime | None,
        unacknowledged=schema_of(int, "That nobody has acknowledged, of whatever age."),
    ),
    outbox=of(messages=int, oldest_at=datetime | None), ledger=of(latest_at=datetime | None),
)  # fmt: skip
_REPLAYED = of(
    dry_run=schema_of(bool, "Nothing was changed: this is what would be."), callbacks=int,
    **{fate.value: int for fate in Fate}, entries=schema_of(int, "Ledger entries that were appended."),
    transitions=array_of(
        of(
            receipt=UUID, entity=EntityKind, source=str, tenant=str | None, deployment=str | None, name=str,
            from_state=str, to_state=str, change=str, rule=str, reason=str,
        )
    ),
    results=array_of(of(receipt=UUID, fate=Fate, outcome=str | None, rule=str | None, reason=str | None)),
    truncated=schema_of(bool, "There are more `transitions` or `results` than are shown."),
)  # fmt: skip
_SEQUENCE: Schema = {"type": "integer", "minimum": 1, "maximum": SEQUENCE_MAX}
_WEBHOOK = of(**WEBHOOK_TYPES)
_TRIED = of(
    webhook_id=UUID, delivered=bool, status=int | None, said=schema_of(str, "What it answered, or why it did not."),
    took_s=float,
)  # fmt: skip
_PROBLEM = of(
    type=str, title=str, status=int, detail=str, parameter=schema_of(str, "The parameter at fault."),
    setting=schema_of(str, "The setting that holds the limit."),
    earliest_at=schema_of(datetime, "With 410: the first moment that can be asked for."),
)  # fmt: skip

_SILENCE = {
    "usual_silence_s": schema_of(
        SOURCE_TYPES["usual_silence_s"],
        "99 of 100 looks at this hour of the week found a message no older; null: not learned yet.",
    ),
    "silence_ratio": schema_of(
        SOURCE_TYPES["silence_ratio"], "Its silence, of that; of `silence_usual_s` before it is learned."
    ),
}


def components() -> dict[str, Schema]:
    """All named schemas."""
    return {
        "Deployment": _published("deployment"),
        "Vm": _published("vm"),
        "Resource": _published("resource"),
        "Operation": _published("operation"),
        "Source": of(**{**SOURCE_TYPES, **_SILENCE}),
        "SourceElsewhere": of(**ELSEWHERE_TYPES),
        "Consumer": of(**CONSUMER_TYPES),
        "Found": of(**FOUND_TYPES),
        "Transition": of(**TRANSITION_TYPES, position=_POSITION),
        "Callback": of(**CALLBACK_TYPES, body_bytes=schema_of(int, "Of the body as it is kept."), position=_POSITION),
        "DeploymentWithVms": _with(
            "Deployment", vms=array_of(reference("Vm")),
            vms_truncated=schema_of(bool, "There are more than `query_items_max`; the list of VMs has all."),
        ),
        "VmWithIncarnations": _with("Vm", incarnation=int | None, incarnations=array_of(_INCARNATION)),
        "OperationWithTimes": _with(
            "Operation", usual_s=schema_of(TIMES["usual_s"], "What half of those like it take; null: not learned yet."),
            longest_s=schema_of(TIMES["longest_s"], "What the longest of them took."),
            due_at=schema_of(TIMES["due_at"], "When it is overdue if nothing more is heard; null unless it is open."),
        ),
        "OperationWithProgress": _with(
            "OperationWithTimes", progress=of(expected=int, deployed=int, alive=int, failed=int)
        ),
        "DeploymentThen": of(**PAST_DEPLOYMENTS.types),
        "VmThen": of(**PAST_VMS.types),
        "OperationThen": of(**PAST_OPERATIONS.types),
        "DeploymentWithVmsThen": _with("DeploymentThen", vms=array_of(reference("VmThen")), vms_truncated=bool),
        "CallbackWithHeaders": _with(
            "Callback", headers=array_of(_SIMPLE[list[str]]),
            received_bytes=schema_of(int | None, "Of the body as received; null for one sent in chunks."),
        ),
        "Explanation": _EXPLANATION,
        "Stats": _STATS,
        "StatsThen": of(at=datetime, deployments=COUNTS, vms=COUNTS, operations=COUNTS),
        "DeadLetterGroup": of(**GROUP_TYPES),
        "Acknowledgement": schema_of_body(Acknowledgement),
        "ReplayOrder": schema_of_body(ReplayOrder),
        "Replayed": _REPLAYED,
        "Webhook": _WEBHOOK,
        "WebhookTried": _TRIED,
        "Nothing": {"type": "object", "additionalProperties": False},
        "Resend": {**of(from_sequence=_SEQUENCE), "additionalProperties": False},
        "ReconcileOrder": of_model(ReconcileOrder),
        "Session": of(open=bool, scopes=list[str]),
        "Token": {**of(token={"type": "string", "minLength": 1, "maxLength": 512}), "additionalProperties": False},
        "Problem": {
            "type": "object", "description": "A problem document (RFC 9457).", "properties": _PROBLEM["properties"],
            "required": ["type", "title", "status"],
        },
    }  # fmt: skip
