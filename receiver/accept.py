"""The way of a callback, on one screen: read it, wait with others, keep it, answer.

Those that wait together are committed together; one that comes alone is committed at once. What PostgreSQL does not
take is held in the spool (`drain`). Must not know HTTP, nor how a body is read (`parse`), judged (`lifecycle`) or
written (`store`, `spool`).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from receiver.drain import Drain
from receiver.entities import Decision
from receiver.envelope import Envelope
from receiver.errors import CannotKeepError
from receiver.keep import Keeper
from receiver.letter import Letter, read
from receiver.metrics import Metrics, Refused
from receiver.notification import Outcome
from receiver.settings import Settings

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the sender is told. It is kept: a malformed one too."""

    receipt: UUID
    outcome: Outcome | None
    """None: it is in the spool, and PostgreSQL has yet to judge it."""
    rule: str
    reason: str


Waiting = tuple[Letter, asyncio.Future[Accepted]]


class Acceptor:
    """Takes envelopes from many requests at once, and commits them in groups."""

    def __init__(self, keeper: Keeper, drain: Drain, settings: Settings, metrics: Metrics) -> None:
        self._keeper = keeper
        self._drain = drain
        self._settings = settings
        self._metrics = metrics
        self._waiting: deque[Waiting] = deque()
        self._awake = asyncio.Event()
        self._stopping = False

    async def accept(self, envelope: Envelope) -> Accepted:
        """Returns when the callback is durable: committed in PostgreSQL, or on this machine's disk.

        Raises CannotKeepError, and then it is not kept.
        """
        if self._stopping:
            raise CannotKeepError("the receiver is stopping")
        if len(self._waiting) >= self._settings.queue_callbacks_max:
            raise CannotKeepError("too many callbacks are waiting (queue_callbacks_max)")
        kept: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._read(envelope), kept))
        self._awake.set()
        try:
            return await kept
        except asyncio.CancelledError:
            if kept.done() and not kept.cancelled() and kept.exception():
                self._metrics.refuse(Refused.CANNOT_KEEP)  # the sender was given up in the moment it was to be told
            raise

    async def run(self) -> None:
        """Commit what waits, until stopped and nothing waits any more. When cancelled, what still waits is refused."""
        try:
            while self._waiting or not self._stopping:
                await self._awake.wait()
                self._awake.clear()
                while self._waiting:
                    await self._keep(self._take())
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
        return len(self._waiting) >= self._settings.queue_callbacks_max

    def _read(self, envelope: Envelope) -> Letter:
        started_s = time.perf_counter()
        letter = read(envelope, self._settings.xml_depth_max)
        self._metrics.parse_seconds.observe(time.perf_counter() - started_s)
        return letter

    def _take(self) -> list[Waiting]:
        count = min(len(self._waiting), self._settings.batch_callbacks_max)
        batch = [self._waiting.popleft() for _ in range(count)]
        self._metrics.queue_callbacks.set(len(self._waiting))
        self._metrics.batch_callbacks.observe(count)
        return batch

    async def _keep(self, batch: list[Waiting]) -> None:
        """Answer all of a batch, whatever goes wrong: what neither PostgreSQL nor the spool took is refused."""
        error = CannotKeepError("the receiver failed to keep it")
        try:
            if self._drain.direct:
                batch = await self._commit(batch)
            if batch:
                await self._hold(batch)
                batch = []
        except CannotKeepError as told:
            error = told
        except Exception:
            log.exception("callbacks could not be kept", callbacks=len(batch))
        finally:
            self._refuse(batch, error)

    async def _commit(self, batch: Sequence[Waiting]) -> list[Waiting]:
        """The direct way; what PostgreSQL did not take."""
        started_s = time.perf_counter()
        kept = await self._keeper.keep([letter for letter, _ in batch])
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
        await self._drain.hold([letter for letter, _ in batch])
        for letter, waiter in batch:
            outcome = Outcome.MALFORMED if letter.malformed else None
            if not waiter.done():
                waiter.set_result(Accepted(letter.envelope.receipt, outcome, "spooled", letter.malformed or ""))

    def _refuse(self, batch: Iterable[Waiting], error: CannotKeepError) -> None:
        """Whoever waits is told, and counts it; where nobody waits any more, it is counted here."""
        for _, waiter in batch:
            if waiter.done():
                self._metrics.refuse(Refused.CANNOT_KEEP)
            else:
                waiter.set_exception(error)

    def _answer(self, letter: Letter, waiter: asyncio.Future[Accepted], decision: Decision) -> None:
        """Count and answer in one step; a sender that has gone is still counted."""
        envelope = letter.envelope
        self._metrics.kept(envelope.source, letter.family, decision.outcome)
        for transition, _ in decision.transitions:
            self._metrics.moved(transition.entity, transition.to_state)
        if not waiter.done():
            waiter.set_result(Accepted(envelope.receipt, decision.outcome, decision.rule, decision.reason))
