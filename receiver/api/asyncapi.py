"""The AsyncAPI 3.0 document of the feed, written from the schemas of its messages, and these schemas themselves.

Within a version of the subjects things may be added, never removed or narrowed: a test compares with
docs/asyncapi.json. This file must not know how an event is made or published.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import orjson

from receiver.events.subjects import SUBJECTS

Document = dict[str, Any]
VERSION = "1.0.0"
"""Its major is that of the subjects, and of the `v…` at the end of every `ce-type`."""
ENTITIES = ("deployment", "vm", "operation", "resource", "source", "callback", "ledger")
_ENDS = {
    "deployment": "{change}.{source}.{tenant}.{deployment}",
    "vm": "{change}.{source}.{tenant}.{deployment}.{vm}",
    "operation": "{change}.{source}.{transaction}",
    "resource": "{change}.{source}.{kind}.{id}",
    "source": "{change}.{source}",
    "callback": "unclassified.{source}",
    "ledger": "archived",
}
_MALFORMED = "malformed"
"""A second channel of the entity `callback`: who listens to the first must not begin to hear of these."""
_TOKENS = {
    "change": "The new state in lower case, or a note: `alive`, `error`, `updated` …",
    "source": "The ESC instance.",
    "tenant": "Internal id of the tenant; `_` when it is not known.",
    "deployment": "Internal id of the deployment.",
    "vm": "`vm_name`.",
    "transaction": "ESC's transaction id.",
    "kind": "What it is: `network`, `tenant` …",
    "id": "Its id within the kind.",
}
_DESCRIPTION = """\
Every change of what Cisco ESC manages, as CloudEvents 1.0 in binary mode on a NATS JetStream stream: complete, in order
for each entity, without duplicates in the stream. Tokens of subjects are percent-encoded with `=` in place of `%`; the
true ids are in the payload. Fields may be added within v1: ignore what you do not know.
"""
_NOT_ALWAYS = {"ce-sequence", "ce-correlationid", "traceparent"}
_HEADERS = {
    "ce-id": "Id of the ledger entry (of a callback: its receipt); the same when it is published again.",
    "ce-specversion": "1.0",
    "ce-source": "The ESC instance: `/esc/lab1`.",
    "ce-type": "`esc.<entity>.<change>.v1`.",
    "ce-subject": "What it is about, by its true ids: `vm/dep-1/vm-1`.",
    "ce-time": "When it was decided.",
    "ce-sequence": "Number of the ledger entry within its entity, 20 digits: 1, 2, 3 … without a gap.",
    "ce-partitionkey": "Events that share it must stay in order.",
    "ce-correlationid": "ESC's transaction id.",
    "traceparent": "W3C trace context of the request that brought it.",
    "content-type": "application/json",
    "Nats-Msg-Id": "As `ce-id`.",
}


def schema_of(entity: str) -> Document:
    """The JSON Schema of an entity's messages, as published."""
    schema: Document = orjson.loads(files("receiver").joinpath(f"events/schemas/{entity}.json").read_bytes())
    return schema


def document() -> Document:
    """The document; it depends on no setting."""
    return {
        "asyncapi": "3.0.0",
        "id": "urn:esc-receiver:feed",
        "info": {
            "title": "esc-receiver feed",
            "version": VERSION,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            **{entity: _channel(entity, _ENDS[entity]) for entity in ENTITIES},
            _MALFORMED: _channel("callback", f"{_MALFORMED}.{{source}}"),
        },
        "operations": {
            **{f"publish-{entity}": _operation(entity, entity) for entity in ENTITIES},
            f"publish-{_MALFORMED}": _operation(_MALFORMED, "callback"),
        },
        "components": {
            "messages": {entity: _message(entity) for entity in ENTITIES},
            "schemas": {entity: _payload(entity) for entity in ENTITIES} | {"headers": _headers()},
        },
    }


def _channel(entity: str, end: str) -> Document:
    address = f"{SUBJECTS}.{entity}.{end}"
    parameters = {name: {"description": text} for name, text in _TOKENS.items() if f"{{{name}}}" in address}
    messages = {entity: {"$ref": f"#/components/messages/{entity}"}}
    return {"address": address, "messages": messages, "parameters": parameters}


def _operation(channel: str, entity: str) -> Document:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": schema_of(entity)["description"],
        "messages": [{"$ref": f"#/channels/{channel}/messages/{entity}"}],
        "bindings": {"nats": {"bindingVersion": "0.1.0"}},
    }


def _message(entity: str) -> Document:
    return {
        "name": entity,
        "title": schema_of(entity)["title"],
        "contentType": "application/json",
        "headers": {"$ref": "#/components/schemas/headers"},
        "payload": {"$ref": f"#/components/schemas/{entity}"},
    }


def _payload(entity: str) -> Document:
    """In AsyncAPI's own dialect, of which ours uses nothing that is not in it."""
    return {name: value for name, value in schema_of(entity).items() if name not in {"$schema", "$id"}}


def _headers() -> Document:
    properties = {name: {"type": "string", "description": text} for name, text in _HEADERS.items()}
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in _HEADERS if name not in _NOT_ALWAYS],
    }
