"""The relay: outbox → JetStream, in order, each message once, deleted after the acknowledgement.

One relay works at a time, by a lock (`outbox`); a standby takes over within seconds. The lock is no fence: a paused
relay does not know that it lost it. So every message names what it must follow in the stream (`jetstream`), and the
broker lets only one relay through. What was published but not marked lies behind `relay.stream_sequence`: after a
start and after any trouble it is read from the stream's tail and marked, not published again. That needs no duplicate
window, so no outage is too long for it.

One batch: feed acknowledged → KV bucket acknowledged → rows deleted and the sequence stored, in one transaction.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from receiver.config.settings import Settings
from receiver.errors import (
    DeposedError,
    DisconnectedError,
    LedgerBehindError,
    NotAcknowledgedError,
    OutboxError,
    ReceiverError,
    StreamLostError,
    StreamRefusedError,
    StreamTakenError,
)
from receiver.events.cloudevents import BucketRow
from receiver.observability.labels import Published, PublishFailure
from receiver.observability.metrics import Metrics
from receiver.publishing.comparison import Comparison
from receiver.publishing.jetstream import JetStream
from receiver.publishing.ledger_behind import require_ledger_ahead
from receiver.publishing.messages import feed_message, kv_messages
from receiver.publishing.outbox import Connect, Outbox, Progress, Rows
from receiver.publishing.repair import Repair
from receiver.publishing.strangers import Strangers
from receiver.publishing.stream_end import Loss, Tail, loss_of, owned_feed
from receiver.publishing.stream_setup import StreamState

PAUSE_FIRST_S = 0.05
FAILURES: dict[type[ReceiverError], PublishFailure] = {
    StreamLostError: PublishFailure.LOST,
    StreamTakenError: PublishFailure.TAKEN,
    LedgerBehindError: PublishFailure.BEHIND,
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


class Relay:
    """Publishes the outbox of one database: `run` until cancelled, or `run_once` again and again."""

    def __init__(
        self,
        connect: Connect,
        jetstream: JetStream,
        settings: Settings,
        metrics: Metrics,
        repair: Repair | None = None,
    ) -> None:
        """`connect` opens a connection for the relay alone: the lock lives and dies with it.

        Without `repair`, a stream that has lost what it had acknowledged stops the feed.
        """
        self.trouble = ""
        """Why nothing is published now; empty while all is well. For /readyz."""
        self._repair = repair
        self._jetstream = jetstream
        self._settings = settings
        self._metrics = metrics
        self._awake = asyncio.Event()
        self._outbox = Outbox(connect, settings, self._awake.set)
        self._tail: Tail | None = None
        self._one_by_one = False
        """After trouble one row alone is published, so that a refusal says what it is about."""
        self._is_publishing = False
        """A batch may be in the stream and not be marked yet."""
        self._pause_s = PAUSE_FIRST_S
        self._backlog_due_s = 0.0
        self._found: Comparison | None = None
        """What a comparison with the ledger found missing, to be published again."""
        self._strangers = Strangers(metrics)

    @property
    def leads(self) -> bool:
        """Whether this is the relay now."""
        return self._outbox.leading

    def mend(self, found: Comparison) -> None:
        """Publish again what is missing, before anything else, if this is still the relay then."""
        self._found = found
        self._awake.set()

    async def run(self) -> None:
        """Publish until cancelled; then finish the batch that is being published, close, and so free the lock."""
        try:
            while True:
                await self._wait(await self._run_once_guarded())
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
            self._one_by_one = True
            if isinstance(error, OutboxError):
                self._step_down()
            raise
        finally:
            self._is_publishing = False

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
            self._tail, recovered = await self._find_tail()
        tail = self._tail
        if self._found and self._repair:
            await self._repair.close_holes(self._found)
            self._found = None
        self._awake.clear()  # before the look: whatever comes after it wakes us again
        rows = await self._outbox.next_rows(1 if self._one_by_one else self._settings.publish_batch_max)
        if not rows:
            self._report_backlog(0, 0.0)
            return Sent(recovered=recovered, took_s=time.monotonic() - started_s)
        self._is_publishing = True
        published = await self._publish(rows, tail)
        kv = await self._put(rows, tail)
        await self._outbox.mark(rows, tail.feed.identity, tail.feed_sequence, tail.feed_message_id, tail.kv_sequence)
        took_s = time.monotonic() - started_s
        return Sent(published=published, kv=kv, marked=len(rows), recovered=recovered, took_s=took_s)

    async def _publish(self, rows: Rows, tail: Tail) -> int:
        """How many are new in the stream. One that the broker says it has already is as good as published."""
        started_s = time.monotonic()
        limit, prefix = tail.feed.message_bytes_max, self._settings.subject_prefix
        chain = [feed_message(row, limit, prefix) for row in rows]
        acknowledged = await self._jetstream.publish(chain, tail.feed_sequence)
        self._one_by_one = acknowledged.duplicate
        if acknowledged.duplicate:
            return 0
        tail.feed_sequence, tail.feed_message_id = acknowledged.last_sequence, chain[-1].id
        self._metrics.publish_seconds.observe(time.monotonic() - started_s)
        self._metrics.published.labels(Published.FEED).inc(len(rows))
        now_s = time.time()
        for row in rows:
            self._metrics.publish_lag_seconds.observe(max(0.0, now_s - row["at"].timestamp()))
        return len(rows)

    async def _put(self, rows: Rows | Sequence[Mapping[str, Any]], tail: Tail) -> int:
        """Put the latest item of each key into the bucket; how many keys there were."""
        chain = kv_messages(rows, tail.feed.message_bytes_max, self._settings)
        if chain:
            tail.kv_sequence = (await self._jetstream.publish(chain, tail.kv_sequence)).last_sequence
            self._metrics.published.labels(Published.KV).inc(len(chain))
        return len(chain)

    # Where the streams end.

    async def _find_tail(self) -> tuple[Tail, int]:
        """The tails of both streams, and how many rows were found published there and marked.

        Raises StreamTakenError for another database's stream, and StreamLostError for one that cannot be mended here.
        """
        progress = await self._outbox.progress()  # before the look at the stream, which only grows
        connections = await self._jetstream.connected()
        feed = await owned_feed(self._outbox, self._jetstream, progress)
        bucket = await self._jetstream.bucket(progress.database_id)
        if not progress.stream:
            progress = await self._outbox.adopt(feed.identity, feed.last_sequence)
        tail = Tail(feed, feed.last_sequence, progress.message_id, bucket.last_sequence, connections)
        if self._repair and bucket.last_sequence < progress.bucket_sequence:
            await self._repair.put_all_again(bucket, progress.bucket_sequence, partial(self._put_items, tail))
            await self._outbox.refilled(tail.kv_sequence)
        match await loss_of(self._jetstream, feed, progress):
            case Loss.EMPTIED:
                await self._to_repair(feed, progress).publish_all_again(feed)
                return tail, 0
            case Loss.CUT_SHORT:
                return tail, await self._fill_up(tail, progress)
        if progress.stream != feed.identity:
            await self._outbox.rename(feed.identity)
        return tail, await self._recover(tail, feed.identity, progress.sequence)

    def _to_repair(self, feed: StreamState, progress: Progress) -> Repair:
        if self._repair is None:
            raise StreamLostError(
                f"stream {feed.name} ends at {feed.last_sequence}, but had acknowledged {progress.sequence}"
            )
        return self._repair

    async def _put_items(self, tail: Tail, rows: Sequence[BucketRow]) -> int:
        await self._outbox.elect()
        return await self._put([row._asdict() for row in rows], tail)

    async def _fill_up(self, tail: Tail, progress: Progress) -> int:
        feed, repair = tail.feed, self._to_repair(tail.feed, progress)
        recovered = await self._recover(tail, progress.stream, min(progress.sequence, feed.last_sequence))
        await repair.fill_up(feed, progress.sequence, self._outbox.elect)
        tail.feed_message_id = await self._jetstream.id_at(feed, feed.last_sequence)
        await self._outbox.fall_back(feed.identity, feed.last_sequence, tail.feed_message_id)
        return recovered

    async def _recover(self, tail: Tail, stream: str, sequence: int) -> int:
        """Mark the rows that the stream has behind `sequence`; how many. `stream` is how it is remembered now.

        The bucket may lack them, so it is given them (again). Whatever else stands there is another publisher's.
        """
        recovered = 0
        async for portion in self._jetstream.ids_after(tail.feed, sequence):
            rows = await self._outbox.rows_of([message.uuid for message in portion if message.uuid])
            ours = {row["id"] for row in rows}
            await require_ledger_ahead(self._outbox, [message for message in portion if message.uuid not in ours])
            await self._put(rows, tail)
            tail.feed_message_id = portion[-1].id
            await self._outbox.mark(rows, stream, portion[-1].sequence, tail.feed_message_id, tail.kv_sequence)
            recovered += len(rows)
            self._strangers.count(message.subject for message in portion if message.uuid not in ours)
        return recovered

    async def _measure_backlog(self) -> None:
        if time.monotonic() < self._backlog_due_s:
            return
        self._backlog_due_s = time.monotonic() + self._settings.relay_sweep_s
        messages, oldest_at = await self._outbox.backlog()
        self._report_backlog(messages, max(0.0, time.time() - oldest_at.timestamp()) if oldest_at else 0.0)

    def _report_backlog(self, messages: int, oldest_s: float) -> None:
        self._metrics.outbox_messages.set(messages)
        self._metrics.outbox_oldest_seconds.set(oldest_s)

    # The loop.

    async def _run_once_guarded(self) -> Sent | None:
        """None when there was trouble, which was logged."""
        task = asyncio.create_task(self.run_once(), name="relay batch")
        try:
            sent = await asyncio.shield(task)
        except asyncio.CancelledError:
            await self._finish(task)
            raise
        except ReceiverError as error:
            self._report_trouble(error)
            return None
        except Exception:  # a bug must not stop the feed for ever: it is logged, and the run begins again
            log.exception("the relay stumbled")
            return None
        self._clear_trouble(sent)
        return sent

    async def _finish(self, batch: asyncio.Task[Sent]) -> None:
        """Wait until what is published is marked; nothing else is worth waiting for."""
        if not self._is_publishing:
            batch.cancel()
        await asyncio.wait([batch])
        if not batch.cancelled() and (error := batch.exception()):
            log.info("the last batch was not marked; the next relay will find it in the stream", why=str(error))

    async def _wait(self, sent: Sent | None) -> None:
        """Until there may be something to do. In trouble a wake-up does not count: that would be a hot loop."""
        if sent is None:
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(max(PAUSE_FIRST_S, 2 * self._pause_s), self._settings.relay_takeover_s)
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

    def _report_trouble(self, error: ReceiverError) -> None:
        """One line for each new trouble. A first DeposedError is not one yet: the next run finds out why, at once."""
        if isinstance(error, DeposedError) and not self.trouble:
            self._pause_s = 0.0
        if not isinstance(error, OutboxError):
            self._metrics.publish_failures.labels(FAILURES.get(type(error), PublishFailure.REFUSED)).inc()
        trouble = str(error) if isinstance(error, StreamRefusedError | OutboxError) else type(error).__doc__ or ""
        if trouble != self.trouble and not (isinstance(error, DeposedError) and not self.trouble):
            log.warning("nothing is published now", why=str(error))
        self.trouble = trouble

    def _clear_trouble(self, sent: Sent) -> None:
        if self.trouble and sent.leading:
            log.info("publishing again")
        self.trouble = ""
        self._pause_s = PAUSE_FIRST_S

    def _step_down(self) -> None:
        if self._outbox.leading:
            log.info("this receiver is no longer the relay")
        self._outbox.drop()
        self._tail = self._found = None
        self._metrics.relay_leader.set(0)
        self._report_backlog(0, 0.0)
