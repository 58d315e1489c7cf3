"""Lists of the current state: deployments, VMs, resources and operations, paged by a key that does not change.

A cursor is the key of the last item shown, so what changes meanwhile is neither shown twice nor left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID

from receiver.api.list_sql import TOTAL_MAX, Conditions, equal, one_of, ordered
from receiver.api.read_pool import Reader
from receiver.api.row_shapes import COLUMNS
from receiver.events.cloudevents import item
from receiver.model.entities import Deployment, Operation, Resource, Vm

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NEWEST_PREFIX = "n~"


@dataclass(frozen=True, slots=True)
class _KeyPart:
    """How a column of a key is written into cursors."""

    pattern: str
    write: Callable[[Any], str]
    read: Callable[[str], Any]


_TEXT = _KeyPart(
    "[^~]{1,2048}",
    lambda text: quote(str(text), safe="").replace("~", "%7E"),
    lambda text: unquote(text).replace("\x00", ""),
)
_TIME = _KeyPart(
    "[0-9]{1,16}",
    lambda at: str((at - _EPOCH) // timedelta(microseconds=1)),
    lambda text: _EPOCH + timedelta(microseconds=int(text)),
)
_KEY_PARTS = {
    "incarnation": _KeyPart("[0-9]{1,9}", str, int),
    "id": _KeyPart("[0-9a-f]{32}", lambda id_: UUID(str(id_)).hex, UUID),
    **dict.fromkeys(("first_seen_at", "changed_at"), _TIME),
}


@dataclass(frozen=True, slots=True)
class EntityList:
    """A table as a list."""

    kind: type[Any]
    key: tuple[str, ...]
    """The columns it is ordered by."""
    conditions: Mapping[str, str]
    """By parameter; `{}` stands for its value."""
    searched: tuple[str, ...]
    """The columns in which `q` is looked for."""
    time: str = "changed_at"
    """The column of the order `newest`."""

    @property
    def name(self) -> str:
        """Of one item."""
        return self.kind.__name__.lower()

    @property
    def cursor_pattern(self) -> str:
        """A regular expression for cursors of this list."""
        return f"^({_cursor_pattern(self.key)}|{_NEWEST_PREFIX}{_cursor_pattern(self._newest_key)})$"

    @property
    def _newest_key(self) -> tuple[str, ...]:
        return (self.time, "id")

    def cursor(self, row: Mapping[str, Any], *, newest: bool = False) -> str:
        """The cursor of the page after `row`."""
        key = self.key_of(newest=newest)
        return _NEWEST_PREFIX * newest + "~".join(_part(column).write(row[column]) for column in key)

    def newest_first(self, query: Mapping[str, Any]) -> bool:
        """Whether the newest come first; a cursor says which order it is from."""
        cursor = query.get("cursor")
        if cursor is None:
            return query.get("order") == "newest"
        return re.fullmatch(_NEWEST_PREFIX + _cursor_pattern(self._newest_key), cursor) is not None

    def statement(self, query: Mapping[str, Any]) -> tuple[str, list[Any]]:
        """The SQL and its values; it reads one row more than the limit, to tell whether there is a next page."""
        newest = self.newest_first(query)
        key = self.key_of(newest=newest)
        where = Conditions()
        self.add_conditions(where, query)
        return (
            f"SELECT {COLUMNS[self.name]} FROM {self.name}s WHERE {where} "  # noqa: S608 - of constants
            f"ORDER BY {ordered(key, descending=newest)} LIMIT ${len(where.values) + 1}"
        ), [*where.values, query["limit"] + 1]

    def count(self, query: Mapping[str, Any]) -> tuple[str, list[Any]]:
        """The SQL and its values that count the items of all pages, up to one more than `TOTAL_MAX`."""
        where = Conditions()
        self._add_filters(where, query)
        some = f"SELECT FROM {self.name}s WHERE {where} LIMIT {TOTAL_MAX + 1}"
        return f"SELECT count(*) FROM ({some}) AS matching", where.values  # noqa: S608 - likewise

    def key_of(self, *, newest: bool) -> tuple[str, ...]:
        """The columns of an order."""
        return self._newest_key if newest else self.key

    def add_conditions(self, where: Conditions, query: Mapping[str, Any]) -> None:
        """What rows must meet that are shown behind the cursor."""
        self._add_filters(where, query)
        if cursor := query.get("cursor"):
            newest = self.newest_first(query)
            key, parts = self.key_of(newest=newest), cursor.removeprefix(_NEWEST_PREFIX * newest).split("~")
            after = [_part(column).read(part) for column, part in zip(key, parts, strict=True)]
            marks = ", ".join("{}" for _ in key)
            where.add(f"({', '.join(key)}) {'<' if newest else '>'} ({marks})", *after)

    def _add_filters(self, where: Conditions, query: Mapping[str, Any]) -> None:
        where.filter(self.conditions, query)
        where.search(self.searched, query)


def _part(column: str) -> _KeyPart:
    return _KEY_PARTS.get(column, _TEXT)


def _cursor_pattern(key: tuple[str, ...]) -> str:
    return "~".join(_part(column).pattern for column in key)


_TENANT_AND_STATE = equal("source", "tenant") | one_of("state")
_CHANGED = {"since": "changed_at >= {}", "until": "changed_at < {}"}
_DEPLOYMENTS = "deployment_id = ANY (ARRAY (SELECT d.id FROM deployments AS d WHERE"

_HAS_REF = "left(lower({table}ref), 64) = left(lower({{0}}), 64) AND {table}ref = {{0}}"
"""The condition of the index `operations_search_ref`, and the whole of it."""
_MOVED_BY_REF = {
    "ref": "id = ANY (ARRAY (SELECT t.entity_id FROM operations AS o"  # noqa: S608 - of constants
    " JOIN transitions AS t ON t.operation = o.transaction_id AND t.source = o.source"
    f" WHERE {_HAS_REF.format(table='o.')}))"
}

DEPLOYMENTS = EntityList(
    Deployment,
    ("source", "internal_deployment_id", "incarnation"),
    _TENANT_AND_STATE | equal("current") | {"deployment": "internal_deployment_id = {}"} | _CHANGED | _MOVED_BY_REF,
    searched=("internal_deployment_id", "external_deployment_id", "deployment_name", "tenant"),
)
VMS = EntityList(
    Vm,
    ("source", "vm_name", "id"),
    equal("source", "vm_name")
    | one_of("state")
    | {
        "tenant": f"{_DEPLOYMENTS} d.tenant = {{}}))",
        "deployment": f"{_DEPLOYMENTS} d.internal_deployment_id = {{}}))",
        "current": "(SELECT d.current FROM deployments AS d WHERE d.id = deployment_id) = {}",
    }
    | _CHANGED
    | _MOVED_BY_REF,
    searched=("vm_name", "vm_uuid", "deployment", "tenant", "vm_group", "host_name", "host_uuid"),
)
RESOURCES = EntityList(
    Resource,
    ("source", "kind", "resource_id"),
    _TENANT_AND_STATE | equal("deployment", "kind", "resource_id") | _CHANGED | _MOVED_BY_REF,
    searched=("resource_id", "external_id", "name", "tenant", "deployment"),
)
OPERATIONS = EntityList(
    Operation,
    ("source", "transaction_id"),
    _TENANT_AND_STATE
    | equal("transaction_id", "deployment", "kind")
    | {"ref": _HAS_REF.format(table="")}
    | {"since": "first_seen_at >= {}", "until": "first_seen_at < {}"},
    searched=("transaction_id", "kind", "deployment", "tenant", "ref"),
    time="first_seen_at",
)


async def page(
    reader: Reader, entities: EntityList, query: Mapping[str, Any], shown: Callable[[Any], dict[str, Any]] = item
) -> dict[str, Any]:
    """One page: `items`, the cursor of the `next` one or None, and if it is asked for the `total` of all pages."""
    sql, values = entities.statement(query)
    rows = await reader.fetch(sql, *values)
    limit = query["limit"]
    last = entities.cursor(rows[limit - 1], newest=entities.newest_first(query)) if len(rows) > limit else None
    answer = {"items": [shown(entities.kind(*row)) for row in rows[:limit]], "next": last}
    if query["total"]:
        sql, values = entities.count(query)
        answer["total"] = (await reader.fetch(sql, *values))[0][0]
    return answer
