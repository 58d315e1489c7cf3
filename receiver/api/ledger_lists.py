"""Lists of what happened: callbacks and ledger entries, paged in the order in which they became visible.

A row is shown once no running transaction can commit anything before it, so whoever follows the cursors misses
nothing and sees nothing twice, whichever receivers write. Filters with an index of their own choose the rows; the
others are applied to at most `query_scan_rows_max` rows a page, so that no question can read a whole table: such a
page may hold few items or none, and still has a `next`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import asyncpg

from receiver.api.api_errors import StaleCursorError
from receiver.api.position import Position
from receiver.api.read_pool import Reader, Snapshot
from receiver.api.row_shapes import COLUMNS, position_of, sql
from receiver.config.settings import Settings
from receiver.model.notification import Outcome

QUARANTINE = frozenset({Outcome.MALFORMED, Outcome.UNCLASSIFIED})
QUARANTINED = "outcome IN ('malformed', 'unclassified')"
"""The condition of the index `callbacks_in_quarantine`."""
SETTLED = "xid < pg_snapshot_xmin(pg_current_snapshot())"


@dataclass(frozen=True, slots=True)
class Ledger:
    """A table that only grows: its columns, its time, and what each filter means."""

    table: str
    columns: str
    time: str
    indexed: Mapping[str, str]
    """Filters that choose rows; `$` stands for the value."""
    passed: Mapping[str, str]
    """Filters that are applied to rows that were chosen."""


CALLBACKS = Ledger(
    "callbacks", COLUMNS["callback"], "received_at",
    {"transaction_id": "transaction_id = $", "deployment": "deployment = $"},
    {
        "source": "source = $",
        "tenant": "deployment = ANY (ARRAY (SELECT d.internal_deployment_id FROM deployments AS d WHERE d.tenant = $))",
        "vm_name": "vm_name = $",
        "family": "family = $",
        "outcome": "outcome = ANY ($)",
    },
)  # fmt: skip
TRANSITIONS = Ledger(
    "transitions", COLUMNS["transition"] + ", xid, position", "at",
    {"operation": "operation = $"},
    {
        "entity": "entity = $",
        "source": "source = $",
        "tenant": "tenant = $",
        "name": "name = $",
        "state": "to_state = $",
        "change": "change = $",
    },
)  # fmt: skip


@dataclass(slots=True)
class Question:
    """One page of a list, as SQL."""

    ledger: Ledger
    limit: int
    scan_rows_max: int
    newest: bool
    values: list[Any] = field(default_factory=list)
    chosen: list[str] = field(default_factory=lambda: [SETTLED])
    passed: list[str] = field(default_factory=list)
    of_entities: str | None = None
    """When set, the rows of these entities are read first, and then put in order."""

    def add(self, conditions: list[str], condition: str, value: Any) -> None:
        """A condition with its value."""
        self.values.append(value)
        conditions.append(condition.replace("$", f"${len(self.values)}"))

    def behind(self, position: Position) -> None:
        """Only what follows a position."""
        self.values += position
        sign, last = ("<" if self.newest else ">"), len(self.values)
        self.chosen.append(f"(xid, position) {sign} (${last - 1}::xid8, ${last}::bigint)")

    @property
    def rows(self) -> str:
        """The rows of the page, and one more when there are more."""
        chosen = self._chosen(self.ledger.columns)
        if not self.passed:
            return f"{chosen} LIMIT {self.limit + 1}"
        # The order is told again, though the inner rows have it: nothing else promises it.
        return (
            f"SELECT * FROM ({chosen} LIMIT {self.scan_rows_max}) AS chosen "  # noqa: S608 - of constants
            f"WHERE {' AND '.join(self.passed)} ORDER BY {self._order} LIMIT {self.limit + 1}"
        )

    @property
    def last_looked_at(self) -> str:
        """Where the last row stands that was looked through for the page; none when all were."""
        return f"{self._chosen('xid, position')} OFFSET {self.scan_rows_max - 1} LIMIT 1"

    @property
    def _order(self) -> str:
        return "xid DESC, position DESC" if self.newest else "xid, position"

    def _chosen(self, columns: str) -> str:
        table = self.ledger.table
        if self.of_entities:
            # OFFSET 0 keeps PostgreSQL from walking through all in order instead.
            table = f"(SELECT * FROM {table} WHERE {self.of_entities} OFFSET 0) AS {table}"  # noqa: S608 - likewise
        return f"SELECT {columns} FROM {table} WHERE {' AND '.join(self.chosen)} ORDER BY {self._order}"  # noqa: S608


class Pages:
    """Answers questions about what happened."""

    def __init__(self, reader: Reader, settings: Settings) -> None:
        self._reader = reader
        self._settings = settings
        self._sql = sql()

    async def page(self, ledger: Ledger, asked: Mapping[str, Any]) -> tuple[list[asyncpg.Record], Position | None]:
        """The rows of one page, and where the next one begins, if there is one."""
        async with self._reader.snapshot() as snapshot:
            question = await self.question(snapshot, ledger, asked)
            rows = await snapshot.rows(question.rows, *question.values)
            if len(rows) > question.limit:
                return rows[: question.limit], position_of(rows[question.limit - 1])
            if not question.passed:
                return rows, None
            used = question.values[: _used(question)]
            last = await snapshot.row(replace(question, passed=[]).last_looked_at, *used)
            return rows, position_of(last) if last else None

    async def question(self, snapshot: Snapshot, ledger: Ledger, asked: Mapping[str, Any]) -> Question:
        """The question that is asked. Raises StaleCursorError."""
        question = Question(ledger, asked["limit"], self._settings.query_scan_rows_max, _newest(asked))
        if ledger is TRANSITIONS:
            await self._entities(snapshot, question, asked)
        await self._span(snapshot, question, asked)
        for name, condition in ledger.indexed.items():
            if asked.get(name) is not None:
                question.add(question.chosen, condition, asked[name])
        if asked.get("outcome") and QUARANTINE.issuperset(asked["outcome"]):
            question.chosen.append(QUARANTINED)
        for name, condition in ledger.passed.items():
            if asked.get(name):
                question.add(question.passed, condition, asked[name])
        return question

    async def _entities(self, snapshot: Snapshot, question: Question, asked: Mapping[str, Any]) -> None:
        """Entries of one entity, or of all that belongs to a deployment."""
        ids = [asked["entity_id"]] if asked.get("entity_id") else None
        if asked.get("deployment"):
            rows = await snapshot.rows(self._sql["rows_of_a_deployment"], asked["deployment"])
            of_deployment = [row["id"] for row in rows]
            ids = of_deployment if ids is None else [i for i in ids if i in of_deployment]
        if ids is not None:
            question.values.append(ids)
            question.of_entities = f"entity_id = ANY (${len(question.values)}::uuid[])"

    async def _span(self, snapshot: Snapshot, question: Question, asked: Mapping[str, Any]) -> None:
        """Between which positions and times. Times choose partitions, and by the marks also where to begin."""
        if asked.get("since") or asked.get("cursor") or asked.get("after"):
            await self._beginning(snapshot, question, asked)
        for name, sign in (("since", ">="), ("until", "<")):
            if asked.get(name):
                question.add(question.chosen, f"{question.ledger.time} {sign} $", asked[name])

    async def _beginning(self, snapshot: Snapshot, question: Question, asked: Mapping[str, Any]) -> None:
        since, behind = asked.get("since"), asked.get("cursor") or asked.get("after")
        sure = since - timedelta(seconds=self._settings.query_clock_skew_s) if since else None
        reached = await snapshot.row(self._sql["reached"], sure)
        assert reached is not None  # it has always one row
        if behind:
            if behind.xid > reached["xid"]:
                raise StaleCursorError("cursor" if asked.get("cursor") else "after", "this database has not reached it")
            question.behind(behind)
        if reached["mark"] is not None:
            question.add(question.chosen, "xid >= $::xid8", reached["mark"])


def _newest(asked: Mapping[str, Any]) -> bool:
    return asked.get("order") == "newest" and not asked.get("after")


def _used(question: Question) -> int:
    """How many values the conditions use that choose rows; those that are passed through come behind them."""
    return len(question.values) - len(question.passed)
