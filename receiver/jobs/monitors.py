"""Measures the surroundings of the service for `/metrics`: event loop, disk, the stream and its consumers.

Nothing is decided by these figures. Must not know PostgreSQL.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from receiver.config.settings import Settings
from receiver.errors import DisconnectedError
from receiver.observability.definition import set_all, total
from receiver.observability.labels import OTHER, Fsynced
from receiver.observability.metrics import Metrics
from receiver.observability.trouble_log import TroubleLog
from receiver.publishing.broker import Broker
from receiver.publishing.consumers import StreamConsumer, readers_of
from receiver.publishing.feed_fsync import feed_fsynced

NOT_FSYNCED = (
    "NATS acknowledges messages before they are on its disk: a power cut may lose some from the feed"
    " (sync_interval: always in nats-server prevents it; esc-receiver verify-feed mends it)"
)


class Monitors:
    """Sets the gauges of the surroundings: `run` until cancelled."""

    def __init__(
        self, broker: Broker, settings: Settings, metrics: Metrics, spool_folder: Callable[[], Path] | None = None
    ) -> None:
        self._broker = broker
        self._settings = settings
        self._metrics = metrics
        self._of_consumers = (
            (metrics.consumer_pending_messages, lambda one: one.pending),
            (metrics.consumer_unacknowledged_messages, lambda one: one.unacknowledged),
            (metrics.consumer_redelivered_messages, lambda one: one.redelivered),
            (metrics.consumer_acknowledged_timestamp_seconds, _acknowledged_s),
        )
        self._spool_folder = spool_folder or (lambda: settings.spool_folder)
        self.feed_fsynced = Fsynced.UNKNOWN
        """As it was found last, for `/readyz`."""
        self._trouble = TroubleLog("disk or stream cannot be looked at now; it is tried again", logging.INFO)

    @property
    def warning(self) -> str | None:
        """What is amiss with NATS without being a fault."""
        return NOT_FSYNCED if self.feed_fsynced is Fsynced.NO else None

    async def run(self) -> None:
        """Measure until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._measure_loop_lag())
            group.create_task(self._measure_disk_and_stream())

    async def _measure_loop_lag(self) -> None:
        """How much later than asked for the event loop turns: every request waits as long."""
        pause_s = self._settings.loop_probe_s
        while True:
            due_s = time.monotonic() + pause_s
            await asyncio.sleep(pause_s)
            self._metrics.loop_lag_seconds.observe(max(0.0, time.monotonic() - due_s))

    async def _measure_disk_and_stream(self) -> None:
        while True:
            with self._trouble.attempt((DisconnectedError, OSError), bug="looking around failed"):
                await self.measure_fsync()
                await self.measure_disk()
                await self.measure_stream()
            await asyncio.sleep(self._settings.counts_interval_s)

    async def measure_fsync(self) -> None:
        """Ask NATS whether the feed is fsynced."""
        self.feed_fsynced = await feed_fsynced(self._settings)
        set_all(self._metrics.feed_fsynced, {(state,): state is self.feed_fsynced for state in Fsynced})

    async def measure_disk(self) -> None:
        """Set what is free on the spool's disk, and the number of flapping VMs. Raises OSError."""
        usage = await asyncio.to_thread(shutil.disk_usage, self._spool_folder())
        self._metrics.spool_free_bytes.set(usage.free)
        flapping = self._metrics.lifecycle.flapping.now(time.time())
        set_all(self._metrics.flapping_vms, {(source,): vms for source, vms in flapping.items()})

    async def measure_stream(self) -> None:
        """Set the stream's size and its consumers' backlog; only the relay asks. Raises DisconnectedError."""
        metrics, messages, size = self._metrics, 0, 0
        consumers: list[StreamConsumer] = []
        if total(metrics.relay_leader):
            messages, size, consumers = await readers_of(await self._broker.client(), self._settings.stream_name)
        metrics.stream_messages.set(messages)
        metrics.stream_bytes.set(size)
        metrics.stream_consumers.set(len(consumers))
        for gauge, number_of in self._of_consumers:
            gauge.clear()
            numbers = ((metrics.fit(one.name) if one.durable else "", number_of(one)) for one in consumers)
            set_all(gauge, fold(numbers, self._settings.consumers_max))


def fold(consumers: Iterable[tuple[str, float]], named_max: int) -> Mapping[tuple[str, ...], float]:
    """The first `named_max` by name. Nameless ones and the rest share `(other)`, at the greatest of their numbers."""
    found: dict[tuple[str, ...], float] = {}
    for name, number in sorted(consumers):
        key = (name,) if name and (name,) not in found and len(found) < named_max else (OTHER,)
        found[key] = max(found.get(key, 0), number)
    return found


def _acknowledged_s(consumer: StreamConsumer) -> float:
    """When it acknowledged last; 0: never."""
    return consumer.last_acknowledged_at.timestamp() if consumer.last_acknowledged_at else 0.0
