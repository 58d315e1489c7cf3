"""The way of a callback on one screen: parse it, wait for a batch, write it, answer.

Callbacks that wait together are committed together; one that comes alone is committed at once. While PostgreSQL
writes one batch, the next is decided, if it is about other entities. What PostgreSQL does not take goes to the spool.
Must not know HTTP, nor how a callback is parsed, decided or written.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

import structlog

from receiver.config.settings import Settings
from receiver.errors import CannotKeepError
from receiver.ingest.repeats import Repeats
from receiver.model.entities import Decision
from receiver.model.envelope import Envelope
from receiver.model.notification import Outcome
from receiver.observability.labels import Refused
from receiver.observability.metrics import Metrics
from receiver.parsing.parsed_callback import EntityKey, ParsedCallback, read
from receiver.parsing.reading import Reading
from receiver.postgres.batch_writer import BatchWriter
from receiver.spool.router import SpoolRouter

log = structlog.get_logger()


class Accepted(NamedTuple):
    """A callback that is durable; a malformed one is, too."""

    receipt: UUID
    outcome: Outcome | None
    """None: it is in the spool, and is not decided yet."""
    rule: str
    reason: str


class Answer(Protocol):
    """Hears what became of a callback, once; a future is one."""

    def done(self) -> bool:
        """Whether nobody waits any more."""

    def set_result(self, result: Accepted, /) -> None:
        """It is durable."""

    def set_exception(self, exception: Exception, /) -> None:
        """It is not kept."""


class _Pending(NamedTuple):
    """A callback and the answer that its sender waits for."""

    callback: ParsedCallback
    answer: Answer
    accepted_s: float
    """By the monotonic clock."""


class Batcher:
    """Takes envelopes from many requests at once and commits them in batches."""

    def __init__(self, writer: BatchWriter, router: SpoolRouter, settings: Settings, metrics: Metrics) -> None:
        self._writer = writer
        self._router = router
        self._settings = settings
        self._metrics = metrics
        self._repeats = Repeats(settings.duplicate_window_s)
        self._queue: deque[_Pending] = deque()
        self._queued_bytes = 0
        """The size of all bodies in the queue."""
        self._batches_in_flight = 0
        self._keys_in_flight: set[EntityKey] = set()
        """The entities that the batches in flight are about."""
        self._wake_up = asyncio.Event()
        self._stopping = False

    async def accept(self, envelope: Envelope, reading: Reading | None = None) -> Accepted:
        """Returns when the callback is durable: committed in PostgreSQL, or on this machine's disk.

        `reading` is what was read of its body already. Raises CannotKeepError, and then it is not kept.
        """
        answer: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        self.begin(envelope, reading, answer)
        try:
            return await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled() and answer.exception():
                # The sender went away between the error and its answer, so that the caller does not count it.
                self._metrics.count_refused(Refused.CANNOT_KEEP)
            raise

    def begin(self, envelope: Envelope, reading: Reading | None, answer: Answer) -> None:
        """The same for an `answer` that is told, instead of a task that waits. Raises CannotKeepError, and then it is
        not told."""
        if self._stopping:
            raise CannotKeepError("the receiver is stopping")
        if self.full:
            raise CannotKeepError("too many callbacks are waiting (queue_callbacks_max, queue_bytes_max)")
        self._queue.append(_Pending(self._parse(envelope, reading), answer, time.monotonic()))
        self._queued_bytes += len(envelope.body)
        self._wake_up.set()

    @property
    def full(self) -> bool:
        """Whether the next callback would be turned away."""
        settings = self._settings
        return len(self._queue) >= settings.queue_callbacks_max or self._queued_bytes >= settings.queue_bytes_max

    def _parse(self, envelope: Envelope, reading: Reading | None) -> ParsedCallback:
        started_s = time.perf_counter()
        callback = read(envelope, self._settings.xml_depth_max, reading=reading)
        self._metrics.parse_seconds.observe(time.perf_counter() - started_s)
        if callback.notification and callback.notification.fingerprint:
            times = self._repeats.count(callback.notification.fingerprint, started_s)
            callback.body_is_spare = times > self._settings.duplicate_bodies_max
        return callback

    async def run(self) -> None:
        """Commit batches until stopped and the queue is empty. When cancelled, what is still queued is refused."""
        try:
            async with asyncio.TaskGroup() as batches:
                while self._queue or not self._stopping:
                    await self._wake_up.wait()
                    self._wake_up.clear()
                    while batch := self._next_batch():
                        decided = asyncio.Event()
                        batches.create_task(self._process(batch, decided))
                        await decided.wait()
        finally:
            self._stopping = True
            self._refuse(self._queue, CannotKeepError("the receiver was stopped before it could be kept"))
            self._queue.clear()

    def stop(self) -> None:
        """Take nothing more; `run` returns when all that was taken is answered."""
        self._stopping = True
        self._wake_up.set()

    def _next_batch(self) -> list[_Pending]:
        """The next batch; empty when it has to wait.

        A callback about an entity of a batch in flight stays queued, and so do later ones about the same entities:
        order holds, and no two batches wait for each other's rows.
        """
        if self._batches_in_flight >= self._settings.commits_max:
            return []
        batch: list[_Pending] = []
        skipped: list[_Pending] = []
        blocked_keys, bytes_left = set(self._keys_in_flight), self._settings.batch_bytes_max
        for _ in range(min(len(self._queue), self._settings.batch_callbacks_max)):
            callback = self._queue[0].callback
            bytes_left -= len(callback.envelope.body)
            if bytes_left < 0 and batch:
                break
            if blocked_keys.isdisjoint(keys := callback.entity_keys):
                batch.append(self._queue.popleft())
            else:
                skipped.append(self._queue.popleft())
                blocked_keys.update(keys)
        self._queue.extendleft(reversed(skipped))
        self._queued_bytes -= sum(len(pending.callback.envelope.body) for pending in batch)
        self._metrics.queue_callbacks.set(len(self._queue))
        return batch

    async def _process(self, batch: list[_Pending], decided: asyncio.Event) -> None:
        """Answer one batch, whatever goes wrong; `decided` is set when only PostgreSQL still has work with it."""
        self._metrics.batch_callbacks.observe(len(batch))
        keys = {key for pending in batch for key in pending.callback.entity_keys}
        self._batches_in_flight += 1
        self._keys_in_flight |= keys
        refusal = CannotKeepError("the receiver failed to keep it")
        try:
            await self._router.wait_until_decided()
            if self._router.direct:
                batch = await self._commit(batch, decided.set)
            if batch:
                await self._spool(batch)
                batch = []
        except CannotKeepError as error:
            refusal = error
        except Exception:
            log.exception("callbacks could not be kept", callbacks=len(batch))
        finally:
            self._refuse(batch, refusal)
            self._batches_in_flight -= 1
            self._keys_in_flight -= keys
            decided.set()
            self._wake_up.set()

    async def _commit(self, batch: Sequence[_Pending], on_decided: Callable[[], None]) -> list[_Pending]:
        """Write a batch to PostgreSQL; returns what it did not take."""
        with self._metrics.commit_seconds.time():
            waited_s = time.monotonic() - batch[0].accepted_s
            results = await self._writer.write([pending.callback for pending in batch], on_decided, waited_s)
        rest = []
        for pending, result in zip(batch, results, strict=True):
            if isinstance(result, Decision):
                self._acknowledge(pending, result)
            else:
                rest.append(pending)
        return rest

    async def _spool(self, batch: Sequence[_Pending]) -> None:
        """Write a batch to the spool. Raises CannotKeepError."""
        await self._router.spool([pending.callback for pending in batch])
        for callback, answer, _ in batch:
            outcome = Outcome.MALFORMED if callback.malformed else None
            if not answer.done():
                answer.set_result(Accepted(callback.envelope.receipt, outcome, "spooled", callback.malformed or ""))

    def _acknowledge(self, pending: _Pending, decision: Decision) -> None:
        """Count and answer in one step; a callback is counted also when its sender has gone."""
        envelope = pending.callback.envelope
        self._metrics.count_stored(envelope.source, pending.callback.family, decision.outcome)
        self._metrics.count_decision(decision)
        if not pending.answer.done():
            pending.answer.set_result(Accepted(envelope.receipt, decision.outcome, decision.rule, decision.reason))

    def _refuse(self, batch: Iterable[_Pending], error: CannotKeepError) -> None:
        """Raise the error where `accept` waits, whose caller counts it; it is counted here when nobody waits."""
        for _, answer, _ in batch:
            if answer.done():
                self._metrics.count_refused(Refused.CANNOT_KEEP)
            else:
                answer.set_exception(error)
