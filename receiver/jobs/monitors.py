"""Looks at what surrounds the service now and then: its event loop, its disk, the stream and who reads it.

What is told here is for `/metrics` alone; nothing is decided by it. Must not know PostgreSQL.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Iterable, Mapping

import structlog

from receiver.config.settings import Settings
from receiver.errors import DisconnectedError
from receiver.observability.definition import set_all, total
from receiver.observability.labels import OTHER
from receiver.observability.metrics import Metrics
from receiver.observability.trouble_log import TroubleLog
from receiver.publishing.broker import Broker
from receiver.publishing.consumers import StreamConsumer, readers_of

log = structlog.get_logger()


class Monitors:
    """`run` until cancelled."""

    def __init__(self, broker: Broker, settings: Settings, metrics: Metrics) -> None:
        self._broker = broker
        self._settings = settings
        self._metrics = metrics
        self._trouble = TroubleLog("disk or stream cannot be looked at now; it is tried again", logging.INFO)

    async def run(self) -> None:
        """Both loops."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._probe())
            group.create_task(self._look())

    async def _probe(self) -> None:
        """How much later than asked for the loop turns: that is what every request waits for, too."""
        pause_s = self._settings.loop_probe_s
        while True:
            due_s = time.monotonic() + pause_s
            await asyncio.sleep(pause_s)
            self._metrics.loop_lag_seconds.observe(max(0.0, time.monotonic() - due_s))

    async def _look(self) -> None:
        while True:
            try:
                await self.look_at_disk()
                await self.look_at_stream()
            except (DisconnectedError, OSError) as error:
                self._trouble.report(str(error))
            except Exception:  # a bug here must not stop those who keep callbacks: told with its trace, and tried again
                log.exception("looking around failed")
            else:
                self._trouble.clear()
            await asyncio.sleep(self._settings.counts_interval_s)

    async def look_at_disk(self) -> None:
        """What is free where the spool lies. Raises OSError."""
        usage = await asyncio.to_thread(shutil.disk_usage, self._settings.spool_folder)
        self._metrics.spool_free_bytes.set(usage.free)
        self._metrics.flapping_vms.set(self._metrics.lifecycle.flapping.now(time.time()))

    async def look_at_stream(self) -> None:
        """How large the stream is and how far its readers have come; only the relay asks. Raises DisconnectedError."""
        metrics, messages, size = self._metrics, 0, 0
        readers: list[StreamConsumer] = []
        if total(metrics.relay_leader):
            messages, size, readers = await readers_of(await self._broker.client(), self._settings.stream_name)
        metrics.stream_messages.set(messages)
        metrics.stream_bytes.set(size)
        metrics.stream_consumers.set(len(readers))
        named = self._settings.consumers_max
        for gauge, numbers in (
            (metrics.consumer_pending_messages, ((one.name, one.pending) for one in readers)),
            (metrics.consumer_unacknowledged_messages, ((one.name, one.unacknowledged) for one in readers)),
        ):
            gauge.clear()
            set_all(gauge, folded(numbers, named))


def folded(readers: Iterable[tuple[str, int]], named_max: int) -> Mapping[tuple[str, ...], float]:
    """The first by name; the nameless and all beyond are one together, of which the furthest behind counts."""
    found: dict[tuple[str, ...], float] = {}
    for name, number in sorted(readers):
        key = (name,) if name and (name,) not in found and len(found) < named_max else (OTHER,)
        found[key] = max(found.get(key, 0), number)
    return found
