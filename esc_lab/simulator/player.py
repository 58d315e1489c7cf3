"""Sends the traffic over HTTP: at a rate, many lives side by side, each in its own order.

Open loop: messages fall due by the clock, not by the answers, but never more than `concurrency` are under way. The
next message of a life waits for the answer to the one before. This file must not know what the messages mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from urllib.parse import quote

import aiohttp
from yarl import URL

from esc_lab.simulator.delivery_faults import PlannedDelivery, Sending
from esc_lab.simulator.expected_state import Fate
from esc_lab.simulator.posting import Answer, Retries, post
from esc_lab.simulator.report import Summary
from esc_lab.simulator.traffic import Life

BEHIND_S_MAX = 1.0
"""How far behind the clock the sender may fall and still catch up; what is older is skipped, and shows in the rate."""
RETRY_PAUSE_S, RETRY_PAUSE_S_MAX = 0.2, 5.0
WRONG_TOKEN = "not-the-token"  # noqa: S105 -- wrong on purpose


@dataclass(frozen=True, slots=True)
class Target:
    """Where to post: the base URL, and the path token of each source that asks for one."""

    base: str
    tokens: Mapping[str, str]

    def url(self, source: str, channel: str, *, wrong_token: bool = False) -> URL:
        """`/esc/{source}/callback` or `…/events`, the token behind it (docs/ingress.md#paths)."""
        token = WRONG_TOKEN if wrong_token else self.tokens.get(source, "")
        tail = f"/{quote(token, safe='')}" if token else ""
        return URL(f"{self.base.rstrip('/')}/esc/{quote(source, safe='')}/{channel}{tail}", encoded=True)


@dataclass(slots=True)
class Player:
    """Plays lives until they are over or `stop` is set; counts in `summary` and writes its audit log, if it has one."""

    session: aiohttp.ClientSession
    target: Target
    summary: Summary
    stop: asyncio.Event
    rate: float = 0.0
    """Messages per second; 0: as fast as answers come."""
    concurrency: int = 32
    time_scale: float = 0.0
    retries: int = 0
    on_message: Callable[[], None] = lambda: None
    """Called after every message."""
    _slots: asyncio.Semaphore = field(init=False)
    _due_s: float = field(default_factory=monotonic)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.concurrency)

    async def play(self, lives: Iterator[Life], at_once: int) -> None:
        """Keeps `at_once` lives going, one following another, until there are no more of them."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(at_once):
                tasks.create_task(self._play_one_after_another(lives))

    async def _play_one_after_another(self, lives: Iterator[Life]) -> None:
        for life in lives:
            for delivery in life:
                await self._deliver(delivery)
                if self.stop.is_set():
                    return

    async def _deliver(self, delivery: PlannedDelivery) -> None:
        fates: list[Fate | None] = [None] * len(delivery.sendings)
        try:
            for number, sending in enumerate(delivery.sendings):
                await self._pause(sending.message.pause_s * self.time_scale)
                if self.stop.is_set():
                    break
                fates[number] = "unsure"  # until the answer is there
                fates[number] = await self._send(delivery, sending)
        finally:
            # An operation of which nothing was sent before the end of the run never happened.
            if any(fates) or not fates:
                self.summary.count_operation(delivery.operation, complete=None not in fates)
                if self.summary.audit_log is not None:
                    self.summary.audit_log.expected.record(delivery, fates)

    async def _send(self, delivery: PlannedDelivery, sending: Sending) -> Fate:
        async def attempt() -> Answer:
            async with self._slots:
                await self._wait_until_due()
                return await self._post(delivery.operation.source, sending)

        retries = Retries(self.retries, RETRY_PAUSE_S, RETRY_PAUSE_S_MAX)
        fate, answer = await retries.deliver(
            attempt, self._pause, self.summary.audit_log, malformed=sending.sort == "malformed", stop=self.stop
        )
        self.summary.count_answer(sending.sort, answer)
        if self.summary.audit_log is not None and answer.receipt:
            self.summary.audit_log.add_receipt(answer.receipt, delivery.operation, sending, answer.status)
        self.on_message()
        return fate

    async def _post(self, source: str, sending: Sending) -> Answer:
        url = self.target.url(source, sending.message.channel, wrong_token=sending.sort == "wrong-token")
        began_s = monotonic()
        answer = await post(self.session, url, sending.message)
        if not answer.failure:
            self.summary.latency.add(monotonic() - began_s)
        return answer

    async def _wait_until_due(self) -> None:
        """One message an interval, over all lives."""
        if self.rate:
            self._due_s = max(self._due_s + 1 / self.rate, monotonic() - BEHIND_S_MAX)
            await self._pause(self._due_s - monotonic())

    async def _pause(self, pause_s: float) -> None:
        """Waits, but not beyond the end of the run."""
        if pause_s > 0:
            try:
                async with asyncio.timeout(pause_s):
                    await self.stop.wait()
            except TimeoutError:
                return
