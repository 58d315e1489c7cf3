"""Lists of what happened: callbacks and ledger entries, paged in the order in which they became visible.

A row is shown once no running transaction can commit anything before it, so whoever follows the cursors misses
nothing and sees nothing twice, whichever receivers write. Filters with an index of their own choose the rows; the
others are applied to at most `query_scan_rows_max` rows a page, so that no request can read a whole table: such a
page may hold few items or none, and still has a `next`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg

from receiver.api.api_errors import StaleCursorError
from receiver.api.list_sql import TOTAL_MAX, Conditions, equal, one_of, ordered
from receiver.api.position import Position
from receiver.api.read_pool import Reader, Snapshot, Statements
from receiver.api.row_shapes import COLUMNS, position_of
from receiver.config.settings import Settings
from receiver.model.notification import Outcome

DEAD_LETTERS = frozenset({Outcome.MALFORMED, Outcome.UNCLASSIFIED})
IN_QUARANTINE = "outcome IN ('malformed', 'unclassified')"
"""The condition of the index `callbacks_in_quarantine`."""
SETTLED = "xid < pg_snapshot_xmin(pg_current_snapshot())"


@dataclass(frozen=True, slots=True)
class Ledger:
    """A table that only grows; `{}` in a filter stands for its value."""

    table: str
    columns: str
    time: str
    indexed: Mapping[str, str]
    """Filters with an index: they choose the rows that are read."""
    filters: Mapping[str, str]
    """Filters that are applied to the rows read."""
    searched: tuple[str, ...]
    """The columns in which `q` is looked for, likewise."""


CALLBACKS = Ledger(
    "looked_at_callbacks",
    COLUMNS["callback"],
    "received_at",
    equal("transaction_id", "deployment"),
    equal("source", "vm_name", "family", "rule", "ref")
    | {
        "reason": "{} IN (reason, reason_without_place(reason))",
        "acknowledged": "(acknowledged_at IS NOT NULL) = {}",
        "tenant": "deployment = ANY (ARRAY (SELECT d.internal_deployment_id FROM deployments AS d"
        " WHERE d.tenant = {}))",
    }
    | one_of("outcome"),
    ("receipt", "transaction_id", "deployment", "vm_name", "family", "trigger", "ref", "rule", "reason", "remote"),
)
TRANSITIONS = Ledger(
    "transitions",
    COLUMNS["transition"],
    "at",
    equal("operation"),
    equal("entity", "source", "tenant", "name", "change", "ref") | {"state": "to_state IN ({})"},
    ("name", "deployment", "tenant", "operation", "reason", "rule", "trigger", "ref"),
)


class LedgerQuery:
    """The SQL of one page."""

    def __init__(self, ledger: Ledger, query: Mapping[str, Any], scan_rows_max: int) -> None:
        self.limit: int = query["limit"]
        self.chosen = Conditions(SETTLED)
        """What rows are read; their values also serve `scan_end`."""
        self.filtered = Conditions()
        """What rows of these are shown."""
        self.newest = query.get("order") == "newest" and not query.get("after")
        self._ledger = ledger
        self._table = ledger.table
        self._order = ordered(("xid", "position"), descending=self.newest)
        self._scan_rows_max = scan_rows_max

    def of_entities(self, ids: list[Any]) -> None:
        """Only the rows of these entities: they are read first, and then put in order."""
        # OFFSET 0 keeps PostgreSQL from walking through all rows in order instead.
        self._table = f"(SELECT * FROM {self._table} WHERE entity_id = ANY ($1::uuid[]) OFFSET 0) AS {self._table}"  # noqa: S608 - of constants
        self.chosen.values.append(ids)

    def after(self, position: Position | None, mark: int | None) -> None:
        """Only what follows a position, and has at least the transaction id `mark`."""
        if position:
            self.chosen.add(f"(xid, position) {'<' if self.newest else '>'} ({{}}::xid8, {{}}::bigint)", *position)
        if mark is not None:
            self.chosen.add("xid >= {}::xid8", mark)

    def filter(self, query: Mapping[str, Any]) -> None:
        """Times and filters. To be called last, as the values of `filtered` come after all others."""
        time = self._ledger.time
        self.chosen.filter({"since": f"{time} >= {{}}", "until": f"{time} < {{}}", **self._ledger.indexed}, query)
        if query.get("outcome") and DEAD_LETTERS.issuperset(query["outcome"]):
            self.chosen.add(IN_QUARANTINE)
        self.filtered = Conditions(values=self.chosen.values)
        self.filtered.filter(self._ledger.filters, query)
        self.filtered.search(self._ledger.searched, query)

    @property
    def rows(self) -> tuple[str, list[Any]]:
        """The rows of the page and, when there are more, the next one: SQL and values."""
        chosen = self._select(self._ledger.columns)
        if not self.filtered.texts:
            return f"{chosen} LIMIT {self.limit + 1}", self.chosen.values
        # The order is repeated although the inner rows have it: nothing else guarantees it.
        return (
            f"SELECT * FROM ({chosen} LIMIT {self._scan_rows_max}) AS chosen "  # noqa: S608 - of constants
            f"WHERE {self.filtered} ORDER BY {self._order} LIMIT {self.limit + 1}"
        ), self.filtered.values

    @property
    def scan_end(self) -> tuple[str, list[Any]]:
        """The position of the last row that may be read for the page; no row when all were read."""
        return f"{self._select('xid, position')} OFFSET {self._scan_rows_max - 1} LIMIT 1", self.chosen.values

    @property
    def total(self) -> tuple[str, list[Any]]:
        """How many rows match, and whether more than were looked through may: SQL and values."""
        most = self._scan_rows_max if self.filtered.texts else TOTAL_MAX + 1
        # Newest first, as a page of the newest looks through them.
        chosen = f"{self._select('*')} LIMIT {most}"
        return (
            f"SELECT count(*) FILTER (WHERE {self.filtered}), count(*) = {most} FROM ({chosen}) AS chosen"  # noqa: S608 - likewise
        ), self.filtered.values

    def _select(self, columns: str) -> str:
        return f"SELECT {columns} FROM {self._table} WHERE {self.chosen} ORDER BY {self._order}"  # noqa: S608 - likewise


async def page(
    reader: Reader, settings: Settings, ledger: Ledger, query: Mapping[str, Any]
) -> tuple[list[asyncpg.Record], Position | None]:
    """The rows of one page, and the position after which the next one begins, if there is one."""
    async with reader.snapshot() as snapshot:
        statement = await make_query(snapshot, settings, ledger, query)
        sql, values = statement.rows
        rows = await snapshot.fetch(sql, *values)
        if len(rows) > statement.limit:
            return rows[: statement.limit], position_of(rows[statement.limit - 1])
        if not statement.filtered.texts:
            return rows, None
        sql, values = statement.scan_end
        end = await snapshot.fetch(sql, *values)
        return rows, position_of(end[0]) if end else None


async def total(reader: Reader, settings: Settings, ledger: Ledger, query: Mapping[str, Any]) -> int | None:
    """How many rows match on all pages; None when more would have to be looked through than for one page."""
    async with reader.snapshot() as snapshot:
        statement = await make_query(snapshot, settings, ledger, {**query, "cursor": None})
        sql, values = statement.total
        ((matching, may_be_more),) = await snapshot.fetch(sql, *values)
    return None if statement.filtered.texts and may_be_more else matching


async def make_query(snapshot: Snapshot, settings: Settings, ledger: Ledger, query: Mapping[str, Any]) -> LedgerQuery:
    """The SQL for the parameters of a request. Raises StaleCursorError."""
    made = LedgerQuery(ledger, query, settings.query_scan_rows_max)
    if ledger is TRANSITIONS and (ids := await _entity_ids(snapshot, query)) is not None:
        made.of_entities(ids)
    since, position = query.get("since"), query.get("cursor") or query.get("after")
    if since or position:
        earliest = since - timedelta(seconds=settings.query_clock_skew_s) if since else None
        mark = await check_position(snapshot, "cursor" if query.get("cursor") else "after", position, earliest)
        made.after(position, mark)
    made.filter(query)
    return made


async def check_position(
    database: Statements, parameter: str, position: Position | None, earliest: Any = None
) -> int | None:
    """The highest transaction id known to be older than the time `earliest`.

    Raises StaleCursorError for a position that this database has not reached.
    """
    reached = await database.row("reached", earliest)
    assert reached is not None  # it always has one row
    if position and position.xid > reached["xid"]:
        raise StaleCursorError(parameter, "this database has not reached it")
    mark: int | None = reached["mark"]
    return mark


async def _entity_ids(snapshot: Snapshot, query: Mapping[str, Any]) -> list[Any] | None:
    """The ids of one entity, or of all that belongs to a deployment; None without such a filter."""
    ids = [query["entity_id"]] if query.get("entity_id") else None
    if not query.get("deployment"):
        return ids
    of_deployment = [row["id"] for row in await snapshot.rows("rows_of_a_deployment", query["deployment"])]
    return of_deployment if ids is None else [id_ for id_ in ids if id_ in of_deployment]
