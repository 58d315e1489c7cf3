"""The partitions of `callbacks` (a day each) and `transitions` (a month each): made ahead or on demand, and dropped.

A partition is made by attaching a table of its own, which does not stop readers or writers of the others. There
is no DEFAULT partition: rows in it would forbid making the partition they belong to. Days and months are UTC's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
import structlog

from receiver.config.settings import Settings
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
    name: str


def partition_of(table: str, at: datetime) -> Partition:
    """The partition that holds `at`."""
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    begins_at = day if table == DAYS else day.replace(day=1)
    ends_at = day + timedelta(days=1) if table == DAYS else (begins_at + timedelta(days=32)).replace(day=1)
    return Partition(table, begins_at, ends_at, f"{table}_{begins_at:%Y%m%d}")


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

    async def ensure(self, connection: Connection, times: Iterable[datetime]) -> None:
        """Make the partitions that rows of these times need."""
        days = {at.astimezone(UTC).date(): at for at in times}
        wanted = {partition_of(table, at) for at in days.values() for table in (DAYS, MONTHS)}
        if missing := [p for p in wanted if p.name not in self._made]:
            await self._make(connection, missing)

    def forget(self) -> None:
        """Somebody else dropped or detached a partition that was thought to be there."""
        self._made.clear()

    async def make_ahead(self, connection: Connection, now: datetime) -> None:
        """Make the partitions from now to `partitions_ahead_days` on."""
        ahead = now + timedelta(days=self._settings.partitions_ahead_days)
        await self._make(connection, [p for table in (DAYS, MONTHS) for p in partitions_between(table, now, ahead)])

    async def _make(self, connection: Connection, wanted: Iterable[Partition]) -> None:
        """One receiver at a time: with the lock that attaching takes anyway, so that nobody finds half of it."""
        async with locked(connection, DAYS, "SHARE UPDATE EXCLUSIVE", self._settings.postgres_lock_timeout_s):
            there = {one.name for table in (DAYS, MONTHS) for one in await self.present(connection, table)}
            for partition in sorted(wanted, key=lambda p: p.name):
                if partition.name not in there:
                    await connection.execute(_made(partition))
        self._made |= there | {p.name for p in wanted}

    async def present(self, connection: Connection, table: str) -> list[Partition]:
        """Those of a table, in the order of time."""
        rows = await connection.fetch(self._sql["partitions"], table)
        found = (Partition(table, row["begins_at"], row["ends_at"], row["name"]) for row in rows if row["ends_at"])
        return list(found)  # without bounds: dropped while we looked

    async def clock(self, connection: Connection) -> asyncpg.Record:
        """PostgreSQL's time (`now`), and when the callback that was stored last was received (`newest_at`)."""
        row = await connection.fetchrow(self._sql["clock"])
        assert row is not None  # one row always
        return row

    async def drop(self, connection: Connection, name: str) -> bool:
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


def _made(p: Partition) -> str:
    """Names and times are ours, not a sender's: DDL takes no parameters."""
    return (
        f"CREATE TABLE {p.name} (LIKE {p.table} INCLUDING ALL); "
        f"ALTER TABLE {p.table} ATTACH PARTITION {p.name} "
        f"FOR VALUES FROM ('{p.begins_at.isoformat()}') TO ('{p.ends_at.isoformat()}');"
    )
