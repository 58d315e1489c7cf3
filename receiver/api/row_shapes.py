"""Rows of PostgreSQL as the query API shows them: the columns that are read, and the items made of them.

Entities look as on the feed and in the KV bucket (`events.cloudevents.item`). This file must not know the requests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, get_type_hints
from uuid import UUID

import asyncpg
import orjson

from receiver.api.position import Position
from receiver.model.entities import Deployment, EntityKind, Operation, Resource, Transition, Vm
from receiver.model.notification import Channel, Family, Outcome
from receiver.postgres.statements import statements

TRANSITION_TYPES: Mapping[str, Any] = get_type_hints(Transition) | {
    "entity": EntityKind,
    "sequence": {"type": "integer", "minimum": 1},
}
"""The columns of a ledger entry that are shown as they are, with their types (`answer_schemas.schema_of`)."""
CALLBACK_TYPES: Mapping[str, Any] = {
    "receipt": UUID, "received_at": datetime, "source": str, "channel": Channel, "remote": str | None,
    "ref": str | None, "redacted": bool, "transaction_id": str | None, "status_code": int | None,
    "status_message": str | None, "family": Family, "trigger": str | None, "deployment": str | None,
    "vm_name": str | None, "outcome": Outcome, "rule": str, "reason": str, "notes": list[str],
    "acknowledged_at": datetime | None, "acknowledged_by": str | None, "acknowledged_note": str | None,
}  # fmt: skip
"""Likewise of a callback."""


def _entity_columns(kind: type[Any]) -> str:
    """All columns in the order of the tuple's fields; the private `memory` is not read."""
    return ", ".join("'{}'::json AS memory" if name == "memory" else name for name in kind._fields)


COLUMNS: Mapping[str, str] = {
    "operation": _entity_columns(Operation),
    "deployment": _entity_columns(Deployment),
    "vm": _entity_columns(Vm),
    "resource": _entity_columns(Resource),
    "transition": ", ".join(TRANSITION_TYPES) + ", xid, position",
    "callback": ", ".join(CALLBACK_TYPES) + ", octet_length(body) AS body_bytes, xid, position",
}
ROW_TYPES: Mapping[str, tuple[str, ...]] = {
    "operation_row": Operation._fields,
    "ledger_row": (*TRANSITION_TYPES, "xid", "position"),
}
"""The columns of types that PostgreSQL brings rows of one table in beside those of another (migration 0008)."""


def sql() -> dict[str, str]:
    """The statements of `api.sql` by name."""
    return statements("api/api.sql", {**{name: (columns,) for name, columns in COLUMNS.items()}, **ROW_TYPES})


def to_json(document: Any) -> bytes:
    """Times in UTC; UUIDs, which the driver brings as a type of its own, as text."""
    return orjson.dumps(document, default=str, option=orjson.OPT_UTC_Z)


def transition_item(row: asyncpg.Record) -> dict[str, Any]:
    """A ledger entry."""
    return {**{name: row[name] for name in TRANSITION_TYPES}, "position": str(position_of(row))}


def callback_item(row: asyncpg.Record) -> dict[str, Any]:
    """A callback without its headers and body."""
    return {**{name: row[name] for name in (*CALLBACK_TYPES, "body_bytes")}, "position": str(position_of(row))}


def received_bytes(headers: Iterable[Sequence[str]]) -> int | None:
    """How many bytes the body had by its header, which the server has held to; None for one sent in chunks."""
    told = next((value.strip() for name, value in headers if name.lower() == "content-length"), "")
    return int(told) if re.fullmatch("[0-9]{1,18}", told, re.ASCII) else None


def incarnation_items(rows: Iterable[asyncpg.Record], instances: Sequence[asyncpg.Record]) -> list[dict[str, Any]]:
    """The incarnations of a VM, each with the instance ids it had."""
    names = ("vm_uuid", "valid_from", "valid_to")
    return [
        {**row, "instances": [{name: one[name] for name in names} for one in instances if one["vm_id"] == row["id"]]}
        for row in rows
    ]


def position_of(row: asyncpg.Record) -> Position:
    """Where the row stands in the order of visibility."""
    return Position(row["xid"], row["position"])
