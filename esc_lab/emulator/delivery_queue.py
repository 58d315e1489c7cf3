"""Sends callbacks: those of work with one key in order, others side by side, so that no target blocks another.

The last `KEPT_MAX` are listed by `/emulator/deliveries`; faults of the delivery are injected here. This file must not
know what the messages mean.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from random import Random
from typing import Any, Literal

import aiohttp
import structlog
from yarl import URL

from esc_lab.emulator.endpoint_model import UNPUBLISHED, evidence_of
from esc_lab.emulator.models import Evidence
from esc_lab.emulator.options import Options
from esc_lab.emulator.work_items import Work
from esc_lab.simulator.audit_log import AuditLog
from esc_lab.simulator.delivery_faults import PlannedDelivery, Sending, Sort
from esc_lab.simulator.esc_messages import Message
from esc_lab.simulator.expected_state import Fate
from esc_lab.simulator.posting import Answer, Retries, post

log = structlog.get_logger()

KEPT_MAX = 1000
RETRY_PAUSE_S, RETRY_PAUSE_S_MAX = 1.0, 30.0
PER_HOST_MAX = 64
"""Connections to one target: one that never answers must not take those of others."""
State = Literal["waiting", "delivered", "refused", "unreachable", "dropped", "lost"]


@dataclass(slots=True)
class Delivery:
    """One callback on its way. `status` 0: no answer came."""

    number: int
    transaction: str
    url: str
    root: str
    says: str
    """Stage or event type."""
    state: State = "waiting"
    status: int = 0
    attempts: int = 0
    error: str = ""
    fault: str = ""
    at: str = ""
    """When it was due; RFC 3339."""


@dataclass(slots=True)
class Deliveries:
    """All callbacks of an emulator."""

    options: Options
    seed: str
    audit_log: AuditLog | None = None
    kept: deque[Delivery] = field(default_factory=lambda: deque(maxlen=KEPT_MAX))
    counts: Counter[str] = field(default_factory=Counter)
    """By state, and "not asked for": the request named no URL, or only suspected messages are switched off."""
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _last: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    """The last task of each key."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _sending: set[asyncio.Task[None]] = field(default_factory=set)
    _session: aiohttp.ClientSession | None = None

    async def begin(self, *, local_address: str | None, ssl: Any = True) -> None:
        """Opens a new session; callbacks under way in an older one are lost."""
        connector = aiohttp.TCPConnector(
            limit=0, limit_per_host=PER_HOST_MAX, ssl=ssl, local_addr=(local_address, 0) if local_address else None
        )
        # Of the target alone: waiting for one of PER_HOST_MAX connections is not its fault.
        timeout_s = self.options.callback_timeout_s
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeout_s, sock_read=timeout_s)
        older, self._session = self._session, aiohttp.ClientSession(connector=connector, timeout=timeout)
        await self._lose(older)  # what comes up meanwhile goes by the new one

    async def end(self) -> None:
        """Drops everything that is still to be sent (the audit log still takes it), and closes the session."""
        await self._lose(self._session)

    async def _lose(self, session: aiohttp.ClientSession | None) -> None:
        tasks, waiting = list(self._sending), [one for one in self.kept if one.state == "waiting"]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for delivery in waiting:
            if delivery.state == "waiting":  # it had not come to its turn
                delivery.state = "lost"
                self.counts["lost"] += 1
        if session is not None:
            await session.close()

    async def settled(self) -> None:
        """Until nothing is under way any more."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    def queue(self, work: Work) -> DeliveryQueue:
        """For the callbacks of one work."""
        rng = Random(f"{self.seed}/{work.operation.transaction}")  # noqa: S311 -- must be repeatable
        return DeliveryQueue(self, work, rng)

    def url(self, work: Work, message: Message) -> str | None:
        """Where a message goes; None: nowhere."""
        if not self.options.habits.suspected and evidence_of(message.event) is Evidence.GUESSED:
            return None
        to_events = message.channel == "events" and self.options.habits.events_to == "events"
        return work.urls.events if to_events else work.urls.callback

    def new(self, work: Work, message: Message, url: str, fault: str) -> Delivery:
        """A delivery, listed among the last."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        transaction = work.operation.transaction
        delivery = Delivery(next(self._numbers), transaction, url, message.root, message.event, fault=fault, at=at)
        self.kept.append(delivery)
        return delivery

    def chain(self, key: str, job: Callable[[], Awaitable[None]], *, may_be_lost: bool = True) -> None:
        """Does the job when everything of the key before it is done."""
        before = self._last.get(key)

        async def after() -> None:
            if before is not None:
                await asyncio.wait([before])
            await job()

        def forget(done: asyncio.Task[None]) -> None:
            if self._last.get(key) is done:
                del self._last[key]

        self._last[key] = task = self.spawn(after(), may_be_lost=may_be_lost)
        task.add_done_callback(forget)

    def spawn(self, job: Coroutine[Any, Any, None], *, may_be_lost: bool = True) -> asyncio.Task[None]:
        """A task that `settled` waits for and that, unless it must not be lost, `end` cancels."""
        task = asyncio.create_task(job)
        for tasks in (self._tasks, self._sending)[: 2 if may_be_lost else 1]:
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        return task

    async def send(self, delivery: Delivery, message: Message) -> tuple[Fate, str]:
        """With retries; the fate of the message, and the receipt that the target gave."""
        assert self._session is not None  # begun
        session = self._session

        async def attempt() -> Answer:
            delivery.attempts += 1
            answer = await post(session, delivery.url, message, redirects=False)
            delivery.status, delivery.error = answer.status, answer.error
            delivery.state = "delivered" if answer.is_success else "refused" if answer.status else "unreachable"
            return answer

        try:
            retries = Retries(self.options.retries, RETRY_PAUSE_S, RETRY_PAUSE_S_MAX)
            fate, answer = await retries.deliver(attempt, asyncio.sleep, self.audit_log)
        except asyncio.CancelledError:
            delivery.state = "lost"
            raise
        finally:
            self.counts[delivery.state] += 1
        if delivery.state != "delivered":
            # Not the whole URL: a path may end in a token.
            facts = asdict(delivery) | {"url": str(URL(delivery.url).origin())}
            log.warning("callback not delivered", **facts)
        return fate, answer.receipt


@dataclass(slots=True)
class DeliveryQueue:
    """The callbacks of one work: injects faults, and records the fate of each in the audit log."""

    _all: Deliveries
    _work: Work
    _rng: Random
    _sendings: list[Sending] = field(default_factory=list)
    _fates: list[Fate | None] = field(default_factory=list)
    _held_back: tuple[Sending, str] | None = None
    """By the fault `reorder`, until the next is sent; and its URL."""
    _reordered: bool = False
    _delayed: list[asyncio.Task[None]] = field(default_factory=list)

    def add(self, position: int, message: Message) -> None:
        """This callback is due now."""
        url = self._all.url(self._work, message)
        if url is None:
            self._all.counts["not asked for"] += 1
            return
        sending = Sending(position, "unknown" if message.event in UNPUBLISHED else "real", message)
        if self._happens("drop"):
            self._all.new(self._work, message, url, "drop").state = "dropped"
            self._all.counts["dropped"] += 1
        elif self._happens("truncate"):
            cut = replace(message, body=message.body[: len(message.body) // 2])
            self._put(Sending(position, "malformed", cut), url, "truncate")
        elif self._happens("delay"):
            self._reordered = True
            self._put(sending, url, "delay", delay_s=self._all.options.faults.delay_s * self._all.options.time_scale)
        elif self._held_back is None and self._happens("reorder"):
            self._held_back = sending, url
            return
        else:
            is_double = self._happens("double")
            self._put(sending, url)
            if is_double:
                twin: Sort = "duplicate" if sending.sort == "real" else "unknown"
                self._put(Sending(position, twin, message), url, "double")
        self._send_held_back()

    def close(self) -> None:
        """No more callbacks of this work."""
        self._send_held_back(is_last=True)
        self._all.chain(self._work.key, self._record, may_be_lost=False)

    def _happens(self, fault: str) -> bool:
        return self._all.options.faults.happens(fault, self._rng)

    def _send_held_back(self, *, is_last: bool = False) -> None:
        if self._held_back is not None:
            (sending, url), self._held_back = self._held_back, None
            self._reordered = self._reordered or not is_last
            self._put(sending, url, "reorder")

    def _put(self, sending: Sending, url: str, fault: str = "", *, delay_s: float | None = None) -> None:
        delivery = self._all.new(self._work, sending.message, url, fault)
        index = len(self._sendings)
        self._sendings.append(sending)
        self._fates.append(None)
        if delay_s is None:
            self._all.chain(self._work.key, lambda: self._send(index, delivery))
        else:
            self._delayed.append(self._all.spawn(self._send(index, delivery, delay_s)))

    async def _send(self, index: int, delivery: Delivery, delay_s: float = 0.0) -> None:
        await asyncio.sleep(delay_s)
        sending = self._sendings[index]
        self._fates[index] = "unsure"
        self._fates[index], receipt = await self._all.send(delivery, sending.message)
        if self._all.audit_log is not None and receipt:
            self._all.audit_log.add_receipt(receipt, self._work.operation, sending, delivery.status)

    async def _record(self) -> None:
        """Waits for what is delayed, for the next work with the key must not be overtaken by this one."""
        if self._delayed:
            await asyncio.wait(self._delayed)
        if self._all.audit_log is not None and self._sendings:
            delivery = PlannedDelivery(self._work.operation, tuple(self._sendings), self._reordered)
            self._all.audit_log.expected.record(delivery, self._fates)
