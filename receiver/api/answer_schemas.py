"""The shapes of answers as JSON Schema, for the OpenAPI document. Items are those of the feed's published schemas."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import orjson

from receiver.api.position import PATTERN
from receiver.model.entities import DeploymentState, EntityKind, OperationState, ResourceState, VmState
from receiver.model.notification import Channel, Family, Outcome

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
WHOLE: Schema = {"type": "integer"}
WHOLE_OR_NULL: Schema = {"type": ["integer", "null"]}
TIME: Schema = {"type": "string", "format": "date-time"}
TIME_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}
UUID_TEXT: Schema = {"type": "string", "format": "uuid"}
UUID_OR_NULL: Schema = {"type": ["string", "null"], "format": "uuid"}
BOOLEAN: Schema = {"type": "boolean"}
POSITION: Schema = {
    "type": "string",
    "pattern": PATTERN,
    "description": "Its place in the order of visibility: a cursor, and the feed's event id.",
}
COUNTS: Schema = {"type": "object", "additionalProperties": WHOLE}


def of(**properties: Schema) -> Schema:
    """An object that has all of these. Others may be added within a version, so they are allowed."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def reference(name: str) -> Schema:
    """A schema by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def list_of(name: str) -> Schema:
    """A page of a list."""
    return of(items={"type": "array", "items": reference(name)}, next=TEXT_OR_NULL)


def _nullable(name: str) -> Schema:
    return {"oneOf": [reference(name), {"type": "null"}]}


def _item(name: str) -> Schema:
    published = orjson.loads(files("receiver").joinpath(f"events/schemas/{name}.json").read_bytes())
    item: Schema = dict(published["properties"]["item"])
    # Only messages are ever cut down to what a broker takes.
    item["properties"] = {key: value for key, value in item["properties"].items() if key != "truncated"}
    item["description"] = f"A {name}, as in the KV bucket and on the feed."
    return item


def _with(base: str, **properties: Schema) -> Schema:
    return {"allOf": [reference(base), of(**properties)]}


_TRANSITION = of(
    id=UUID_TEXT, at=TIME, entity={"enum": list(map(str, EntityKind))}, entity_id=UUID_TEXT, source=TEXT,
    tenant=TEXT_OR_NULL, deployment=TEXT_OR_NULL, incarnation=WHOLE_OR_NULL, name=TEXT,
    sequence={"type": "integer", "minimum": 1}, from_state=TEXT, to_state=TEXT, change=TEXT, trigger=TEXT,
    rule=TEXT, reason=TEXT, receipt=UUID_OR_NULL, operation=TEXT_OR_NULL, ref=TEXT_OR_NULL, position=POSITION,
)  # fmt: skip
_CALLBACK = of(
    receipt=UUID_TEXT, received_at=TIME, source=TEXT, channel={"enum": list(map(str, Channel))}, remote=TEXT_OR_NULL,
    ref=TEXT_OR_NULL, redacted=BOOLEAN, transaction_id=TEXT_OR_NULL, status_code=WHOLE_OR_NULL,
    status_message=TEXT_OR_NULL, family={"enum": list(map(str, Family))}, trigger=TEXT_OR_NULL,
    deployment=TEXT_OR_NULL, vm_name=TEXT_OR_NULL, outcome={"enum": list(map(str, Outcome))}, rule=TEXT, reason=TEXT,
    notes={"type": "array", "items": TEXT}, body_bytes=WHOLE, position=POSITION,
)  # fmt: skip
_MESSAGE = of(trigger=TEXT, state=TEXT_OR_NULL, rule=TEXT, reason=TEXT)
_INSTANCE = of(vm_uuid=TEXT, valid_from=TIME, valid_to=TIME_OR_NULL)
_INCARNATION = of(
    incarnation=WHOLE, id=UUID_TEXT, state=TEXT, first_seen_at=TIME, ended_at=TIME_OR_NULL,
    instances={"type": "array", "items": _INSTANCE},
)  # fmt: skip
_EXPECTED = of(
    messages={"type": "array", "items": _MESSAGE},
    of_the_operation={"type": "array", "items": TEXT, "description": "Messages that would end its operation."},
    by={**TIME_OR_NULL, "description": "When its operation would be overdue; null when none is open."},
    rests={**TEXT_OR_NULL, "description": "Why nothing is expected."},
)
_PUBLISHED = of(
    stream=TEXT, id={**UUID_TEXT, "description": "`Nats-Msg-Id` of the message."},
    published={"type": ["boolean", "null"], "description": "null: the outbox is too long to tell."},
    sequence={**WHOLE_OR_NULL, "description": "Where it stands in the stream; null when the stream does not say."},
    at={**TIME_OR_NULL, "description": "When the stream took it."},
)  # fmt: skip
_EXPLANATION = of(
    words={"type": "array", "items": TEXT, "description": "The whole story for people."},
    vm=reference("Vm"), state=TEXT, since=TIME,
    cause={**_nullable("Transition"), "description": "The ledger entry that brought the state."},
    callback={**_nullable("Callback"), "description": "The callback behind it; null when past its retention."},
    previous={"oneOf": [of(state=TEXT, since=TIME_OR_NULL, rule=TEXT_OR_NULL, reason=TEXT_OR_NULL), {"type": "null"}]},
    operation=_nullable("Operation"), expected=_EXPECTED, published={"oneOf": [_PUBLISHED, {"type": "null"}]},
    history={"type": "array", "items": reference("Transition"), "description": "Its last entries, latest first."},
)  # fmt: skip
_STATS = of(
    at=TIME, counted_max={**WHOLE, "description": "No count goes beyond it."}, deployments=COUNTS, vms=COUNTS,
    operations=COUNTS, resources={"type": "object", "additionalProperties": COUNTS},
    quarantine=of(callbacks_last_day=WHOLE, latest_at=TIME_OR_NULL),
    outbox=of(messages=WHOLE, oldest_at=TIME_OR_NULL), ledger=of(latest_at=TIME_OR_NULL),
)  # fmt: skip
_PROBLEM = {
    "type": "object",
    "description": "A problem document (RFC 9457).",
    "properties": {
        "type": TEXT,
        "title": TEXT,
        "status": WHOLE,
        "detail": TEXT,
        "parameter": {**TEXT, "description": "The parameter at fault."},
        "setting": {**TEXT, "description": "The setting that holds the limit."},
    },
    "required": ["type", "title", "status"],
}


def components() -> dict[str, Schema]:
    """All named schemas."""
    return {
        "Deployment": _item("deployment"),
        "Vm": _item("vm"),
        "Resource": _item("resource"),
        "Operation": _item("operation"),
        "Transition": _TRANSITION,
        "Callback": _CALLBACK,
        "DeploymentWithVms": _with(
            "Deployment", vms={"type": "array", "items": reference("Vm")},
            vms_truncated={**BOOLEAN, "description": "There are more than `query_items_max`; the list of VMs has all."},
        ),
        "VmWithIncarnations": _with(
            "Vm", incarnation=WHOLE_OR_NULL, incarnations={"type": "array", "items": _INCARNATION}
        ),
        "OperationWithProgress": _with(
            "Operation", progress=of(expected=WHOLE, deployed=WHOLE, alive=WHOLE, failed=WHOLE)
        ),
        "CallbackWithHeaders": _with(
            "Callback", headers={"type": "array", "items": {"type": "array", "items": TEXT}}
        ),
        "Explanation": _EXPLANATION,
        "Stats": _STATS,
        "Session": of(open=BOOLEAN, scopes={"type": "array", "items": TEXT}),
        "Token": {**of(token={"type": "string", "minLength": 1, "maxLength": 512}), "additionalProperties": False},
        "Problem": _PROBLEM,
    }  # fmt: skip


STATES: dict[str, list[str]] = {
    "deployment": list(map(str, DeploymentState)),
    "vm": list(map(str, VmState)),
    "resource": list(map(str, ResourceState)),
    "operation": list(map(str, OperationState)),
}
