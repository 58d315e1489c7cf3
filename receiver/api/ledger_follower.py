"""Follows the ledger on a connection of its own: wakes requests that wait, and reads once for all feed subscribers.

What was committed is told by notifications (`LISTEN`). When it begins to listen, and then at intervals, it assumes that
one was lost: what is missed is late, never lost. Ledger entries are read in the order of visibility; one that is not
settled yet, because a transaction older than its own still runs, is read again soon. Must not know HTTP.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeAlias

import asyncpg
import structlog

from receiver.api.api_errors import TooManyError, UnavailableError
from receiver.api.position import BEGINNING, Position
from receiver.api.row_shapes import position_of, sql
from receiver.api.subscription import Event, EventBatch, EventFilter, Subscription, events
from receiver.config.settings import Settings
from receiver.errors import describe
from receiver.observability.metrics import Metrics
from receiver.observability.trouble_log import TroubleLog
from receiver.postgres.driver_errors import UNUSABLE
from receiver.postgres.wake_ups import ANY_OPERATION

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


class LedgerFollower:
    """One for each receiver."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        settings: Settings,
        metrics: Metrics,
        on_notification: Callable[[str], None],
    ) -> None:
        """`on_notification` gets the payload, which names the operations that ended (`Waiters.notify`)."""
        self.listening = asyncio.Event()
        """Set while notifications arrive."""
        self._connect = connect
        self._settings = settings
        self._metrics = metrics
        self._on_notification = on_notification
        self._sql = sql()
        self._subscribers_max = min(settings.feed_readers_max, settings.connections_max // 4)
        self._subscribers: set[Subscription] = set()
        self._joined = 0
        """Requests for the feed; those that still catch up are not among the subscribers yet."""
        self._position: Position | None = None
        """How far the ledger was read; None while nobody has joined."""
        self._placed = asyncio.Event()
        """Set while there is a position."""
        self._wake_up = asyncio.Event()
        self._stopping = False
        self._trouble = TroubleLog("the ledger cannot be followed now", each_reason=False)
        self._mark_due_s = 0.0

    async def run(self) -> None:
        """Follow until cancelled; a connection that breaks is replaced."""
        pause_s = PAUSE_FIRST_S
        while True:
            try:
                await self._follow()
            except UNUSABLE as error:
                self._trouble.report(describe(error))
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_LAST_S)
            else:
                self._trouble.clear()
                pause_s = PAUSE_FIRST_S

    def stop(self) -> None:
        """End all subscriptions: the receiver is stopping."""
        self._stopping = True
        for subscriber in self._subscribers:
            subscriber.close()

    async def position(self) -> Position:
        """How far the ledger has been read. Raises UnavailableError when PostgreSQL does not answer in time."""
        try:
            async with asyncio.timeout(self._settings.query_timeout_s):
                self._wake_up.set()
                await self._placed.wait()
        except TimeoutError:
            raise UnavailableError("PostgreSQL cannot be asked now") from None
        assert self._position is not None  # it is placed
        return self._position

    @contextmanager
    def joined(self) -> Iterator[None]:
        """While a request for the feed is served, the ledger is followed. Raises TooManyError, UnavailableError."""
        if self._stopping:
            raise UnavailableError("the receiver is stopping")
        if self._joined >= self._subscribers_max:
            raise TooManyError("too many read the feed already (feed_readers_max)")
        self._count(+1)
        try:
            yield
        finally:
            self._count(-1)

    @contextmanager
    def subscribed(
        self, wanted: EventFilter, position: Position, on_dropped: Callable[[], None]
    ) -> Iterator[Subscription]:
        """A subscription from `position`, or from where this receiver is when that is further."""
        assert self._position is not None  # the caller has asked for the position
        starts_at = max(self._position, position)
        subscriber = Subscription(wanted, starts_at, self._settings.feed_queue_bytes_max, on_dropped)
        self._subscribers.add(subscriber)
        if self._stopping:
            subscriber.close()
        try:
            yield subscriber
        finally:
            self._subscribers.discard(subscriber)

    async def _follow(self) -> None:
        connection = await self._connect()
        try:
            await connection.execute(SESSION)
            await self._reorder_after_restore(connection)
            connection.add_termination_listener(lambda _: self._wake_up.set())
            await connection.add_listener(await connection.fetchval(self._sql["channel"]), self._notified)
            self.listening.set()
            self._on_notification(ANY_OPERATION)
            while not connection.is_closed():
                again = await self._read(connection)
                await asyncio.sleep(self._settings.feed_gather_s)
                if not again:
                    await self._rest(connection)
        finally:
            self.listening.clear()
            with suppress(*UNUSABLE):  # then it is aborted
                await connection.close(timeout=self._settings.postgres_connect_timeout_s)

    async def _read(self, connection: Connection) -> bool:
        """Read what is new, if anybody wants it; whether to read again soon."""
        self._wake_up.clear()
        await self._mark(connection)
        if not self._joined:
            self._position = None
            self._placed.clear()
            return False
        if self._position is None:
            latest = await self._rows(connection, "latest")
            self._position = position_of(latest[0]) if latest else BEGINNING
            self._placed.set()
        rows = await self._rows(connection, "after", *self._position, self._settings.feed_batch_max)
        settled = [row for row in rows if row["settled"]]
        if settled:
            self._distribute(events(settled))
        return len(settled) < len(rows) or len(rows) == self._settings.feed_batch_max

    def _distribute(self, batch: list[Event]) -> None:
        """Queue events for all subscribers, in one step: one that joins gets all of a batch or nothing."""
        first, self._position = batch[0].position, batch[-1].position
        # The same bytes for all that want the same and, of those that were further elsewhere, have been as far.
        groups: dict[tuple[EventFilter, Position | None], list[Subscription]] = defaultdict(list)
        for subscriber in self._subscribers:
            ahead = subscriber.position if subscriber.position >= first else None
            groups[subscriber.filter, ahead].append(subscriber)
        indexed = EventBatch(batch)
        for (wanted, ahead), subscribers in groups.items():
            chunk = b"".join(e.sse for e in indexed.matching(wanted) if ahead is None or e.position > ahead)
            for subscriber in subscribers:
                if not subscriber.closed and not subscriber.offer(chunk, self._position):
                    self._metrics.feed_dropped.inc()

    async def _rest(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(self._settings.wake_sweep_s):
                await self._wake_up.wait()
        except TimeoutError:
            await self._rows(connection, "ping")
            self._on_notification(ANY_OPERATION)

    async def _mark(self, connection: Connection) -> None:
        """Once a minute, note which transaction ids are older than now: lists by time begin to read there."""
        if time.monotonic() < self._mark_due_s:
            return
        self._mark_due_s = time.monotonic() + MARK_EVERY_S
        await self._rows(connection, "make_mark")
        await self._rows(connection, "drop_marks", timedelta(days=self._settings.ledger_retention_days))

    async def _reorder_after_restore(self, connection: Connection) -> None:
        """After a restore from another server's dump, new transaction ids would sort before those of the rows."""
        rows = await self._rows(connection, "restored")
        if rows[0][0]:
            log.warning("this database was restored from another server's dump; its rows are put in order")
            async with connection.transaction():
                for name in ("renumber_transitions", "renumber_callbacks", "forget_marks"):
                    await connection.execute(self._sql[name])

    async def _rows(self, connection: Connection, name: str, *values: Any) -> list[asyncpg.Record]:
        return await connection.fetch(self._sql[name], *values, timeout=self._settings.query_timeout_s)

    def _notified(self, *notification: object) -> None:
        self._on_notification(str(notification[-1]))
        self._wake_up.set()

    def _count(self, change: int) -> None:
        self._joined += change
        self._metrics.feed_readers.set(self._joined)
