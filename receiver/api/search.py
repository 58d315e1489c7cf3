"""`GET search`: what has a name or an id that begins with what was typed, of whatever kind, each found by an index.

This file must not know HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from receiver.api.api_errors import NothingFoundError
from receiver.api.read_pool import Reader
from receiver.api.receipts import received_at

INDEXED_CHARACTERS = 64
"""So much of a name is in its index (migration 0012); the rest is compared with what was found there."""
TYPES: Mapping[str, Any] = {
    "kind": {"enum": ["deployment", "vm", "operation", "resource", "callback"]}, "source": str, "name": str,
    "label": str | None, "deployment": str | None, "state": str, "at": datetime, "matched": str, "value": str,
}  # fmt: skip
"""An item's fields, with their types (`answer_schemas.schema_of`)."""


@dataclass(frozen=True, slots=True)
class _Column:
    """A column in which beginnings are looked for, and what is shown of its row."""

    kind: str
    matched: str
    table: str
    name: str
    label: str = "NULL"
    deployment: str = "deployment"
    at: str = "changed_at"

    @property
    def statement(self) -> str:
        """SQL: $1 is the beginning, $2 the limit."""
        whole = f"lower({self.matched})"
        indexed, begins = f"left({whole}, {INDEXED_CHARACTERS})", f"left(lower($1), {INDEXED_CHARACTERS})"
        return (
            f"(SELECT '{self.kind}' AS kind, source, {self.name} AS name, {self.label} AS label, "  # noqa: S608 - of constants
            f"{self.deployment} AS deployment, state, {self.at} AS at, '{self.matched}' AS matched, "
            f"{self.matched} AS value FROM {self.table} "
            f"WHERE {indexed} ~>=~ {begins} AND {indexed} ~<=~ ({begins} || chr(1114111)) "
            f"AND starts_with({whole}, lower($1)) ORDER BY {indexed} USING ~<~ LIMIT $2)"
        )


def _deployment(matched: str) -> _Column:
    name = "internal_deployment_id"
    return _Column("deployment", matched, "deployments", name, "deployment_name", name)


def _operation(matched: str) -> _Column:
    return _Column("operation", matched, "operations", "transaction_id", "kind", at="first_seen_at")


def _resource(matched: str) -> _Column:
    # The kind tells apart what bears the same id.
    return _Column("resource", matched, "resources", "resource_id", "kind")


_INSTANCES = (
    "(SELECT a.vm_uuid, v.source, v.vm_name, v.deployment, v.state, v.changed_at"
    " FROM vm_aliases AS a JOIN vms AS v ON v.id = a.vm_id) AS instances"
)
COLUMNS = (
    _deployment("deployment_name"), _deployment("internal_deployment_id"), _deployment("external_deployment_id"),
    _Column("vm", "vm_name", "vms", "vm_name"), _Column("vm", "vm_uuid", _INSTANCES, "vm_name"),
    _operation("transaction_id"), _operation("ref"),
    _resource("name"), _resource("resource_id"), _resource("external_id"),
)  # fmt: skip
STATEMENT = " UNION ALL ".join(column.statement for column in COLUMNS)


async def search(reader: Reader, beginning: str, limit: int) -> dict[str, Any]:
    """At most `limit` items, those whose value is just what was typed first, and whether there are more."""
    rows = [dict(row) for row in await reader.fetch(STATEMENT, beginning, limit + 1)]
    if callback := await _callback(reader, beginning):
        rows.insert(0, callback)
    rows.sort(key=lambda row: row["value"].lower() != beginning.lower())
    found = list({(row["kind"], row["source"], row["name"], row["deployment"]): row for row in reversed(rows)}.values())
    return {"items": found[: -limit - 1 : -1], "more": len(found) > limit}


async def _callback(reader: Reader, receipt: str) -> dict[str, Any] | None:
    """A callback is found by its whole receipt alone: that tells the partition."""
    try:
        id_ = UUID(receipt)
        row = await reader.row("callback", id_, received_at(id_))
    except (ValueError, NothingFoundError):
        return None
    if row is None:
        return None
    return {
        "kind": "callback", "source": row["source"], "name": str(id_), "label": row["trigger"],
        "deployment": row["deployment"], "state": str(row["outcome"]), "at": row["received_at"], "matched": "receipt",
        "value": str(id_),
    }  # fmt: skip
