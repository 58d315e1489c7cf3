"""Outbox → JetStream: in order, each message once, marked after the acknowledgement.

One relay works at a time, by a lock (`outbox`); a standby takes over within seconds. The lock is no fence: a
paused relay does not know that it lost it. So every message names what it must follow in the stream
(`jetstream`), and the broker lets only one relay through. What was published but not marked lies behind
`relay.stream_sequence`: after a start and after any trouble it is read from the stream's tail and marked, not
published again. That needs no duplicate window, so no outage is too long for it.

One batch: feed acknowledged → KV bucket acknowledged → rows deleted and the sequence told, in one transaction.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from secrets import token_hex
from uuid import UUID

import asyncpg
import orjson
import structlog

from receiver.config.settings import Settings
from receiver.errors import (
    DeposedError,
    DisconnectedError,
    NotAcknowledgedError,
    OutboxError,
    ReceiverError,
    StreamLostError,
    StreamRefusedError,
    describe,
)
from receiver.events.cloudevents import item_json, shortened
from receiver.observability.labels import Published, PublishFailure
from receiver.observability.metrics import Metrics
from receiver.publishing.jetstream import CONTROL_BYTES, MESSAGE_ID, JetStream, Message, StreamState
from receiver.publishing.outbox import Connect, Outbox, Rows

Refilling = Callable[[str, int], Awaitable[int]]
PAUSE_FIRST_S = 0.05
FAILURES: dict[type[ReceiverError], PublishFailure] = {
    StreamLostError: PublishFailure.LOST,
    DeposedError: PublishFailure.DEPOSED,
    NotAcknowledgedError: PublishFailure.TIMEOUT,
    DisconnectedError: PublishFailure.DISCONNECTED,
}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Sent:
    """What one run did."""

    leading: bool = True
    """False: another relay has the lock."""
    published: int = 0
    """Messages that are new in the feed."""
    kv: int = 0
    """Keys that were put."""
    marked: int = 0
    """Outbox rows that were published now, and are gone."""
    recovered: int = 0
    """Outbox rows that a former run had published, and are gone."""
    took_s: float = 0.0


@dataclass(slots=True)
class Tail:
    """Where the two streams end, as far as this relay knows; when it is wrong, the broker refuses what follows."""

    feed: StreamState
    feed_sequence: int
    kv_sequence: int
    connections: int
    """The broker that was looked at; after a reconnection it may have lost what it had."""


class Relay:
    """Publishes the outbox of one database: `run` until cancelled, or `run_once` again and again."""

    def __init__(
        self,
        connect: Connect,
        jetstream: JetStream,
        settings: Settings,
        metrics: Metrics,
        refill: Refilling | None = None,
    ) -> None:
        """`connect` opens a connection for the relay alone: the lock lives and dies with it.

        `refill` posts the whole ledger again, for the stream that it is told; how many messages that is. Without
        it, a stream that has lost everything stops the feed.
        """
        self._refill = refill
        self.trouble = ""
        """Why nothing is published now; empty while all is well. For /readyz."""
        self._jetstream = jetstream
        self._settings = settings
        self._metrics = metrics
        self._awake = asyncio.Event()
        self._outbox = Outbox(connect, settings, self._awake.set)
        self._tail: Tail | None = None
        self._cautious = False
        self._in_hand = False
        self._pause_s = PAUSE_FIRST_S
        self._backlog_due_s = 0.0

    async def run(self) -> None:
        """Publish until cancelled; then finish the batch in hand, close, and so free the lock."""
        try:
            while True:
                await self._rest(await self._run_once_guarded())
        finally:
            await self.close()

    async def run_once(self) -> Sent:
        """Become the relay, if nobody else is, and publish one batch.

        Raises OutboxError, DisconnectedError, NotAcknowledgedError, DeposedError and StreamRefusedError; after
        any of them the next run begins again from the stream's tail.
        """
        started_s = time.monotonic()
        try:
            led, leading = self._outbox.leading, await self._outbox.elect()
            if leading != led:
                log.info("this receiver is the relay now")
            self._metrics.relay_leader.set(leading)
            return await self._batch(started_s) if leading else Sent(leading=False)
        except BaseException as error:
            self._tail = None
            self._cautious = True
            if isinstance(error, OutboxError):
                self._step_down()
            raise
        finally:
            self._in_hand = False

    async def close(self) -> None:
        """Free the lock; harmless when it is not held."""
        try:
            await self._outbox.close()
        except OutboxError as error:
            log.debug("the relay's connection was cut", why=str(error))
        self._step_down()

    # One batch.

    async def _batch(self, started_s: float) -> Sent:
        await self._measure_backlog()
        recovered = 0
        if self._tail is None or self._tail.connections != self._jetstream.connections:
            self._tail, recovered = await self._begun()
        tail = self._tail
        self._awake.clear()  # before the look: whatever comes after it wakes us again
        # After trouble one row alone, so that a refusal says what it is about; of a chain only the last one can.
        rows = await self._outbox.next_rows(1 if self._cautious else self._settings.publish_batch_max)
        if not rows:
            self._metrics.outbox_messages.set(0)
            self._metrics.outbox_oldest_seconds.set(0)
            return Sent(recovered=recovered, took_s=time.monotonic() - started_s)
        self._in_hand = True
        published = await self._publish(rows, tail)
        kv = await self._put(rows, tail)
        await self._outbox.mark(rows, tail.feed.identity, tail.feed_sequence)
        took_s = time.monotonic() - started_s
        return Sent(published=published, kv=kv, marked=len(rows), recovered=recovered, took_s=took_s)

    async def _publish(self, rows: Rows, tail: Tail) -> int:
        """How many are new in the stream. One that the broker says it has already is as good as published."""
        started_s = time.monotonic()
        limit = tail.feed.message_bytes_max
        acknowledged = await self._jetstream.publish([_message(row, limit) for row in rows], tail.feed_sequence)
        tail.feed_sequence = acknowledged.last_sequence
        self._cautious = acknowledged.duplicate
        if acknowledged.duplicate:
            return 0
        self._metrics.publish_seconds.observe(time.monotonic() - started_s)
        self._metrics.published.labels(Published.FEED).inc(len(rows))
        now_s = time.time()
        for row in rows:
            self._metrics.publish_lag_seconds.observe(max(0.0, now_s - row["at"].timestamp()))
        return len(rows)

    async def _put(self, rows: Rows, tail: Tail) -> int:
        """Put the latest item of each key into the bucket; how many keys there were."""
        latest = {row["kv_key"]: row for row in rows if row["kv_key"] is not None}
        if not latest:
            return 0
        nonce = token_hex(8)  # what is put again must be taken again, so these ids are made anew each time
        ids = (f"{nonce}.{number}" for number in count())
        bytes_max = tail.feed.message_bytes_max
        chain = [self._kv_message(row, bytes_max, next(ids)) for row in latest.values()]
        tail.kv_sequence = (await self._jetstream.publish(chain, tail.kv_sequence)).last_sequence
        self._metrics.published.labels(Published.KV).inc(len(chain))
        return len(chain)

    def _kv_message(self, row: asyncpg.Record, bytes_max: int, message_id: str) -> Message:
        headers = {MESSAGE_ID: message_id}
        if row["kv_ended"]:
            headers["Nats-TTL"] = f"{self._settings.kv_ended_ttl_s}s"
        value = item_json(_fitting(row, bytes_max))
        return Message(f"$KV.{self._settings.kv_bucket}.{row['kv_key']}", headers, value)

    # The beginning, and the beginning again.

    async def _begun(self) -> tuple[Tail, int]:
        """The tails of both streams, and how many rows were found published there and marked.

        Raises StreamLostError when the stream lacks what it had acknowledged: then going on would leave a gap.
        """
        stream, sequence = await self._outbox.progress()  # before the look at the stream, which only grows
        connections = await self._jetstream.connected()
        feed = await self._jetstream.feed()
        bucket = await self._jetstream.bucket()
        tail = Tail(feed, feed.last_sequence, bucket.last_sequence, connections)
        if not stream:
            stream, sequence = await self._outbox.adopted(feed.identity, feed.last_sequence)
        if self._refill and feed.last_sequence == 0 and (stream != feed.identity or sequence):
            await self._rebuild(feed, self._refill)
            return tail, 0
        if stream != feed.identity:
            raise StreamLostError(
                f"stream {feed.identity} is not the one published to so far ({stream}): was it made anew?"
            )
        if feed.last_sequence < sequence:
            raise StreamLostError(f"stream {feed.name} ends at {feed.last_sequence}, but had acknowledged {sequence}")
        recovered = 0
        async for portion in self._jetstream.ids_after(feed, sequence):
            recovered += await self._recover(portion, tail)
        return tail, recovered

    async def _rebuild(self, feed: StreamState, refill: Refilling) -> None:
        """The stream has nothing at all: it was made anew, or its store was lost. The ledger has it all."""
        log.warning(
            "the stream is empty, but had acknowledged messages: it is rebuilt from the ledger", stream=feed.name
        )
        try:
            messages = await refill(feed.identity, feed.last_sequence)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
            raise OutboxError(f"PostgreSQL: {describe(error)}") from error
        log.info("the ledger waits to be published again", messages=messages)

    async def _recover(self, portion: list[tuple[int, str]], tail: Tail) -> int:
        """Mark those rows that the stream has; the bucket may lack them, so it is given them (again)."""
        rows = await self._outbox.rows_of([UUID(message_id) for _, message_id in portion if _is_uuid(message_id)])
        await self._put(rows, tail)
        await self._outbox.mark(rows, tail.feed.identity, portion[-1][0])
        return len(rows)

    async def _measure_backlog(self) -> None:
        if time.monotonic() < self._backlog_due_s:
            return
        self._backlog_due_s = time.monotonic() + self._settings.relay_sweep_s
        messages, oldest_at = await self._outbox.backlog()
        self._metrics.outbox_messages.set(messages)
        self._metrics.outbox_oldest_seconds.set(max(0.0, time.time() - oldest_at.timestamp()) if oldest_at else 0)

    # The loop.

    async def _run_once_guarded(self) -> Sent | None:
        """None when there was trouble, which has been told."""
        task = asyncio.create_task(self.run_once(), name="relay batch")
        try:
            sent = await asyncio.shield(task)
        except asyncio.CancelledError:
            await self._finish(task)
            raise
        except ReceiverError as error:
            self._in_trouble(error)
            return None
        except Exception:  # a bug must not stop the feed for ever: told with its trace, and begun again
            log.exception("the relay stumbled")
            return None
        self._out_of_trouble(sent)
        return sent

    async def _finish(self, batch: asyncio.Task[Sent]) -> None:
        """Wait for what is published to be marked; nothing else is worth waiting for."""
        if not self._in_hand:
            batch.cancel()
        await asyncio.wait([batch])
        if not batch.cancelled() and (error := batch.exception()):
            log.info("the last batch was not marked; the next relay will find it in the stream", why=str(error))

    async def _rest(self, sent: Sent | None) -> None:
        """Until there may be something to do. In trouble a wake-up does not count: that would be a hot loop."""
        if sent is None:
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(2 * self._pause_s, self._settings.relay_takeover_s)
        elif not sent.leading:
            await asyncio.sleep(self._settings.relay_takeover_s)
        elif sent.marked:
            # Under load many small batches would cost several times the CPU of a few larger ones.
            if sent.marked < self._settings.publish_batch_max:
                await asyncio.sleep(max(0.0, self._settings.relay_gather_s - sent.took_s))
        else:
            try:
                async with asyncio.timeout(self._settings.relay_sweep_s):
                    await self._awake.wait()
            except TimeoutError:
                return

    def _in_trouble(self, error: ReceiverError) -> None:
        """One line for each new trouble. A first DeposedError is none yet: the next run learns what is behind it."""
        if not isinstance(error, OutboxError):
            self._metrics.publish_failures.labels(FAILURES.get(type(error), PublishFailure.REFUSED)).inc()
        trouble = str(error) if isinstance(error, StreamRefusedError | OutboxError) else type(error).__doc__ or ""
        if trouble != self.trouble and not (isinstance(error, DeposedError) and not self.trouble):
            log.warning("nothing is published now", why=str(error))
        self.trouble = trouble

    def _out_of_trouble(self, sent: Sent) -> None:
        if self.trouble and sent.leading:
            log.info("publishing again")
        self.trouble = ""
        self._pause_s = PAUSE_FIRST_S

    def _step_down(self) -> None:
        if self._outbox.leading:
            log.info("this receiver is no longer the relay")
        self._outbox.drop()
        self._tail = None
        self._metrics.relay_leader.set(0)
        self._metrics.outbox_messages.set(0)
        self._metrics.outbox_oldest_seconds.set(0)


def _message(row: asyncpg.Record, bytes_max: int) -> Message:
    return Message(row["subject"], orjson.loads(row["headers"]), _fitting(row, bytes_max))


def _fitting(row: asyncpg.Record, bytes_max: int) -> bytes:
    """The payload, cut down when the broker would not take it whole: a message too large must not stop the feed."""
    payload: bytes = row["payload"].encode()
    payload_bytes_max = bytes_max - len(row["headers"]) - CONTROL_BYTES
    return payload if len(payload) <= payload_bytes_max else shortened(payload, payload_bytes_max)


def _is_uuid(text: str) -> bool:
    """Others may publish to the stream too; their ids are none of ours."""
    try:
        return bool(UUID(text))
    except ValueError:
        return False
