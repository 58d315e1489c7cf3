"""The relay's side of PostgreSQL: the lock that makes one receiver the relay, the rows to publish, the mark.

All on one connection, so that whoever has lost the lock cannot mark either. This file must not know NATS.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple, TypeAlias
from uuid import UUID

import asyncpg
import structlog

from receiver.config.settings import Settings
from receiver.errors import DeposedError, OutboxError, describe
from receiver.postgres.driver_errors import UNUSABLE
from receiver.postgres.locks import holder_words
from receiver.postgres.statements import statements

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Connect: TypeAlias = Callable[[], Awaitable[Connection]]
Row: TypeAlias = asyncpg.Record
Rows: TypeAlias = Sequence[Row]
"""Each with position, id, at, subject, headers, payload, kv_key, kv_ended."""

LEAVE = "leave"
"""The wake-up of whoever needs the relay's place to itself for a while: a hint to look whether he waits."""
HINT_EVERY_S = 0.2
FORMER_LOCK_KEY = 0x0E5C_0002
"""By it a receiver of the release before is the relay. Everybody knows it, so it counts only in the hands of a role
that may write here."""
PING_AFTER_S = 1.0
"""A relay that waits for NATS still shows PostgreSQL that it is not frozen."""
BACKLOG_COUNTED_MAX = 10_000
"""A longer outbox is estimated."""

# A mark that a crash of PostgreSQL takes back is read again from the stream's tail, so nobody waits for its flush.
# The rest frees the lock of a relay that is gone without a word (its host: keepalives) or frozen (idle session).
SESSION = """
SET application_name = 'esc-receiver-relay';
SET synchronous_commit = off;
SET tcp_keepalives_idle = {takeover_s};
SET tcp_keepalives_interval = 1;
SET tcp_keepalives_count = 3;
SET tcp_user_timeout = {gone_ms};
SET idle_session_timeout = {frozen_ms};
"""


log = structlog.get_logger()


class Progress(NamedTuple):
    """How far which stream is acknowledged and marked; the stream is empty before the first."""

    stream: str
    sequence: int
    message_id: str | None
    """What stands at that sequence; None: not known."""
    database_id: str
    bucket_sequence: int
    """How far the KV bucket is acknowledged."""


class Backlog(NamedTuple):
    """How many messages wait, and since when the oldest does."""

    messages: int
    oldest_at: datetime | None


class Outbox:
    """One connection of the relay's own. All methods raise OutboxError, after which `drop` is due."""

    def __init__(self, connect: Connect, settings: Settings, on_wake: Callable[[], None]) -> None:
        """`connect` opens the connection; `on_wake` hears of new rows and of the connection's end."""
        self.leading = False
        self._connect = connect
        self._settings = settings
        self._on_wake = on_wake
        self._sql = statements("publishing/outbox.sql")
        self._connection: Connection | None = None
        self._used_s = 0.0
        self._asked_to_leave = False

    async def elect(self) -> bool:
        """Whether this is the relay; becomes it when nobody is.

        A connection that was lost is never replaced in silence: with it went the lock and, when PostgreSQL
        crashed, maybe the last marks.
        """
        connection = self._connection or await self._connected()
        if not self.leading:
            self.leading = await self._took_lock(connection)
        elif self._asked_to_leave:
            self._asked_to_leave = False
            if (await self._rows("is_waited_for"))[0][0]:
                raise OutboxError("the relay's place was asked for, to rebuild the stream")
        elif time.monotonic() - self._used_s > PING_AFTER_S:
            await self._rows("ping")
        return self.leading

    async def demand(self, timeout_s: float) -> None:
        """Become the relay at the cost of another one: it is asked to leave, and we stand first in line.

        It must hold for longer than a relay may be silent, so this connection is never ended for that.
        """
        connection = self._connection or await self._connected()
        with postgres_errors():
            await connection.execute("SET idle_session_timeout = 0")
        waiting = asyncio.create_task(connection.execute(self._sql["wait"], FORMER_LOCK_KEY), name="the relay's place")
        try:
            async with asyncio.timeout(timeout_s):
                await self._hint_until_done(waiting)
        except TimeoutError:
            raise OutboxError(f"another receiver is the relay, and did not leave within {timeout_s:g} s") from None
        finally:
            waiting.cancel()
        self.leading = True

    async def _hint_until_done(self, waiting: asyncio.Task[str]) -> None:
        """Again and again: the relay may have looked before we stood in line."""
        with postgres_errors():
            other = await self._connect()
            try:
                while not waiting.done():
                    await other.execute(self._sql["ask"], LEAVE)
                    await asyncio.wait([waiting], timeout=HINT_EVERY_S)
            finally:
                other.terminate()
            waiting.result()

    async def next_rows(self, rows_max: int) -> Rows:
        """The first rows, in order of position."""
        return await self._rows("next_rows", rows_max, self._settings.publish_batch_bytes_max)

    async def rows_of(self, ids: Sequence[UUID]) -> Rows:
        """Those rows of `ids` that are still here, in order of position."""
        return await self._rows("rows_of_ids", ids)

    async def progress(self) -> Progress:
        """What was marked last."""
        return Progress(*(await self._rows("progress"))[0])

    async def adopt(self, stream: str, sequence: int) -> Progress:
        """Remember the stream to publish to, if none is remembered; what is remembered now."""
        await self._rows("adopt", stream, sequence)
        return await self.progress()

    async def rename(self, stream: str) -> None:
        """Remember the stream by this identity from now on."""
        await self._rows("rename", stream)

    async def fall_back(self, stream: str, sequence: int, message_id: str | None) -> None:
        """Remember that the stream ends there, although it had acknowledged more."""
        await self._rows("fall_back", stream, sequence, message_id)

    async def refilled(self, bucket_sequence: int) -> None:
        """Remember that the bucket has everything again, up to there."""
        await self._rows("refilled", bucket_sequence)

    async def known(self, ids: Sequence[UUID]) -> set[UUID]:
        """Those for which this database has a row."""
        return {row["id"] for row in await self._rows("known", ids)}

    async def known_sources(self, sources: Sequence[str]) -> set[str]:
        """Those of which this database knows anything."""
        return {row["source"] for row in await self._rows("known_sources", sources)}

    async def mark(self, rows: Rows, stream: str, sequence: int, message_id: str | None, bucket_sequence: int) -> None:
        """Delete `rows`, which `stream` has, and remember that it is acknowledged up to `sequence`, where that is.

        Raises DeposedError when another stream is published to by now.
        """
        positions = [row["position"] for row in rows]
        if not await self._rows("mark", positions, sequence, stream, message_id, bucket_sequence):
            raise DeposedError(f"{stream} is no longer the stream that is published to")

    async def backlog(self) -> Backlog:
        """How much waits; an estimate when it is much."""
        rows = await self._rows("backlog", BACKLOG_COUNTED_MAX)
        return Backlog(*rows[0]) if rows else Backlog(0, None)

    def drop(self) -> None:
        """Give up the connection, and with it the lock."""
        if self._connection and not self._connection.is_closed():
            self._connection.terminate()
        self._connection = None
        self.leading = False

    async def close(self) -> None:
        """The same, politely; harmless when there is none."""
        try:
            with postgres_errors():
                if self._connection and not self._connection.is_closed():
                    await self._connection.close(timeout=self._settings.postgres_connect_timeout_s)
        finally:
            self.drop()

    async def _connected(self) -> Connection:
        with postgres_errors():
            self._connection = await self._connect()
            await self._connection.execute(self._session())
        return self._connection

    def _session(self) -> str:
        settings = self._settings
        takeover_s = max(1, round(settings.relay_takeover_s))
        # The longest that a healthy relay leaves PostgreSQL alone: two publishes that just make it, or a rest.
        frozen_s = max(2 * settings.publish_timeout_s, settings.relay_sweep_s) + settings.relay_takeover_s
        return SESSION.format(
            takeover_s=takeover_s, gone_ms=1_000 * (takeover_s + 3), frozen_ms=round(1_000 * frozen_s)
        )

    async def _took_lock(self, connection: Connection) -> bool:
        tried = (await self._rows("elect", FORMER_LOCK_KEY))[0]
        if not tried["ours"]:
            await self._dodge_stranger(tried["lock_key"])
            return False
        if not tried["former"] and await self._holder(FORMER_LOCK_KEY, trusted=True):
            return False
        with postgres_errors():
            connection.add_termination_listener(self._woken)
            await connection.add_listener((await self._rows("channel"))[0][0], self._woken)
        return True

    async def _dodge_stranger(self, lock_key: int) -> None:
        """Whoever may not write here is no relay: from now on another lock makes one."""
        if holder := await self._holder(lock_key, trusted=False):
            log.warning(
                "the relay's lock was taken by a role that may not write here; another one is used now", by=holder
            )
            await self._rows("other_lock", lock_key)

    async def _holder(self, lock_key: int, *, trusted: bool) -> str:
        """Who has this lock, if his role may write here, or may not."""
        found = [row for row in await self._rows("holder", lock_key) if row["trusted"] is trusted]
        return holder_words(found[0]["pid"], found[0]["usename"], found[0]["application_name"]) if found else ""

    async def _rows(self, name: str, *arguments: object) -> Rows:
        if self._connection is None:
            raise OutboxError("the relay has no connection to PostgreSQL")
        self._used_s = time.monotonic()
        with postgres_errors():
            return await self._connection.fetch(self._sql[name], *arguments, timeout=self._settings.commit_timeout_s)

    def _woken(self, *notification: object) -> None:
        self._asked_to_leave |= notification[-1] == LEAVE
        self._on_wake()


@contextmanager
def postgres_errors() -> Iterator[None]:
    """Raises OutboxError for an error of PostgreSQL or of the connection to it."""
    try:
        yield
    except TimeoutError as error:
        raise OutboxError("PostgreSQL did not answer in time") from error
    except UNUSABLE as error:
        raise OutboxError(f"PostgreSQL: {describe(error)}") from error
