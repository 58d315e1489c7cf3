"""Lists of what is now: deployments, VMs, resources, operations, paged by a key that does not change.

A cursor is the key of the last item shown, so what changes meanwhile is neither shown twice nor left out. SQL is put
together from the conditions below; values never become part of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID

import asyncpg

from receiver.api.read_pool import Reader
from receiver.api.row_shapes import COLUMNS, shown
from receiver.model.entities import Deployment, Operation, Resource, Vm

Key = tuple[Any, ...]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NEWEST = "n"
"""What a cursor begins with when the newest come first."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A table as a list: its order, and what each filter means."""

    name: str
    kind: type[Any]
    key: tuple[str, ...]
    conditions: Mapping[str, str]
    """By parameter; `$` stands for its value."""

    @property
    def cursor_pattern(self) -> str:
        """What cursors look like."""
        parts = "~".join(_PARTS.get(column, "[^~]{1,2048}") for column in self.key)
        return f"^{parts}$" if self.kind is not Operation else f"^({parts}|{NEWEST}~[0-9]{{1,16}}~{_PARTS['id']})$"


_DEPLOYMENTS_WHERE = "ANY (ARRAY (SELECT d.id FROM deployments AS d WHERE"
_PARTS = {"incarnation": "[0-9]{1,9}", "id": "[0-9a-f]{32}"}

DEPLOYMENTS = Listing(
    "deployment", Deployment, ("source", "internal_deployment_id", "incarnation"),
    {
        "source": "source = $",
        "tenant": "tenant = $",
        "state": "state = $",
        "deployment": "internal_deployment_id = $",
        "current": "current = $",
        "since": "changed_at >= $",
        "until": "changed_at < $",
    },
)  # fmt: skip
VMS = Listing(
    "vm", Vm, ("source", "vm_name", "id"),
    {
        "source": "source = $",
        "tenant": f"deployment_id = {_DEPLOYMENTS_WHERE} d.tenant = $))",
        "state": "state = $",
        "deployment": f"deployment_id = {_DEPLOYMENTS_WHERE} d.internal_deployment_id = $))",
        "vm_name": "vm_name = $",
        "since": "changed_at >= $",
        "until": "changed_at < $",
    },
)  # fmt: skip
RESOURCES = Listing(
    "resource", Resource, ("source", "kind", "resource_id"),
    {
        "source": "source = $",
        "tenant": "tenant = $",
        "state": "state = $",
        "deployment": "deployment = $",
        "kind": "kind = $",
        "since": "changed_at >= $",
        "until": "changed_at < $",
    },
)  # fmt: skip
OPERATIONS = Listing(
    "operation", Operation, ("source", "transaction_id"),
    {
        "source": "source = $",
        "tenant": "tenant = $",
        "state": "state = $",
        "deployment": "deployment = $",
        "kind": "kind = $",
        "since": "first_seen_at >= $",
        "until": "first_seen_at < $",
    },
)  # fmt: skip


async def page(reader: Reader, listing: Listing, asked: Mapping[str, Any]) -> dict[str, Any]:
    """One page: `items`, and the cursor of the `next` one or None."""
    sql, values = statement(listing, asked)
    rows = await reader.rows(sql, *values)
    limit = asked["limit"]
    newest = newest_first(asked)
    return {
        "items": [shown(listing.kind, row) for row in rows[:limit]],
        "next": _cursor(listing, rows[limit - 1], newest=newest) if len(rows) > limit else None,
    }


def statement(listing: Listing, asked: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """The question and its values; one row more than asked for tells whether there is a next page."""
    newest = newest_first(asked)
    order = ("first_seen_at", "id") if newest else listing.key
    values: list[Any] = []
    conditions = [
        _condition(condition, values, asked[name])
        for name, condition in listing.conditions.items()
        if asked.get(name) is not None
    ]
    if asked.get("cursor") is not None:
        after = _key(listing, asked["cursor"], newest=newest)
        marks = ", ".join(f"${len(values) + number}" for number in range(1, len(after) + 1))
        values += after
        conditions.append(f"({', '.join(order)}) {'<' if newest else '>'} ({marks})")
    values.append(asked["limit"] + 1)
    direction = " DESC" if newest else ""
    return (
        f"SELECT {COLUMNS[listing.name]} FROM {listing.name}s "  # noqa: S608 - of constants; values are parameters
        f"WHERE {' AND '.join(conditions) or 'true'} "
        f"ORDER BY {', '.join(column + direction for column in order)} LIMIT ${len(values)}"
    ), values


def newest_first(asked: Mapping[str, Any]) -> bool:
    """Whether the newest come first; a cursor knows best which list it is from."""
    cursor = asked.get("cursor")
    return (
        asked.get("order") == "newest"
        if cursor is None
        else bool(cursor.startswith(f"{NEWEST}~") and cursor.count("~") == 2)
    )


def _condition(condition: str, values: list[Any], value: Any) -> str:
    values.append(value)
    return condition.replace("$", f"${len(values)}")


def _cursor(listing: Listing, row: asyncpg.Record, *, newest: bool) -> str:
    if newest:
        return f"{NEWEST}~{(row['first_seen_at'] - _EPOCH) // timedelta(microseconds=1)}~{row['id'].hex}"
    return "~".join(_written(row[column]) for column in listing.key)


def _written(value: Any) -> str:
    return value.hex if isinstance(value, UUID) else quote(str(value), safe="").replace("~", "%7E")


def _key(listing: Listing, cursor: str, *, newest: bool) -> Sequence[Any]:
    """The key that a cursor holds; its form was looked at when it was read."""
    parts = cursor.split("~")
    if newest:
        return _EPOCH + timedelta(microseconds=int(parts[1])), UUID(parts[2])
    return [_part(column, part) for column, part in zip(listing.key, parts, strict=True)]


def _part(column: str, part: str) -> Any:
    if column == "incarnation":
        return int(part)
    return UUID(part) if column == "id" else unquote(part).replace("\x00", "")
