"""Sends the traffic over HTTP: at a rate, many lives side by side, each in its own order.

Open loop: messages fall due by the clock, not by the answers, but never more than `concurrency` are under way. The
next message of a life waits for the answer to the one before. This file must not know what the messages mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Literal
from urllib.parse import quote

import aiohttp
from yarl import URL

from esc_lab.simulator.delivery_faults import Performance, Sending, Sort
from esc_lab.simulator.expected_state import Fate
from esc_lab.simulator.report import Summary
from esc_lab.simulator.traffic import Life

DEBT_S_MAX = 1.0
"""How far behind the clock the sender may fall and still catch up; older debt is forgiven, and shows in the rate."""
RETRY_PAUSE_S = 0.2
"""Before the first retry; doubled for each further one."""
RETRY_PAUSE_S_MAX = 5.0
WRONG_TOKEN = "not-the-token"  # noqa: S105 -- wrong on purpose


@dataclass(frozen=True, slots=True)
class Target:
    """Where to post: the base URL, and the path token of each source that asks for one."""

    base: str
    tokens: Mapping[str, str]

    def url(self, source: str, channel: str, *, wrong_token: bool = False) -> URL:
        """docs/ingress.md#paths: `/esc/{source}/callback` or `…/events`, the token behind it."""
        token = WRONG_TOKEN if wrong_token else self.tokens.get(source, "")
        tail = f"/{quote(token, safe='')}" if token else ""
        return URL(f"{self.base.rstrip('/')}/esc/{quote(source, safe='')}/{channel}{tail}", encoded=True)


@dataclass(frozen=True, slots=True)
class _Answer:
    """`status` 0: none came, and `failure` says why."""

    status: int
    receipt: str = ""
    failure: Literal["", "could not connect", "no answer in time", "connection broke"] = ""

    def fate(self, sort: Sort) -> Fate:
        """Whether the message is kept (docs/ingress.md#answers)."""
        if self.status in {200, 201, 202, 204} or (self.status == 400 and sort == "malformed"):
            return "kept"
        if self.failure in {"no answer in time", "connection broke"} or self.status in {500, 502, 503, 504}:
            # A receiver that says 503 may have it all the same: PostgreSQL committed, and the answer was lost.
            return "unsure"
        return "lost"

    def is_right(self, sort: Sort) -> bool:
        """Whether it is the answer such a message should get."""
        if sort == "wrong-token":
            return self.status in {401, 403}
        return self.status == 400 if sort == "malformed" else 200 <= self.status < 300

    def may_pass(self) -> bool:
        """Whether sending again may help."""
        return bool(self.failure) or self.status >= 500


class Player:
    """Plays lives until they are over or `stop` is set; counts in `summary` and keeps its book, if it has one."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        target: Target,
        summary: Summary,
        *,
        stop: asyncio.Event,
        rate: float = 0.0,
        concurrency: int = 32,
        time_scale: float = 0.0,
        retries: int = 0,
        tell: Callable[[], None] = lambda: None,
    ) -> None:
        """`rate` in messages per second, 0: as fast as answers come. `tell` is called after every message."""
        self._session = session
        self._target = target
        self._summary = summary
        self._stop = stop
        self._interval_s = 1 / rate if rate else 0.0
        self._slots = asyncio.Semaphore(concurrency)
        self._time_scale = time_scale
        self._retries = retries
        self._tell = tell
        self._due = monotonic()

    async def play(self, lives: Iterator[Life], at_once: int) -> None:
        """Keeps `at_once` lives going, one following another, until there are no more of them."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(at_once):
                tasks.create_task(self._play_one_after_another(lives))

    async def _play_one_after_another(self, lives: Iterator[Life]) -> None:
        for life in lives:
            for performance in life:
                await self._perform(performance)
                if self._stop.is_set():
                    return

    async def _perform(self, performance: Performance) -> None:
        fates: list[Fate | None] = [None] * len(performance.sendings)
        try:
            for number, sending in enumerate(performance.sendings):
                await self._pause(sending.message.pause_s * self._time_scale)
                if self._stop.is_set():
                    break
                fates[number] = "unsure"  # until the answer is there
                fates[number] = await self._deliver(performance, sending)
        finally:
            # An operation of which nothing went out before the end of the run never was.
            if any(fates) or not fates:
                self._summary.note(performance.operation, complete=None not in fates)
                if self._summary.book is not None:
                    self._summary.book.truth.note(performance, fates)

    async def _deliver(self, performance: Performance, sending: Sending) -> Fate:
        fate: Fate = "lost"
        for attempt in range(self._retries + 1):
            if attempt:
                await self._pause(min(RETRY_PAUSE_S * 2 ** (attempt - 1), RETRY_PAUSE_S_MAX))
            async with self._slots:
                await self._wait_until_due()
                answer = await self._post(performance.operation.source, sending)
            told = answer.fate(sending.sort)
            if fate == "unsure" and told == "kept" and self._summary.book is not None:
                self._summary.book.truth.perhaps_repeated += 1
            fate = "unsure" if fate == "unsure" and told == "lost" else told
            if not answer.may_pass() or self._stop.is_set():
                break
        self._note(performance, sending, answer)
        return fate

    async def _post(self, source: str, sending: Sending) -> _Answer:
        message = sending.message
        url = self._target.url(source, message.channel, wrong_token=sending.sort == "wrong-token")
        began = monotonic()
        try:
            async with self._session.post(url, data=message.body, headers=message.headers) as response:
                await response.read()
                # A target that is no receiver of ours gives no receipt (docs/ingress.md#answers).
                answer = _Answer(response.status, response.headers.get("ESC-Receipt-Id", ""))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            return _Answer(0, failure="could not connect")
        except TimeoutError:
            return _Answer(0, failure="no answer in time")
        except (aiohttp.ClientError, ConnectionError):
            return _Answer(0, failure="connection broke")
        self._summary.latency.add(monotonic() - began)
        return answer

    def _note(self, performance: Performance, sending: Sending, answer: _Answer) -> None:
        self._summary.sent[sending.sort] += 1
        self._summary.answers[answer.failure or str(answer.status)] += 1
        if not answer.is_right(sending.sort):
            self._summary.surprises[f"{answer.failure or answer.status} to a {sending.sort} message"] += 1
        if self._summary.book is not None and answer.receipt:
            self._summary.book.keep(answer.receipt, performance.operation, sending, answer.status)
        self._tell()

    async def _wait_until_due(self) -> None:
        """One message an interval, whoever sends it."""
        self._due = max(self._due + self._interval_s, monotonic() - DEBT_S_MAX)
        await self._pause(self._due - monotonic() if self._interval_s else 0.0)

    async def _pause(self, pause_s: float) -> None:
        """Waits, but not beyond the end of the play."""
        if pause_s <= 0:
            return
        try:
            async with asyncio.timeout(pause_s):
                await self._stop.wait()
        except TimeoutError:
            return
