"""The way of a callback, on one screen: read it, wait with others, keep it, answer.

Those that wait together are committed together; one that comes alone is committed at once. While PostgreSQL writes
one group, the next is judged, if it is about other things. What PostgreSQL does not take is held in the spool
(`drain`). Must not know HTTP, nor how a body is read (`parse`), judged (`lifecycle`) or written (`store`, `spool`).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from receiver.config.settings import Settings
from receiver.errors import CannotKeepError
from receiver.model.entities import Decision
from receiver.model.envelope import Envelope
from receiver.model.notification import Outcome
from receiver.observability.labels import Refused
from receiver.observability.metrics import Metrics
from receiver.parsing.parsed_callback import EntityKey, ParsedCallback, read
from receiver.postgres.batch_writer import BatchWriter
from receiver.spool.router import SpoolRouter

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the sender is told. It is kept: a malformed one too."""

    receipt: UUID
    outcome: Outcome | None
    """None: it is in the spool, and PostgreSQL has yet to judge it."""
    rule: str
    reason: str


Waiting = tuple[ParsedCallback, asyncio.Future[Accepted]]


class Batcher:
    """Takes envelopes from many requests at once, and commits them in groups."""

    def __init__(self, keeper: BatchWriter, drain: SpoolRouter, settings: Settings, metrics: Metrics) -> None:
        self._keeper = keeper
        self._drain = drain
        self._settings = settings
        self._metrics = metrics
        self._waiting: deque[Waiting] = deque()
        self._waiting_bytes = 0
        """Of their bodies."""
        self._on_their_way = 0
        """Groups that are not answered yet."""
        self._busy: set[EntityKey] = set()
        """What they are about."""
        self._awake = asyncio.Event()
        self._stopping = False

    async def accept(self, envelope: Envelope) -> Accepted:
        """Returns when the callback is durable: committed in PostgreSQL, or on this machine's disk.

        Raises CannotKeepError, and then it is not kept.
        """
        if self._stopping:
            raise CannotKeepError("the receiver is stopping")
        if self.full:
            raise CannotKeepError("too many callbacks are waiting (queue_callbacks_max, queue_bytes_max)")
        kept: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._read(envelope), kept))
        self._waiting_bytes += len(envelope.body)
        self._awake.set()
        try:
            return await kept
        except asyncio.CancelledError:
            if kept.done() and not kept.cancelled() and kept.exception():
                # The sender went away between the error and its answer, so that the caller does not count it.
                self._metrics.count_refused(Refused.CANNOT_KEEP)
            raise

    async def run(self) -> None:
        """Commit what waits, until stopped and nothing waits any more. When cancelled, what still waits is refused."""
        try:
            async with asyncio.TaskGroup() as commits:
                while self._waiting or not self._stopping:
                    await self._awake.wait()
                    self._awake.clear()
                    while batch := self._take():
                        judged = asyncio.Event()
                        commits.create_task(self._send(batch, judged))
                        await judged.wait()
        finally:
            self._stopping = True
            self._refuse(self._waiting, CannotKeepError("the receiver was stopped before it could be kept"))
            self._waiting.clear()

    def stop(self) -> None:
        """Take nothing more; `run` returns when all that was taken is answered."""
        self._stopping = True
        self._awake.set()

    @property
    def full(self) -> bool:
        """Whether the next callback would be turned away."""
        settings = self._settings
        return len(self._waiting) >= settings.queue_callbacks_max or self._waiting_bytes >= settings.queue_bytes_max

    def _read(self, envelope: Envelope) -> ParsedCallback:
        started_s = time.perf_counter()
        letter = read(envelope, self._settings.xml_depth_max)
        self._metrics.parse_seconds.observe(time.perf_counter() - started_s)
        return letter

    def _take(self) -> list[Waiting]:
        """The next group, or none for now. What is about the same as a group on its way stays, and so does what came
        after that about the same: order holds, and no two groups wait for each other's rows."""
        if self._on_their_way >= self._settings.commits_max:
            return []
        batch: list[Waiting] = []
        passed: list[Waiting] = []
        busy, room = set(self._busy), self._settings.batch_bytes_max
        for _ in range(min(len(self._waiting), self._settings.batch_callbacks_max)):
            letter = self._waiting[0][0]
            if (room := room - len(letter.envelope.body)) < 0 and batch:
                break
            if busy.isdisjoint(about := letter.entity_keys):
                batch.append(self._waiting.popleft())
            else:
                passed.append(self._waiting.popleft())
                busy.update(about)
        self._waiting.extendleft(reversed(passed))
        self._waiting_bytes -= sum(len(letter.envelope.body) for letter, _ in batch)
        self._metrics.queue_callbacks.set(len(self._waiting))
        return batch

    async def _send(self, batch: list[Waiting], judged: asyncio.Event) -> None:
        """See one group through; `judged` is set when nothing but PostgreSQL has work with it any more."""
        self._metrics.batch_callbacks.observe(len(batch))
        about = {thing for letter, _ in batch for thing in letter.entity_keys}
        self._on_their_way += 1
        self._busy |= about
        try:
            await self._keep(batch, judged.set)
        finally:
            self._on_their_way -= 1
            self._busy -= about
            judged.set()
            self._awake.set()

    async def _keep(self, batch: list[Waiting], judged: Callable[[], None]) -> None:
        """Answer all of a batch, whatever goes wrong: what neither PostgreSQL nor the spool took is refused."""
        error = CannotKeepError("the receiver failed to keep it")
        try:
            await self._drain.wait_until_decided()
            if self._drain.direct:
                batch = await self._commit(batch, judged)
            if batch:
                await self._hold(batch)
                batch = []
        except CannotKeepError as told:
            error = told
        except Exception:
            log.exception("callbacks could not be kept", callbacks=len(batch))
        finally:
            self._refuse(batch, error)

    async def _commit(self, batch: Sequence[Waiting], judged: Callable[[], None]) -> list[Waiting]:
        """The direct way; what PostgreSQL did not take."""
        started_s = time.perf_counter()
        kept = await self._keeper.write([letter for letter, _ in batch], judged)
        self._metrics.commit_seconds.observe(time.perf_counter() - started_s)
        rest = []
        for waiting, what in zip(batch, kept, strict=True):
            if isinstance(what, Decision):
                self._answer(*waiting, what)
            else:
                rest.append(waiting)
        return rest

    async def _hold(self, batch: Sequence[Waiting]) -> None:
        """The way of the spool. Raises CannotKeepError."""
        await self._drain.spool([letter for letter, _ in batch])
        for letter, waiter in batch:
            outcome = Outcome.MALFORMED if letter.malformed else None
            if not waiter.done():
                waiter.set_result(Accepted(letter.envelope.receipt, outcome, "spooled", letter.malformed or ""))

    def _refuse(self, batch: Iterable[Waiting], error: CannotKeepError) -> None:
        """Whoever waits is told, and counts it; where nobody waits any more, it is counted here."""
        for _, waiter in batch:
            if waiter.done():
                self._metrics.count_refused(Refused.CANNOT_KEEP)
            else:
                waiter.set_exception(error)

    def _answer(self, letter: ParsedCallback, waiter: asyncio.Future[Accepted], decision: Decision) -> None:
        """Count and answer in one step; a sender that has gone is still counted."""
        envelope = letter.envelope
        self._metrics.count_stored(envelope.source, letter.family, decision.outcome)
        self._metrics.count_decision(decision)
        if not waiter.done():
            waiter.set_result(Accepted(envelope.receipt, decision.outcome, decision.rule, decision.reason))
