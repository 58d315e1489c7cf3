"""Rows of PostgreSQL as the query API shows them: which columns are read, and what becomes of them.

Entities are shown by `event.item`, as on the feed and in the KV bucket; their `memory` is never read. This file must
not know what is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import asyncpg
import orjson

from receiver.api.position import Position
from receiver.events.cloudevents import item
from receiver.model.entities import Deployment, Operation, Resource, Transition, Vm
from receiver.postgres.statements import statements

E = TypeVar("E", Operation, Deployment, Vm, Resource)

CALLBACK = (
    "receipt", "received_at", "source", "channel", "remote", "ref", "redacted", "transaction_id", "status_code",
    "status_message", "family", "trigger", "deployment", "vm_name", "outcome", "rule", "reason", "notes",
)  # fmt: skip
"""Columns of a callback that are shown as they are."""


def entity_columns(kind: type[E]) -> str:
    """The columns of an entity, by position; the one that is never shown is not read."""
    return ", ".join("'{}'::json AS memory" if name == "memory" else name for name in kind._fields)


COLUMNS: Mapping[str, str] = {
    "operation": entity_columns(Operation),
    "deployment": entity_columns(Deployment),
    "vm": entity_columns(Vm),
    "resource": entity_columns(Resource),
    "transition": ", ".join(Transition._fields),
    "callback": ", ".join(CALLBACK) + ", octet_length(body) AS body_bytes, xid, position",
}


def sql() -> Mapping[str, str]:
    """The statements of `api.sql`, with the columns in place."""
    return {name: _with_columns(text) for name, text in statements("api/api.sql").items()}


def _with_columns(text: str) -> str:
    for name, columns in COLUMNS.items():
        text = text.replace("{" + name + "}", columns)
    return text


def to_json(document: Any) -> bytes:
    """Times in UTC; ids, which the driver brings as a type of its own, as text."""
    return orjson.dumps(document, default=str, option=orjson.OPT_UTC_Z)


def shown(kind: type[E], row: asyncpg.Record) -> dict[str, Any]:
    """An entity's item."""
    return item(kind(*row))


def shown_transition(row: asyncpg.Record) -> dict[str, Any]:
    """A ledger entry, with its place in the order of visibility."""
    return {**{name: row[name] for name in Transition._fields}, "position": str(position_of(row))}


def shown_callback(row: asyncpg.Record) -> dict[str, Any]:
    """A callback without its headers and bytes."""
    return {**{name: row[name] for name in (*CALLBACK, "body_bytes")}, "position": str(position_of(row))}


def shown_incarnations(bearers: Iterable[asyncpg.Record], instances: Sequence[asyncpg.Record]) -> list[dict[str, Any]]:
    """Those that bore a VM's name, each with the instance ids it had."""
    told = ("vm_uuid", "valid_from", "valid_to")
    return [
        {
            **bearer,
            "instances": [{name: one[name] for name in told} for one in instances if one["vm_id"] == bearer["id"]],
        }
        for bearer in bearers
    ]


def position_of(row: asyncpg.Record) -> Position:
    """Where the row stands."""
    return Position(row["xid"], row["position"])
