"""Follows the ledger on a connection of its own: wakes those who wait, and reads once for all readers of the feed.

Each commit rings (`LISTEN`). Having begun to listen, and then again and again, it takes for granted that a ring was
lost: so what is missed is late, never lost. Ledger entries are read in the order of visibility; one that is not
settled yet, because a transaction older than its own still runs, is looked at again soon. Must not know HTTP.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import asyncpg
import structlog

from receiver.api.api_errors import TooManyError, UnavailableError
from receiver.api.api_metrics import Measures
from receiver.api.position import BEGINNING, Position
from receiver.api.read_pool import TROUBLE
from receiver.api.row_shapes import position_of, sql
from receiver.api.subscription import Event, Portion, Subscription, Wanted, events
from receiver.api.waiters import ANYTHING
from receiver.config.settings import Settings
from receiver.errors import describe
from receiver.publishing.outbox import CHANNEL

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

SESSION = """
SET application_name = 'esc-receiver-follower';
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;
SET jit = off;
"""
MARK_EVERY_S = 60.0
PAUSE_FIRST_S, PAUSE_LAST_S = 0.2, 5.0

log = structlog.get_logger()


class Follower:
    """One for each receiver."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        settings: Settings,
        measures: Measures,
        on_ring: Callable[[str], None],
    ) -> None:
        """`on_ring` hears which operations ended (`waiters.heard`)."""
        self.listening = asyncio.Event()
        """Set while wake-ups are heard."""
        self._connect = connect
        self._settings = settings
        self._measures = measures
        self._on_ring = on_ring
        self._sql = sql()
        self._most = min(settings.feed_readers_max, settings.connections_max // 4)
        self._readers: set[Subscription] = set()
        self._joining = 0
        self._at: Position | None = None
        self._placed = asyncio.Event()
        self._awake = asyncio.Event()
        self._stopping = False
        self._mark_due_s = 0.0

    async def run(self) -> None:
        """Follow until cancelled; a connection that breaks is replaced."""
        pause_s, told = PAUSE_FIRST_S, False
        while True:
            try:
                await self._follow()
            except TROUBLE as error:
                if not told:
                    log.warning("the ledger cannot be followed now", why=describe(error))
                told = True
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_LAST_S)
            else:
                pause_s, told = PAUSE_FIRST_S, False

    def stop(self) -> None:
        """Send the readers away: the receiver is stopping."""
        self._stopping = True
        for reader in self._readers:
            reader.close()

    async def place(self) -> Position:
        """How far the ledger has been read. Raises UnavailableError when PostgreSQL does not answer in time."""
        try:
            async with asyncio.timeout(self._settings.query_timeout_s):
                self._awake.set()
                await self._placed.wait()
        except TimeoutError:
            raise UnavailableError("PostgreSQL cannot be asked now") from None
        assert self._at is not None  # it is placed
        return self._at

    @contextmanager
    def joining(self) -> Iterator[None]:
        """While a reader joins and stays: the ledger is followed, and there is room. Raises TooManyError."""
        if self._stopping:
            raise UnavailableError("the receiver is stopping")
        if self._joining >= self._most:
            raise TooManyError("too many read the feed already (feed_readers_max)")
        self._count(+1)
        try:
            yield
        finally:
            self._count(-1)

    @contextmanager
    def subscribed(self, wanted: Wanted, position: Position, on_lost: Callable[[], None]) -> Iterator[Subscription]:
        """A reader that gets all that comes after its `position`: as far as was read here, or had been elsewhere."""
        assert self._at is not None  # the caller asked for the place
        starts_at = max(self._at, position)
        reader = Subscription(wanted, starts_at, self._settings.feed_queue_bytes_max, on_lost)
        self._readers.add(reader)
        if self._stopping:
            reader.close()
        try:
            yield reader
        finally:
            self._readers.discard(reader)

    # The loop.

    async def _follow(self) -> None:
        connection = await self._connect()
        try:
            await connection.execute(SESSION)
            await self._put_right(connection)
            connection.add_termination_listener(self._ended)
            await connection.add_listener(CHANNEL, self._heard)
            self.listening.set()
            self._on_ring(ANYTHING)
            while not connection.is_closed():
                again = await self._once(connection)
                await self._rest(connection, again=again)
        finally:
            self.listening.clear()
            await _closed(connection, self._settings.postgres_connect_timeout_s)

    async def _once(self, connection: Connection) -> bool:
        """Read what is new, if anybody wants it; whether to look again soon."""
        self._awake.clear()
        await self._mark(connection)
        if not self._joining:
            self._at = None
            self._placed.clear()
            return False
        if self._at is None:
            await self._begin(connection)
        assert self._at is not None  # just begun
        rows = await self._rows(connection, "after", *self._at, self._settings.feed_batch_max)
        settled = [row for row in rows if row["settled"]]
        if settled:
            self._hand_out(events(settled))
        return len(settled) < len(rows) or len(rows) == self._settings.feed_batch_max

    async def _begin(self, connection: Connection) -> None:
        rows = await self._rows(connection, "latest")
        self._at = position_of(rows[0]) if rows else BEGINNING
        self._placed.set()

    def _hand_out(self, portion: list[Event]) -> None:
        """To all in one step, so that who joins has either all of it or nothing."""
        self._at = portion[-1].position
        found = Portion(portion)
        for (wanted, ahead), readers in _grouped(self._readers, portion[0].position).items():
            chunk = b"".join(e.sent for e in found.wanted(wanted) if ahead is None or e.position > ahead)
            for reader in readers:
                if not reader.closed and not reader.offer(chunk, self._at):
                    self._measures.feed_dropped.inc()

    async def _rest(self, connection: Connection, *, again: bool) -> None:
        await asyncio.sleep(self._settings.feed_gather_s)
        if again:
            return
        try:
            async with asyncio.timeout(self._settings.wake_sweep_s):
                await self._awake.wait()
        except TimeoutError:
            await self._rows(connection, "ping")
            self._on_ring(ANYTHING)

    async def _mark(self, connection: Connection) -> None:
        if time.monotonic() < self._mark_due_s:
            return
        self._mark_due_s = time.monotonic() + MARK_EVERY_S
        await self._rows(connection, "make_mark")
        await self._rows(
            connection, "drop_marks", datetime.now(UTC) - timedelta(days=self._settings.ledger_retention_days)
        )

    async def _put_right(self, connection: Connection) -> None:
        """After a restore from another server's dump, transaction ids begin anew below those of the rows."""
        rows = await self._rows(connection, "restored")
        if rows[0][0]:
            log.warning("this database was restored from another server's dump; its rows are put in order")
            async with connection.transaction():
                for name in ("renumber_transitions", "renumber_callbacks", "forget_marks"):
                    await connection.execute(self._sql[name])

    async def _rows(self, connection: Connection, name: str, *values: Any) -> list[asyncpg.Record]:
        return await connection.fetch(self._sql[name], *values, timeout=self._settings.query_timeout_s)

    def _heard(self, *told: object) -> None:
        self._on_ring(str(told[-1]))
        self._awake.set()

    def _ended(self, _: object) -> None:
        self._awake.set()

    def _count(self, change: int) -> None:
        self._joining += change
        self._measures.feed_readers.value = self._joining


def _grouped(
    readers: Iterable[Subscription], first: Position
) -> dict[tuple[Wanted, Position | None], list[Subscription]]:
    """Readers that get the same: who wants the same and, of those that have been further elsewhere, has been as far."""
    groups: dict[tuple[Wanted, Position | None], list[Subscription]] = defaultdict(list)
    for reader in readers:
        groups[reader.wanted, reader.position if reader.position >= first else None].append(reader)
    return groups


async def _closed(connection: Connection, timeout_s: float) -> None:
    try:
        await connection.close(timeout=timeout_s)
    except TROUBLE:
        connection.terminate()
