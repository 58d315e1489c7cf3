"""Kept callbacks applied again: read, judged and written as they would be today, beside receivers that are running.

The ledger is never rewritten: a different result is appended, the same result changes nothing (`lifecycle.again`). What
`callbacks` tells of how a callback was read and judged is no ledger, and is brought up to date; what arrived stays as
it is. Repeats (`duplicate`) are passed over: the first of them says the same. A dry run judges in the same way, under
the same locks, writes nothing, and carries on in memory what it would have written. Must not know the command line.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from receiver.config.settings import Settings
from receiver.errors import SetupError, describe
from receiver.lifecycle.reapply import EarlierResult, Entry, decide_again, has_news
from receiver.model.envelope import Envelope
from receiver.model.notification import Outcome
from receiver.parsing.parsed_callback import ParsedCallback
from receiver.postgres.database import Database
from receiver.postgres.driver_errors import CONFLICTS, UNAVAILABLE, is_partition_missing
from receiver.postgres.migrations import pending
from receiver.postgres.partitions import Partitions
from receiver.postgres.statements import statements
from receiver.postgres.store import READING, Connection, Store, callback_row, reading
from receiver.postgres.unit_of_work import UnitOfWork
from receiver.replay.reparse import read_again
from receiver.replay.results import MOVING, Fate, Replayed, Selection, Wanted, events_of, is_rejudged

QUARANTINE = (Outcome.MALFORMED, Outcome.UNCLASSIFIED)
A_MOMENT = timedelta(milliseconds=1)
"""A file may tell the time of a receipt less exactly than it is kept."""


async def check_schema(database: Database) -> None:
    """Raises SetupError when PostgreSQL or its schema is not as this program needs it."""
    await database.ping()
    connection = await database.connect()
    try:
        if old := await pending(connection):
            raise SetupError(f"the schema lacks {old[0].name}: run `esc-receiver migrate` first")
    finally:
        await connection.close()


class Chosen:
    """The callbacks of a selection, as it was when the run began: `total` of them, in order of arrival."""

    def __init__(self, connection: Connection, total: int, portion_max: int) -> None:
        self._connection = connection
        self._portion_max = portion_max
        self._sql = statements("replay/replay.sql")
        self.total = total

    async def __aiter__(self) -> AsyncIterator[list[Wanted]]:
        for number in range(0, self.total, self._portion_max):
            rows = await self._connection.fetch(self._sql["portion"], number, self._portion_max)
            yield [Wanted(*row) for row in rows]


class Replay:
    """One run. The database is opened already."""

    def __init__(
        self, database: Database, store: Store, partitions: Partitions, settings: Settings, *, dry_run: bool = False
    ) -> None:
        self._database = database
        self._store = store
        self._partitions = partitions
        self._settings = settings
        self._dry_run = dry_run
        self._known = UnitOfWork()
        self._sql = statements("replay/replay.sql")

    async def check(self) -> None:
        """Raises SetupError when PostgreSQL or its schema is not as this program needs it."""
        await check_schema(self._database)

    @asynccontextmanager
    async def choose(self, selection: Selection) -> AsyncIterator[Chosen]:
        """Find out which callbacks a run is about."""
        connection = await self._database.connect()
        try:
            await connection.execute(self._sql["make_selection"])
            name = "select_quarantine" if selection.quarantine else "select_all"
            done = await connection.execute(self._sql[name], selection.since, selection.until, selection.source)
            yield Chosen(connection, int(done.rpartition(" ")[2]), self._settings.batch_callbacks_max)
        finally:
            await connection.close()

    async def kept(self, wanted: Sequence[Wanted]) -> list[Any]:
        """The rows of `callbacks`, in order, of those that are still there."""
        async with self._database.acquire() as connection:
            rows = await self._rows(connection, "callbacks", wanted)
        return [rows[one.receipt] for one in wanted if one.receipt in rows]

    async def apply(self, wanted: Sequence[Wanted], now: datetime) -> list[Replayed]:
        """Apply a batch again, in order, in one transaction; where that fails, each for itself.

        Raises SetupError when PostgreSQL cannot be used; what was applied until then stays.
        """
        races = 0
        while True:
            try:
                return await self._once(wanted, now)
            except CONFLICTS as error:
                races += 1
                if races > self._settings.commit_races_max:
                    return await self._apart(wanted, now, error)
            except (
                ValueError
            ) as error:  # of ours, or of asyncpg's: its DataError would else pass for a broken connection
                return await self._apart(wanted, now, error)
            except UNAVAILABLE as error:
                raise SetupError(
                    f"PostgreSQL cannot be used now ({describe(error)}); the same replay may be run again"
                ) from error
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one callback must not sink its neighbours
                if not is_partition_missing(error):
                    return await self._apart(wanted, now, error)
                self._partitions.forget()

    async def _apart(self, wanted: Sequence[Wanted], now: datetime, error: Exception) -> list[Replayed]:
        if len(wanted) == 1:
            return [Replayed(wanted[0].receipt, Fate.FAILED, why=f"{type(error).__name__}: {error}")]
        half = len(wanted) // 2
        return await self.apply(wanted[:half], now) + await self.apply(wanted[half:], now)

    async def _once(self, wanted: Sequence[Wanted], now: datetime) -> list[Replayed]:
        async with self._database.acquire() as connection:
            if not self._dry_run:
                oldest = self._oldest(now)
                times = (one.received_at for one in wanted if one.envelope and one.received_at >= oldest)
                await self._partitions.ensure(connection, (now, *times))
            transaction = connection.transaction()
            await transaction.start()
            try:
                results, known = await self._judged(connection, wanted, now)
                if not self._dry_run:
                    await self._write(connection, results, known)
            except BaseException:
                await transaction.rollback()
                raise
            await (transaction.rollback() if self._dry_run else transaction.commit())
        if self._dry_run:
            self._known = known
        return results

    # Judging.

    async def _judged(
        self, connection: Connection, wanted: Sequence[Wanted], now: datetime
    ) -> tuple[list[Replayed], UnitOfWork]:
        rows = await self._rows(connection, "lock_callbacks", wanted)
        letters = {one.receipt: letter for one in wanted if (letter := self._letter(one, rows.get(one.receipt), now))}
        notifications = [letter.notification for letter in letters.values() if letter.notification]
        known = await self._store.lock(connection, notifications, self._known.carried())
        entries: defaultdict[UUID, set[Entry]] = defaultdict(set)
        for receipt, *entry in await connection.fetch(self._sql["done"], list(known.rows), list(letters)):
            entries[receipt].add((entry[0], entry[1], entry[2]))
        results = []
        for receipt in dict.fromkeys(one.receipt for one in wanted):
            row = rows.get(receipt)
            if receipt in letters:
                results.append(self._judge(known, letters[receipt], row, entries[receipt], now))
            else:
                results.append(Replayed(receipt, Fate.GONE if row is None else Fate.REPEAT, row=row))
        return results, known

    def _letter(self, one: Wanted, row: Any, now: datetime) -> ParsedCallback | None:
        """None for what is passed over."""
        if row is not None:
            return None if row["outcome"] == Outcome.DUPLICATE else read_again(Envelope.of_row(row), self._settings)
        is_kept_so_long = one.received_at >= self._oldest(now)
        return read_again(one.envelope, self._settings) if one.envelope and is_kept_so_long else None

    def _judge(
        self, known: UnitOfWork, letter: ParsedCallback, row: Any, entries: set[Entry], now: datetime
    ) -> Replayed:
        n = letter.notification
        was_applied = row is not None and row["outcome"] not in QUARANTINE
        if n is None:
            fate = Fate.UNCHANGED if was_applied else Fate.QUARANTINED
            return Replayed(letter.envelope.receipt, fate, letter, letter.decision_without_lifecycle(), row)
        reads_alike = was_applied and reading(letter) == tuple(row[name] for name in READING)
        done = EarlierResult(entries, reads_alike)
        decision = decide_again(known.current(n), n, self._store.windows, done, now)
        fate = Fate.APPLIED
        if was_applied:
            fate = Fate.CHANGED if has_news(decision, done) else Fate.UNCHANGED
        elif decision.outcome is Outcome.UNCLASSIFIED:
            fate = Fate.QUARANTINED
        if fate is Fate.CHANGED:
            first = next(transition for transition, _ in decision.transitions)
            decision = decision._replace(outcome=Outcome.APPLIED, rule=first.rule, reason=first.reason)
        if fate in MOVING:
            known.apply(decision)
        return Replayed(n.receipt, fate, letter, decision, row)

    # Writing.

    async def _write(self, connection: Connection, results: Sequence[Replayed], known: UnitOfWork) -> None:
        judged = [(one, one.letter, one.decision) for one in results if one.letter and one.decision]
        new = [(letter, decision) for one, letter, decision in judged if one.is_new]
        again = [callback_row(letter, decision) for one, letter, decision in judged if is_rejudged(one)]
        applied = [decision for one, _, decision in judged if one.fate in MOVING]
        if again:
            await connection.execute(self._sql["rejudge"], again)
        events = events_of(results)
        if new or applied or events:
            await self._store.write(connection, known, new, applied, events)

    async def _rows(self, connection: Connection, name: str, wanted: Sequence[Wanted]) -> dict[UUID, Any]:
        times = [one.received_at for one in wanted]
        receipts = [one.receipt for one in wanted]
        rows = await connection.fetch(self._sql[name], receipts, min(times) - A_MOMENT, max(times) + A_MOMENT)
        return {row["receipt"]: row for row in rows}

    def _oldest(self, now: datetime) -> datetime:
        return now - timedelta(days=self._settings.callbacks_retention_days)
