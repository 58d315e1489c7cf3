"""Stored callbacks applied again: read, decided and written as they would be today, while receivers are running.

The ledger is never rewritten: a different result is appended, the same result changes nothing (`lifecycle.reapply`).
The columns of `callbacks` that say how a callback was read and decided are no ledger, and are brought up to date; what
arrived stays as it is. Repeats (`duplicate`) are passed over: the first of them says the same. A dry run decides in the
same way, under the same locks, writes nothing, and remembers what it would have written. Must not know the command
line.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

from receiver.config.settings import Settings
from receiver.errors import SetupError, describe
from receiver.lifecycle.reapply import EarlierResult, Entry, decide_again, has_news
from receiver.model.entities import Decision
from receiver.model.envelope import Envelope
from receiver.model.notification import Outcome
from receiver.parsing.parsed_callback import ParsedCallback
from receiver.postgres.batch_retry import process_batch
from receiver.postgres.database import Database
from receiver.postgres.driver_errors import UNUSABLE
from receiver.postgres.migrations import pending
from receiver.postgres.partitions import Partitions
from receiver.postgres.session import Connection
from receiver.postgres.statements import statements
from receiver.postgres.store import READING, Store, callback_row, reading
from receiver.postgres.unit_of_work import UnitOfWork
from receiver.postgres.wake_ups import ended_operations, wake
from receiver.replay.reparse import read_again
from receiver.replay.results import MOVING, Fate, ReplayResult, Selection, Wanted, events_of, is_rejudged

Batches: TypeAlias = AsyncIterator[list[Wanted]]
QUARANTINE = (Outcome.MALFORMED, Outcome.UNCLASSIFIED)
TIME_TOLERANCE = timedelta(milliseconds=1)
"""A file may give the time of a receipt less exactly than it is stored."""


async def check_schema(database: Database) -> None:
    """Raises SetupError when PostgreSQL or its schema is not as this program needs it."""
    await database.ping()
    connection = await database.connect()
    try:
        if old := await pending(connection):
            raise SetupError(f"the schema lacks {old[0].name}: run `esc-receiver migrate` first")
    finally:
        await connection.close()


class Replay:
    """One run. The database is opened already."""

    def __init__(
        self,
        database: Database,
        store: Store,
        partitions: Partitions,
        settings: Settings,
        *,
        dry_run: bool = False,
        to_source: str | None = None,
    ) -> None:
        """`to_source`: where what came to an unknown source is moved."""
        self._to_source = to_source
        self._database = database
        self._store = store
        self._partitions = partitions
        self._settings = settings
        self._dry_run = dry_run
        self._unit = UnitOfWork()
        """Of a dry run: what the batches before would have written."""
        self._sql = statements("replay/replay.sql")

    @asynccontextmanager
    async def select(self, selection: Selection) -> AsyncIterator[tuple[Batches, int]]:
        """Fix which callbacks a run is about: batches of them in order of arrival, and how many there are."""
        connection = await self._database.connect()
        try:
            await connection.execute(self._sql["make_selection"])
            done = await connection.execute(self._sql["select"], *selection.values)
            total = int(done.rpartition(" ")[2])
            yield self._batches(connection, total), total
        finally:
            await connection.close()

    async def _batches(self, connection: Connection, total: int) -> Batches:
        size = self._settings.batch_callbacks_max
        for number in range(0, total, size):
            rows = await connection.fetch(self._sql["portion"], number, size)
            yield [Wanted(*row) for row in rows]

    async def stored_rows(self, wanted: Sequence[Wanted]) -> list[Any]:
        """The rows of `callbacks`, in order, of those that are still there."""
        async with self._database.acquire() as connection:
            rows = await self._rows(connection, "callbacks", wanted)
        return [rows[one.receipt] for one in wanted if one.receipt in rows]

    async def apply(self, wanted: Sequence[Wanted], now: datetime) -> list[ReplayResult]:
        """Apply a batch again, in order, in one transaction; where that fails, each for itself.

        Raises SetupError when PostgreSQL cannot be used; what was applied until then stays.
        """
        task = _ReplayTask(self, now)
        try:
            await process_batch(task, wanted, self._partitions, self._settings.commit_races_max)
        except UNUSABLE as error:
            raise SetupError(
                f"PostgreSQL cannot be used now ({describe(error)}); the same replay may be run again"
            ) from error
        return list(task.results.values())

    async def apply_once(self, wanted: Sequence[Wanted], now: datetime) -> list[ReplayResult]:
        """The same in one transaction, without a second try. Raises asyncpg's errors, and any error of a decision."""
        async with self._database.acquire() as connection:
            if not self._dry_run:
                oldest = self._oldest(now)
                times = (one.received_at for one in wanted if one.envelope and one.received_at >= oldest)
                await self._partitions.ensure(connection, (now, *times))
            transaction = connection.transaction()
            await transaction.start()
            try:
                results, unit = await self._decide_all(connection, wanted, now)
                if not self._dry_run:
                    await self._write(connection, results, unit)
            except BaseException:
                await transaction.rollback()
                raise
            await (transaction.rollback() if self._dry_run else transaction.commit())
        if self._dry_run:
            self._unit = unit
        return results

    # Deciding.

    async def _decide_all(
        self, connection: Connection, wanted: Sequence[Wanted], now: datetime
    ) -> tuple[list[ReplayResult], UnitOfWork]:
        rows = await self._rows(connection, "lock_callbacks", wanted)
        callbacks = {}
        for one in wanted:
            if (callback := await self._read(one, rows.get(one.receipt), now)) is not None:
                callbacks[one.receipt] = callback
        await self._store.look_up(connection, list(callbacks.values()))
        notifications = [callback.notification for callback in callbacks.values() if callback.notification]
        unit = await self._store.lock(connection, notifications, self._unit.next_unit())
        entries: defaultdict[UUID, set[Entry]] = defaultdict(set)
        for receipt, *entry in await connection.fetch(self._sql["done"], list(unit.rows), list(callbacks)):
            entries[receipt].add((entry[0], entry[1], entry[2]))
        results = []
        for receipt in dict.fromkeys(one.receipt for one in wanted):
            row = rows.get(receipt)
            if receipt in callbacks:
                results.append(self._decide(unit, callbacks[receipt], row, entries[receipt], now))
            else:
                results.append(ReplayResult(receipt, Fate.GONE if row is None else Fate.REPEAT, row=row))
        return results, unit

    async def _read(self, one: Wanted, row: Any, now: datetime) -> ParsedCallback | None:
        """None for one that is passed over."""
        if row is not None:
            return None if row["outcome"] == Outcome.DUPLICATE else await self._read_again(self._placed(row))
        is_retained = one.received_at >= self._oldest(now)
        return await self._read_again(one.envelope) if one.envelope and is_retained else None

    def _placed(self, row: Any) -> Envelope:
        """As it is stored; what came to an unknown source as if to the right one, if there is one."""
        envelope = Envelope.of_row(row)
        source = self._to_source or envelope.source
        is_known = envelope.is_of_unknown_source and source in self._settings.all_sources
        return envelope.moved_to(source) if is_known else envelope

    async def _read_again(self, envelope: Envelope) -> ParsedCallback:
        if len(envelope.body) <= self._settings.body_inline_bytes_max:
            return read_again(envelope, self._settings)
        return await asyncio.to_thread(read_again, envelope, self._settings)

    def _decide(
        self, unit: UnitOfWork, callback: ParsedCallback, row: Any, entries: set[Entry], now: datetime
    ) -> ReplayResult:
        n, unjudged = callback.notification, callback.decision_without_lifecycle()
        was_applied = row is not None and row["outcome"] not in QUARANTINE
        if n is None or unjudged is not None:
            fate = Fate.UNCHANGED if was_applied else Fate.QUARANTINED
            return ReplayResult(callback.envelope.receipt, fate, callback, _as_before(unjudged, row), row)
        reads_alike = was_applied and reading(callback) == tuple(row[name] for name in READING)
        earlier = EarlierResult(entries, reads_alike)
        decision = decide_again(unit.current(n), n, self._store.windows, earlier, now)
        fate = Fate.APPLIED
        if was_applied:
            fate = Fate.CHANGED if has_news(decision, earlier) else Fate.UNCHANGED
        elif decision.outcome is Outcome.UNCLASSIFIED:
            fate = Fate.QUARANTINED
        if fate is Fate.CHANGED:
            first = next(transition for transition, _ in decision.transitions)
            decision = decision._replace(outcome=Outcome.APPLIED, rule=first.rule, reason=first.reason)
        if fate in MOVING:
            unit.apply(decision)
        return ReplayResult(n.receipt, fate, callback, decision, row)

    # Writing.

    async def _write(self, connection: Connection, results: Sequence[ReplayResult], unit: UnitOfWork) -> None:
        decided = [(one, one.callback, one.decision) for one in results if one.callback and one.decision]
        new = [(callback, decision) for one, callback, decision in decided if one.is_new]
        rejudged = [callback_row(callback, decision) for one, callback, decision in decided if is_rejudged(one)]
        applied = [decision for one, _, decision in decided if one.fate in MOVING]
        if rejudged:
            await connection.execute(self._sql["rejudge"], rejudged)
        events = events_of(results)
        if new or applied or events:
            await self._store.write(connection, unit, new, applied, events)
            await wake(connection, ended_operations(applied))

    async def _rows(self, connection: Connection, name: str, wanted: Sequence[Wanted]) -> dict[UUID, Any]:
        times = [one.received_at for one in wanted]
        receipts = [one.receipt for one in wanted]
        rows = await connection.fetch(
            self._sql[name], receipts, min(times) - TIME_TOLERANCE, max(times) + TIME_TOLERANCE
        )
        return {row["receipt"]: row for row in rows}

    def _oldest(self, now: datetime) -> datetime:
        return now - timedelta(days=self._settings.callbacks_retention_days)


def _as_before(decision: Decision | None, row: Any) -> Decision | None:
    """Why a body cannot be read was best known when it arrived."""
    if decision and row is not None and decision.outcome is Outcome.MALFORMED is Outcome(row["outcome"]):
        return Decision(decision.outcome, row["rule"], row["reason"])
    return decision


class _ReplayTask:
    """The replay of one batch: a `BatchTask`. `results` are by receipt, in order."""

    def __init__(self, replay: Replay, now: datetime) -> None:
        self.results: dict[UUID, ReplayResult] = {}
        self._replay = replay
        self._now = now

    def pending(self, batch: Sequence[Wanted]) -> list[Wanted]:
        return [one for one in batch if one.receipt not in self.results]

    async def process(self, batch: Sequence[Wanted]) -> None:
        results = await self._replay.apply_once(batch, self._now)
        self.results |= {result.receipt: result for result in results}

    async def on_conflict(self, batch: Sequence[Wanted], error: Exception) -> None:
        """The locked rows will show what the other program did."""

    async def on_connection_lost(self, batch: Sequence[Wanted], error: Exception) -> None:
        raise error

    async def on_failure(self, item: Wanted, error: Exception) -> None:
        why = f"{type(error).__name__}: {error}"
        self.results[item.receipt] = ReplayResult(item.receipt, Fate.FAILED, why=why)
