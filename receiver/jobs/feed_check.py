"""Compares the stream with the ledger now and then, slowly, in the receiver that is the relay, which mends the stream.

JetStream may lose acknowledged messages by a power cut, also from the middle, and says nothing then. Must not know how
they are compared.
"""

from __future__ import annotations

import asyncio
import time

import structlog

from receiver.config.settings import Settings
from receiver.errors import ReceiverError
from receiver.observability.metrics import Metrics
from receiver.observability.trouble_log import TroubleLog
from receiver.postgres.driver_errors import UNUSABLE
from receiver.publishing.comparison import FeedComparison
from receiver.publishing.relay import Relay

log = structlog.get_logger()


class FeedCheck:
    """Checks the feed of one database: `run` until cancelled, or `run_once`."""

    def __init__(self, comparison: FeedComparison, relay: Relay, settings: Settings, metrics: Metrics) -> None:
        self._comparison = comparison
        self._relay = relay
        self._interval_s = settings.verify_interval_s
        self._messages_per_s = settings.verify_messages_per_s
        self._metrics = metrics
        self._trouble = TroubleLog("the stream cannot be compared with the ledger now; it is tried again")

    async def run(self) -> None:
        """Check every `verify_interval_s`, until cancelled; never, when that is 0."""
        while self._interval_s:
            await asyncio.sleep(self._interval_s)
            if not self._relay.leads:
                continue
            with self._trouble.attempt((ReceiverError, *UNUSABLE), bug="comparing the stream with the ledger failed"):
                await self.run_once()

    async def run_once(self) -> int:
        """Compare all of it; how many messages are missing. Raises what `FeedComparison.run` raises."""
        started_s = time.monotonic()

        async def step(done: int, _: int) -> None:
            ahead_s = started_s + done / self._messages_per_s - time.monotonic()
            await asyncio.sleep(max(0.0, ahead_s))

        found = await self._comparison.run(step)
        self._metrics.feed_missing.set(len(found.missing))
        self._metrics.feed_checked_timestamp_seconds.set(time.time())
        if found.missing:
            log.warning("the stream has holes", stream=found.stream.name, missing=len(found.missing),
                        first=str(found.missing[0].id))  # fmt: skip
            self._relay.mend(found)
        return len(found.missing)
