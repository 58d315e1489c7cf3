"""The partitions of `callbacks` (a day each) and `transitions` (a month each): made ahead, on demand, dropped by age.

A partition is made by attaching a table of its own, which does not stop readers or writers of the others. There
is no DEFAULT partition: rows in it would forbid making the partition they belong to. Days and months are UTC's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
import structlog

from receiver.config.settings import Settings
from receiver.postgres.driver_errors import UNUSABLE
from receiver.postgres.locks import locked
from receiver.postgres.session import Connection
from receiver.postgres.statements import statements

DAYS, MONTHS = "callbacks", "transitions"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition and the times it holds: from `begins_at` until before `ends_at`."""

    table: str
    begins_at: datetime
    ends_at: datetime

    @property
    def name(self) -> str:
        """Its table, by the first day it holds."""
        return f"{self.table}_{self.begins_at:%Y%m%d}"


def partition_of(table: str, at: datetime) -> Partition:
    """The partition that holds `at`."""
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if table == DAYS:
        return Partition(table, day, day + timedelta(days=1))
    month = day.replace(day=1)
    return Partition(table, month, (month + timedelta(days=32)).replace(day=1))


def partitions_between(table: str, since: datetime, until: datetime) -> Iterator[Partition]:
    """Those that hold any time of the span."""
    partition = partition_of(table, since)
    while partition.begins_at <= until:
        yield partition
        partition = partition_of(table, partition.ends_at)


class Partitions:
    """Remembers which partitions are there, so that the way of a callback asks PostgreSQL nothing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sql = statements("postgres/partitions.sql")
        self._made: set[str] = set()
        self._lock_timeout_s = min(settings.postgres_lock_timeout_s, settings.commit_timeout_s / 2)

    async def ensure(self, connection: Connection, times: Iterable[datetime]) -> None:
        """Make the partitions that rows of these times need."""
        days = {at.astimezone(UTC).date(): at for at in times}
        wanted = {partition_of(table, at) for at in days.values() for table in (DAYS, MONTHS)}
        if missing := [p for p in wanted if p.name not in self._made]:
            await self._make(connection, missing)

    def forget(self) -> None:
        """Somebody else dropped or detached a partition that was thought to be there."""
        self._made.clear()

    async def run(self, acquire: Callable[[], AbstractAsyncContextManager[Connection]]) -> None:
        """Look after the partitions until cancelled; `acquire` lends a connection."""
        while True:
            try:
                async with acquire() as connection:
                    await self.run_once(connection, datetime.now(UTC))
            except UNUSABLE as error:
                log.warning("partitions could not be looked after; they are tried again", why=str(error) or repr(error))
            except Exception:  # a bug here must not stop those who keep callbacks: told with its trace, and tried again
                log.exception("looking after partitions failed")
            await asyncio.sleep(self._settings.maintenance_interval_s)

    async def run_once(self, connection: Connection, now: datetime) -> list[str]:
        """Make the partitions of the days ahead, drop those past retention; the names of the dropped."""
        await self.make_ahead(connection, now)
        callbacks = await self._drop(connection, DAYS, now - timedelta(days=self._settings.callbacks_retention_days))
        ledger = await self._drop(connection, MONTHS, now - timedelta(days=self._settings.ledger_retention_days))
        return callbacks + ledger

    async def make_ahead(self, connection: Connection, now: datetime) -> None:
        """Make the partitions from now to `partitions_ahead_days` on."""
        ahead = now + timedelta(days=self._settings.partitions_ahead_days)
        await self._make(connection, [p for table in (DAYS, MONTHS) for p in partitions_between(table, now, ahead)])

    async def _make(self, connection: Connection, wanted: Iterable[Partition]) -> None:
        """One receiver at a time: with the lock that attaching takes anyway, so that nobody finds half of it."""
        async with locked(connection, DAYS, "SHARE UPDATE EXCLUSIVE", self._lock_timeout_s):
            there = {name for table in (DAYS, MONTHS) for name, _ in await self._list(connection, table)}
            for partition in sorted(wanted, key=lambda p: p.name):
                if partition.name not in there:
                    await connection.execute(_made(partition))
        self._made |= there | {p.name for p in wanted}

    async def _drop(self, connection: Connection, table: str, before: datetime) -> list[str]:
        old = [name for name, ends_at in await self._list(connection, table) if ends_at <= before]
        dropped = [name for name in old if await self._drop_one(connection, name)]
        if dropped:
            log.info("partitions past retention were dropped", partitions=dropped)
        return dropped

    async def _drop_one(self, connection: Connection, name: str) -> bool:
        """False when somebody reads it: until he is done, all who write would have to wait behind us."""
        timeout_ms = round(self._settings.partition_lock_timeout_s * 1_000)
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = {timeout_ms}")
                await connection.execute(f"DROP TABLE IF EXISTS {name}")
        except asyncpg.LockNotAvailableError:
            log.info("a partition past retention is in use; it is dropped later", partition=name)
            return False
        return True

    async def _list(self, connection: Connection, table: str) -> list[tuple[str, datetime]]:
        rows = await connection.fetch(self._sql["partitions"], table)
        return [(row["name"], row["ends_at"]) for row in rows if row["ends_at"]]  # None: dropped while we looked


def _made(p: Partition) -> str:
    """Names and times are ours, not a sender's: DDL takes no parameters."""
    return (
        f"CREATE TABLE {p.name} (LIKE {p.table} INCLUDING ALL); "
        f"ALTER TABLE {p.table} ATTACH PARTITION {p.name} "
        f"FOR VALUES FROM ('{p.begins_at.isoformat()}') TO ('{p.ends_at.isoformat()}');"
    )
