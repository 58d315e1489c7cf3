"""Sends callbacks: those of one line in order, those of different lines side by side, so that none blocks another.

Every one is written down for `/emulator/deliveries`, the last `KEPT_MAX` of them; faults of the delivery are done here.
This file must not know what the messages mean.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from random import Random
from typing import Any, Literal

import aiohttp
import structlog
from yarl import URL

from esc_lab.emulator.endpoint_model import Evidence
from esc_lab.emulator.evidence import NAMELESS, of_message
from esc_lab.emulator.injected_faults import Faults
from esc_lab.emulator.work_items import Work
from esc_lab.simulator.audit_log import Book
from esc_lab.simulator.delivery_faults import Performance, Sending, Sort
from esc_lab.simulator.esc_messages import Message
from esc_lab.simulator.expected_state import Fate
from receiver.errors import describe

log = structlog.get_logger()

KEPT_MAX = 1000
RETRY_PAUSE_S = 1.0
RETRY_PAUSE_S_MAX = 30.0
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
    state: State = "waiting"
    status: int = 0
    attempts: int = 0
    error: str = ""
    fault: str = ""
    at: str = ""
    """When it was due; RFC 3339."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Manner:
    """How callbacks are sent."""

    retries: int = 0
    timeout_s: float = 10.0
    time_scale: float = 1.0
    suspected: bool = True
    events_to: Literal["events", "callback"] = "events"


class Deliveries:
    """All callbacks of an emulator. `book` is for auditors."""

    def __init__(self, manner: Manner, faults: Faults, seed: str, book: Book | None = None) -> None:
        self.manner = manner
        self.faults = faults
        self.seed = seed
        self.book = book
        self.kept: deque[Delivery] = deque(maxlen=KEPT_MAX)
        self.counts: Counter[str] = Counter()
        """By state, and "not asked for": the request named no URL, or nobody has ever seen such a message."""
        self._numbers = itertools.count(1)
        self._tails: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sending: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    async def begin(self, *, local_address: str | None, ssl: Any = True) -> None:
        """Opens a new session; callbacks under way in an older one are lost."""
        await self.lose()
        if self._session is not None:
            await self._session.close()
        connector = aiohttp.TCPConnector(
            limit=0, limit_per_host=PER_HOST_MAX, ssl=ssl, local_addr=(local_address, 0) if local_address else None
        )
        # Of the target alone: waiting for one of PER_HOST_MAX connections is not its fault.
        timeout_s = self.manner.timeout_s
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeout_s, sock_read=timeout_s)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)

    async def lose(self) -> None:
        """Drops everything that is still to be sent; what became of it is still written into the book."""
        tasks = list(self._sending)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def end(self) -> None:
        """Closes the session."""
        await self.lose()
        if self._session is not None:
            await self._session.close()

    async def settled(self) -> None:
        """Until nothing is under way any more."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    def course(self, work: Work) -> Course:
        """For the callbacks of one work."""
        return Course(self, work)

    def url(self, work: Work, message: Message) -> str | None:
        """Where a message goes; None: nowhere."""
        if not self.manner.suspected and of_message(message.says) is Evidence.GUESSED:
            return None
        to_events = message.channel == "events" and self.manner.events_to == "events"
        return work.urls.events if to_events else work.urls.callback

    def new(self, work: Work, message: Message, url: str, fault: str) -> Delivery:
        """Written down."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        delivery = Delivery(
            next(self._numbers), work.operation.transaction, url, message.root, message.says, fault=fault, at=at
        )
        self.kept.append(delivery)
        return delivery

    def chain(self, line: str, job: Callable[[], Awaitable[None]], *, may_be_lost: bool = True) -> None:
        """Does the job when everything of the line before it is done."""
        before = self._tails.get(line)

        async def after() -> None:
            if before is not None:
                await asyncio.wait([before])
            await job()

        task = self.spawn(after(), may_be_lost=may_be_lost)
        self._tails[line] = task
        task.add_done_callback(lambda done: self._forget(line, done))

    def spawn(self, job: Coroutine[Any, Any, None], *, may_be_lost: bool = True) -> asyncio.Task[None]:
        """A task that is not forgotten."""
        task = asyncio.create_task(job)
        for tasks in (self._tasks, self._sending)[: 2 if may_be_lost else 1]:
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        return task

    def _forget(self, line: str, done: asyncio.Task[None]) -> None:
        if self._tails.get(line) is done:
            del self._tails[line]

    async def send(self, delivery: Delivery, message: Message) -> tuple[Fate, str]:
        """With retries; what became of it, and the receipt that the target gave."""
        fate: Fate = "lost"
        receipt = ""
        try:
            for attempt in range(self.manner.retries + 1):
                if attempt:
                    await asyncio.sleep(min(RETRY_PAUSE_S * 2 ** (attempt - 1), RETRY_PAUSE_S_MAX))
                delivery.attempts += 1
                told, receipt = await self._post(delivery, message)
                if fate == "unsure" and told == "kept" and self.book is not None:
                    self.book.truth.perhaps_repeated += 1
                fate = "unsure" if fate == "unsure" and told == "lost" else told
                if delivery.state == "delivered" or 400 <= delivery.status < 500:
                    break
        except asyncio.CancelledError:
            delivery.state = "lost"
            raise
        finally:
            self.counts[delivery.state] += 1
        if delivery.state != "delivered":
            # Not the whole URL: a path may end in a token.
            facts = delivery.as_dict() | {"url": str(URL(delivery.url).origin())}
            log.warning("callback not delivered", **facts)
        return fate, receipt

    async def _post(self, delivery: Delivery, message: Message) -> tuple[Fate, str]:
        assert self._session is not None  # begun
        delivery.status, delivery.error = 0, ""
        try:
            async with self._session.post(
                delivery.url, data=message.body, headers=message.headers, allow_redirects=False
            ) as response:
                await response.read()
                delivery.status = response.status
                receipt = response.headers.get("ESC-Receipt-Id", "")
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            delivery.state, delivery.error = "unreachable", describe(error)
            return "lost", ""
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            delivery.state, delivery.error = "unreachable", describe(error)
            return "unsure", ""
        delivery.state = "delivered" if 200 <= response.status < 300 else "refused"
        return _fate(response.status, bool(receipt)), receipt


def _fate(status: int, has_receipt: bool) -> Fate:
    if 200 <= status < 300 or (status == 400 and has_receipt):
        return "kept"
    return "unsure" if status >= 500 else "lost"


class Course:
    """The callbacks of one work: its faults, and what became of each, for the book."""

    def __init__(self, deliveries: Deliveries, work: Work) -> None:
        self._all = deliveries
        self._work = work
        self._sendings: list[Sending] = []
        self._fates: list[Fate | None] = []
        self._held: tuple[Sending, str] | None = None
        self._disordered = False
        self._rng = Random(f"{deliveries.seed}/{work.operation.transaction}")  # noqa: S311 -- must be repeatable
        self._late: list[asyncio.Task[None]] = []

    def say(self, position: int, message: Message) -> None:
        """This callback is due now."""
        url = self._all.url(self._work, message)
        if url is None:
            self._all.counts["not asked for"] += 1
            return
        faults, rng = self._all.faults, self._rng
        sending = Sending(position, "unknown" if message.says in NAMELESS else "real", message)
        if faults.happens("drop", rng):
            self._all.new(self._work, message, url, "drop").state = "dropped"
            self._all.counts["dropped"] += 1
        elif faults.happens("truncate", rng):
            cut = replace(message, body=message.body[: len(message.body) // 2])
            self._put(Sending(position, "malformed", cut), url, "truncate")
        elif faults.happens("delay", rng):
            self._disordered = True
            self._put(sending, url, "delay", delay_s=faults.delay_s * self._all.manner.time_scale)
        elif self._held is None and faults.happens("reorder", rng):
            self._held = sending, url
            return
        else:
            is_double = faults.happens("double", rng)
            self._put(sending, url)
            if is_double:
                twin: Sort = "duplicate" if sending.sort == "real" else "unknown"
                self._put(Sending(position, twin, message), url, "double")
        self._release()

    def close(self) -> None:
        """No more of it."""
        self._release(last=True)
        self._all.chain(self._work.line, self._note, may_be_lost=False)

    def _release(self, *, last: bool = False) -> None:
        if self._held is not None:
            (sending, url), self._held = self._held, None
            self._disordered = self._disordered or not last
            self._put(sending, url, "reorder")

    def _put(self, sending: Sending, url: str, fault: str = "", *, delay_s: float | None = None) -> None:
        delivery = self._all.new(self._work, sending.message, url, fault)
        index = len(self._sendings)
        self._sendings.append(sending)
        self._fates.append(None)
        if delay_s is None:
            self._all.chain(self._work.line, lambda: self._send(index, delivery))
        else:
            self._late.append(self._all.spawn(self._send(index, delivery, delay_s)))

    async def _send(self, index: int, delivery: Delivery, delay_s: float = 0.0) -> None:
        if delay_s:
            await asyncio.sleep(delay_s)
        sending = self._sendings[index]
        self._fates[index] = "unsure"
        fate, receipt = await self._all.send(delivery, sending.message)
        self._fates[index] = fate
        if self._all.book is not None and receipt:
            self._all.book.keep(receipt, self._work.operation, sending, delivery.status)

    async def _note(self) -> None:
        """Nothing of the line may be sent before what is late: the next work must not be overtaken by this one."""
        if self._late:
            await asyncio.wait(self._late)
        if self._all.book is not None and self._sendings:
            performance = Performance(self._work.operation, tuple(self._sendings), self._disordered)
            self._all.book.truth.note(performance, self._fates)


def counted(counts: Mapping[str, int]) -> dict[str, int]:
    """For JSON, in a fixed order."""
    return {name: counts[name] for name in sorted(counts)}
