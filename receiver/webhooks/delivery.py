"""Delivers the events of one webhook: read, posted in order, acknowledged, or kept for a retry.

Events that are held are kept from others by telling JetStream that they are worked on; a receiver that could not say so
in time lets go of them all, because somebody else has them by then. Must not know who chooses the receiver.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import orjson
import structlog

from receiver.config.settings import Settings
from receiver.errors import ConsumerLostError
from receiver.observability.labels import Attempt
from receiver.observability.metrics import Metrics
from receiver.publishing.durable_consumer import DurableConsumer, FeedMessage, Standing
from receiver.webhooks.backoff import pause_s
from receiver.webhooks.lanes import Held, Lanes
from receiver.webhooks.register import Register, Row
from receiver.webhooks.sender import Result, Sender

log = structlog.get_logger()


class Delivery:
    """One turn: until a command comes, the webhook is disabled, or something is amiss."""

    def __init__(
        self, row: Row, consumer: DurableConsumer, sender: Sender, register: Register, settings: Settings,
        metrics: Metrics, chance: Random, failed: dict[int, Held[FeedMessage]],
    ) -> None:  # fmt: skip
        """`failed` holds by sequence what a turn before this one has tried in vain, and then what this one has."""
        self._row = row
        self._noted = row
        self._consumer = consumer
        self._sender = sender
        self._register = register
        self._settings = settings
        self._metrics = metrics
        self._chance = chance
        self._failed = failed
        self._lanes: Lanes[FeedMessage] = Lanes()
        self._awake = asyncio.Event()
        self._under_way: set[asyncio.Task[None]] = set()
        self._kept_s = time.monotonic()
        """When JetStream was last told that all that is held is worked on."""

    async def run(self) -> None:
        """Returns when a command has come or the webhook is disabled. Raises what consumer and register raise."""
        standing = await self._consumer.open()
        if standing.unacknowledged:  # somebody else had them: they come again, and before what stands behind
            self._lanes.is_gathering = True
        try:
            await _first_of(self._read(), self._post(), self._keep(), self._look_after())
            await self._look()
        finally:
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)
            await self._leave()

    async def _leave(self) -> None:
        """Others may have at once what is held, and find written down how it went."""
        with suppress(ConsumerLostError):
            self._take_in(self._consumer.take())
        await self._consumer.close()  # first, or they would come here again
        for held in self._lanes:
            await held.event.give_back()
        self._failed.clear()
        self._failed.update({held.event.sequence: held for held in self._lanes if held.failures})
        with suppress(Exception):
            await self._note()

    # Reading.

    async def _read(self) -> None:
        while True:
            foreign = self._take_in(await self._consumer.fetch())
            self._awake.set()
            for message in foreign:
                self._metrics.webhook_foreign.labels(self._row.name).inc()
                await message.ack(self._settings.publish_timeout_s)

    def _take_in(self, messages: Iterable[FeedMessage]) -> list[FeedMessage]:
        """Put events into their lanes; which messages are none."""
        foreign = []
        for message in messages:
            if message.id:
                self._lanes.add(message, self._failed.pop(message.sequence, None))
            else:
                foreign.append(message)
        return foreign

    # Posting.

    async def _post(self) -> None:
        while True:
            self._awake.clear()
            for task in [task for task in self._under_way if task.done()]:
                self._under_way.discard(task)
                task.result()
            if self._row.disabled_at:
                return
            room = self._settings.webhook_concurrency_max - len(self._under_way)
            for held in self._lanes.startable(time.monotonic(), room) if room else ():
                self._under_way.add(asyncio.create_task(self._try(held), name="webhook delivery"))
            await self._until_next(is_full=len(self._under_way) >= self._settings.webhook_concurrency_max)

    async def _until_next(self, *, is_full: bool) -> None:
        due_s = None if is_full or self._lanes.is_gathering else self._lanes.next_due_s()
        with suppress(TimeoutError):
            async with asyncio.timeout(None if due_s is None else max(0.0, due_s - time.monotonic())):
                await self._awake.wait()

    async def _try(self, held: Held[FeedMessage]) -> None:
        try:
            self._require_ours()
            event, name = held.event, self._row.name
            document = event.cloud_event()
            result = await self._sender.send(event.id, orjson.dumps(document))
            self._metrics.webhook_attempts.labels(name, result.attempt).inc()
            self._metrics.webhook_seconds.labels(name).observe(result.took_s)
            if result.attempt is Attempt.DELIVERED:
                await self._taken(held, str(document.get("time", "")))
            else:
                await self._not_taken(held, result)
        finally:
            self._awake.set()

    async def _taken(self, held: Held[FeedMessage], made_at: str) -> None:
        event = held.event
        await event.ack(self._settings.publish_timeout_s)
        self._lanes.delivered(held)
        now = datetime.now(UTC)
        self._row = self._row._replace(delivered_at=now, delivered_sequence=event.sequence, delivered_id=event.id)
        if self._row.failing_sequence == event.sequence:
            self._row = self._row.well()
        with suppress(ValueError):
            lag_s = (now - datetime.fromisoformat(made_at)).total_seconds()
            self._metrics.webhook_lag_seconds.labels(self._row.name).observe(max(0.0, lag_s))

    async def _not_taken(self, held: Held[FeedMessage], result: Result) -> None:
        now, now_s, sequence = datetime.now(UTC), time.monotonic(), held.event.sequence
        self._row = self._row._replace(error_at=now, error=result.said)
        if self._row.failing_sequence is None:
            log.warning("a webhook does not take an event; it is tried again", webhook=self._row.name,
                        sequence=sequence, why=result.said)  # fmt: skip
            self._row = self._row._replace(failing_sequence=sequence, failing_since=now)
        left_s = self._settings.webhook_retry_for_s - self._failing_s(held, now, now_s)
        pause = max(pause_s(held.failures + 1, self._settings, self._chance), result.asked_pause_s)
        self._lanes.failed(held, now_s, min(pause, max(0.0, left_s)))
        if result.asked_pause_s:
            self._lanes.paused_until_s = now_s + min(result.asked_pause_s, max(0.0, left_s))
        if result.attempt is Attempt.GONE:
            await self._disable(f"it answered {result.said}")
        elif left_s <= 0:
            await self._disable(
                f"event {sequence} was not taken for {self._settings.webhook_retry_for_s:g} s: {result.said}"
            )

    def _failing_s(self, held: Held[FeedMessage], now: datetime, now_s: float) -> float:
        """For how long the webhook has not taken this event, at former receivers too."""
        here_s = now_s - held.failing_since_s if held.failing_since_s else 0.0
        row = self._row
        if row.failing_since and row.failing_sequence == held.event.sequence:
            return max(here_s, (now - row.failing_since) / timedelta(seconds=1))
        return here_s

    async def _disable(self, why: str) -> None:
        if not self._row.disabled_at:
            self._row = self._row._replace(disabled_at=datetime.now(UTC), disabled_because=why)
            log.error("a webhook is disabled; esc-receiver webhooks enable NAME", webhook=self._row.name, why=why)
            await self._register.disable(self._row, why)

    # Keeping what is held.

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._settings.webhook_ack_wait_s / 4)
            self._require_ours()
            for held in self._lanes:
                await held.event.keep()
            self._kept_s = time.monotonic()

    def _require_ours(self) -> None:
        """Raises ConsumerLostError when JetStream may give what is held to somebody else before a delivery ends."""
        left_s = self._kept_s + self._settings.webhook_ack_wait_s - time.monotonic()
        if left_s < self._settings.webhook_timeout_s:
            raise ConsumerLostError("this receiver was too slow to keep its events; they are given out again")

    # Looking after it.

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(self._settings.webhook_check_s)
            if (await self._register.row(self._row.name)).revision != self._row.revision:
                return
            await self._look()

    async def _look(self) -> None:
        stream = await self._consumer.stream()  # before the consumer: what comes in between counts as pending
        if (standing := await self._consumer.standing()) is None:
            raise ConsumerLostError(f"consumer {self._consumer.name} is gone")
        self._end_gathering(standing)
        await self._move_place(standing, stream.last_sequence)
        self._show(standing)
        await self._note()

    def _end_gathering(self, standing: Standing) -> None:
        """Once all that was given out and not acknowledged is here."""
        if self._lanes.is_gathering and standing.unacknowledged <= len(self._lanes):
            self._lanes.is_gathering = False
            self._awake.set()

    async def _move_place(self, standing: Standing, last_sequence: int) -> None:
        is_idle = not (standing.pending or standing.unacknowledged)
        sequence = max(last_sequence, standing.acknowledged) if is_idle else standing.acknowledged
        self._forget_failing(sequence)
        if sequence != self._row.place_sequence:
            place = await self._consumer.place_at(sequence)
            self._row = self._row.at(place)  # only now: deliveries have changed the row in between

    def _forget_failing(self, taken: int) -> None:
        """Of what was taken in a turn that ended, or by a receiver that was killed, before that could be noted."""
        if self._row.failing_sequence is not None and self._row.failing_sequence <= taken:
            self._row = self._row.well()

    def _show(self, standing: Standing) -> None:
        name, since = self._row.name, self._row.failing_since
        self._metrics.webhook_pending_messages.labels(name).set(standing.pending + standing.unacknowledged)
        self._metrics.webhook_failing_timestamp_seconds.labels(name).set(since.timestamp() if since else 0.0)

    async def _note(self) -> None:
        if self._row != self._noted:
            noted = self._row
            await self._register.note(noted)
            self._noted = noted


async def _first_of(*works: Coroutine[Any, Any, None]) -> None:
    """Until one of them ends; the others are cancelled. Raises what that one raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
