"""Deployments, VMs and operations as they were at a moment (`?at=`), by SQL that asks the ledger.

What an entity was then is told by the first of its entries, in their order, that was received later: the state it
came from; without one it is what it is now. So what came before the moment need not be kept any more. What is kept of
the present alone (flags, hosts, interfaces) is left out. Values are parameters; the first is always the moment.
See docs/api.md#time-travel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from receiver.api.entity_lists import DEPLOYMENTS, OPERATIONS, VMS, EntityList
from receiver.api.list_sql import TOTAL_MAX, Conditions, ordered
from receiver.lifecycle.draft import FINAL_STATES
from receiver.lifecycle.operation import ENDED

ROWS_FOR_ONE = 5
"""Looking at a row and into its ledger takes as long as looking at so many rows alone."""
_SEEN = "first_seen_at <= $1"
_LATER = (
    "LEFT JOIN LATERAL (SELECT t.sequence, t.from_state FROM transitions AS t WHERE t.entity_id = e.id AND t.at > $1"
    " ORDER BY t.sequence LIMIT 1) AS later ON true"
)
_MOVED = (
    "SELECT t.at FROM transitions AS t WHERE t.entity_id = e.id AND t.at <= $1"  # noqa: S608 - of constants, as all here
    f" AND t.sequence < coalesce(e.later, {2**62}) AND t.from_state <> t.to_state ORDER BY t.sequence DESC LIMIT 1"
)
_CHANGED_AT = f"CASE WHEN e.later IS NULL THEN e.changed_at ELSE ({_MOVED}) END"
_CURRENT = (
    "NOT EXISTS (SELECT FROM deployments AS n WHERE n.source = {d}.source AND n.incarnation > {d}.incarnation"
    " AND n.internal_deployment_id = {d}.internal_deployment_id AND n.first_seen_at <= $1)"
)
_INSTANCE = (
    "(SELECT a.vm_uuid FROM vm_aliases AS a WHERE a.vm_id = e.id AND a.valid_from <= $1"
    " ORDER BY a.valid_from DESC LIMIT 1)"
)


def _times(changed_at: str, ends: Iterable[str]) -> dict[str, str]:
    """When an item came to its state, also as its end; `moved` is its last move until then."""
    states = ", ".join(f"'{state}'" for state in sorted(ends))
    return {"changed_at": changed_at, "ended_at": f"CASE WHEN e.was IN ({states}) THEN {changed_at} END"}


@dataclass(frozen=True, slots=True)
class PastList:
    """A list of the past: how it differs from the one of the present."""

    now: EntityList
    types: Mapping[str, Any]
    """What is shown of an item, with types."""
    told: Mapping[str, str]
    """What of it is not a column, by name; `e` is the row, with `was`, its state then."""
    current: str = "true"
    """Whether it was of the latest incarnation."""
    then: Mapping[str, str] = field(default_factory=dict)
    """Filters of the present that ask for something else then."""
    was: str = "coalesce(later.from_state, e.state)"
    """Its state then."""


_STATE = {"state": "was IN ({})"}
_CHANGED = {"since": f"({_CHANGED_AT}) >= {{}}", "until": f"({_CHANGED_AT}) < {{}}"}
_IS_CURRENT = {"current": "is_current = {}"}
_OF_ITS_OWN: Mapping[str, Any] = {"state": str, "first_seen_at": datetime}
_TIMES: Mapping[str, Any] = {"changed_at": datetime | None, "ended_at": datetime | None}
_MOVED_AT = "CASE WHEN e.later IS NULL THEN e.changed_at ELSE moved.at END"

PAST_DEPLOYMENTS = PastList(
    DEPLOYMENTS,
    {
        "id": UUID, "source": str, "deployment": str, "internal_deployment_id": str, "incarnation": int,
        "current": bool, **_OF_ITS_OWN, **_TIMES, "external_deployment_id": str | None,
        "deployment_name": str | None, "tenant": str | None, "external_tenant_id": str | None,
    },
    {
        "deployment": "e.internal_deployment_id", "current": "e.is_current", "state": "e.was",
        **_times(_MOVED_AT, FINAL_STATES),
    },
    _CURRENT.format(d="e"), _STATE | _CHANGED | _IS_CURRENT,
)  # fmt: skip
PAST_VMS = PastList(
    VMS,
    {
        "id": UUID, "source": str, "deployment_id": UUID, "deployment": str, "incarnation": int | None,
        "tenant": str | None, "vm_name": str, **_OF_ITS_OWN, **_TIMES, "vm_group": str | None, "vm_uuid": str | None,
    },
    {
        "incarnation": "(SELECT d.incarnation FROM deployments AS d WHERE d.id = e.deployment_id)", "state": "e.was",
        "vm_uuid": _INSTANCE, **_times(_MOVED_AT, FINAL_STATES),
    },
    f"(SELECT {_CURRENT.format(d='d')} FROM deployments AS d WHERE d.id = e.deployment_id)",  # noqa: S608
    _STATE | _CHANGED | _IS_CURRENT,
)  # fmt: skip
PAST_OPERATIONS = PastList(
    OPERATIONS,
    {
        "id": UUID, "source": str, "transaction_id": str, "kind": str, **_OF_ITS_OWN, **_TIMES, "tenant": str | None,
        "deployment": str | None, "ref": str | None,
    },
    {"state": "e.was", **_times("moved.at", ENDED)},
    then=_STATE,
    was="CASE later.from_state WHEN 'UNSEEN' THEN 'OPEN' ELSE coalesce(later.from_state, e.state) END",
)  # fmt: skip


class PastPage:
    """The SQL of one page. It looks through at most so many rows, as a page of the ledger does."""

    def __init__(self, past: PastList, query: Mapping[str, Any], scan_rows_max: int, **columns: Any) -> None:
        """`columns` are values that columns of the rows have."""
        self.limit: int = query["limit"]
        self.newest = past.now.newest_first(query)
        self._past = past
        self._scan_rows_max = max(scan_rows_max // ROWS_FOR_ONE, self.limit + 1)
        self._key = past.now.key_of(newest=self.newest)
        self._order = ordered(self._key, descending=self.newest)
        self._rows = Conditions("$1::timestamptz IS NOT NULL", values=[query["at"]])
        for column, value in columns.items():
            self._rows.add(f"{column} = {{}}", value)
        if self.newest:
            self._rows.texts.append(_SEEN)
        past.now.add_conditions(self._rows, {name: given for name, given in query.items() if name not in past.then})
        self._then = Conditions(values=self._rows.values)
        self._then.filter(past.then, query)

    @property
    def rows(self) -> tuple[str, list[Any]]:
        """The items of the page and, when there are more, the next one: SQL and values."""
        names = ", ".join(f"{self._past.told.get(name, f'e.{name}')} AS {name}" for name in self._past.types)
        chosen = self._chosen(f"ORDER BY {self._order} LIMIT {self.limit + 1}", self._scan_rows_max)
        return (
            f"SELECT {names} FROM ({chosen}) AS e LEFT JOIN LATERAL ({_MOVED}) AS moved ON true "  # noqa: S608
            f"ORDER BY {self._qualified}"
        ), self._then.values

    @property
    def scan_end(self) -> tuple[str, list[Any]]:
        """The last row that may be read for the page; no row when all were read: SQL and values."""
        key = ", ".join(self._key)
        return f"{self._read(1, key)} OFFSET {self._scan_rows_max - 1}", self._rows.values

    @property
    def total(self) -> tuple[str, list[Any]]:
        """How many match, and whether more than were looked through may: SQL and values."""
        if not self._then.texts:
            some = f"SELECT FROM {self._past.now.name}s WHERE {self._rows} AND {_SEEN} LIMIT {TOTAL_MAX + 1}"
            return f"SELECT count(*), false FROM ({some}) AS matching", self._rows.values  # noqa: S608
        most = self._scan_rows_max
        matching = f"SELECT count(*) FROM ({self._chosen('', most)}) AS matching"  # noqa: S608
        looked = f"SELECT count(*) = {most} FROM ({self._read(most, '')}) AS looked"  # noqa: S608
        return f"SELECT ({matching}), ({looked})", self._then.values

    @property
    def _qualified(self) -> str:
        return ordered((f"e.{column}" for column in self._key), descending=self.newest)

    def _read(self, most: int, columns: str = "*") -> str:
        return f"SELECT {columns} FROM {self._past.now.name}s WHERE {self._rows} ORDER BY {self._order} LIMIT {most}"  # noqa: S608

    def _chosen(self, rest: str, most: int) -> str:
        was = (
            f"SELECT e.*, later.sequence AS later, {self._past.was} AS was, {self._past.current} AS is_current "  # noqa: S608
            f"FROM ({self._read(most)}) AS e {_LATER} WHERE {_SEEN}"
        )
        return f"SELECT * FROM ({was}) AS e WHERE {self._then} {rest}"  # noqa: S608
