"""A stream that has lost what it had acknowledged is filled up from the ledger, with the ids of the first time.

Only whoever is the relay may do it, between two batches. Must not know how a loss is found.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import structlog

from receiver.events.cloudevents import BucketRow
from receiver.observability.labels import Mended
from receiver.observability.metrics import Metrics
from receiver.publishing.comparison import Comparison, FeedComparison
from receiver.publishing.outbox import postgres_errors
from receiver.publishing.rebuild import StreamRebuild
from receiver.publishing.stream_setup import StreamState

log = structlog.get_logger()

Put = Callable[[Sequence[BucketRow]], Awaitable[int]]
"""Puts them into the bucket; how many keys there were. Raises when this is not the relay any more."""
Stay = Callable[[], Awaitable[object]]
"""Called again and again: shows PostgreSQL that the relay is alive. Raises when it is not the relay any more."""


class Repair:
    """Fills the outbox for a stream. All methods raise OutboxError, and the errors of `JetStream`."""

    def __init__(self, comparison: FeedComparison, rebuild: StreamRebuild, metrics: Metrics) -> None:
        self._comparison = comparison
        self._rebuild = rebuild
        self._metrics = metrics

    async def publish_all_again(self, feed: StreamState) -> None:
        """The stream has nothing at all: it was made anew, its store was lost, or it was purged."""
        with postgres_errors():
            messages = await self._rebuild.run(feed.identity, feed.last_sequence, age_max_s=feed.age_max_s)
        self._metrics.feed_mended.labels(Mended.EMPTIED).inc(messages)
        if not messages:
            return  # all of it was as old as the stream's limit
        log.warning(
            "the stream is empty, but had acknowledged messages: the ledger is published again",
            stream=feed.name, messages=messages,
        )  # fmt: skip

    async def fill_up(self, feed: StreamState, acknowledged: int, stay: Stay) -> None:
        """The stream's end is missing: whatever the ledger has and the stream has not is published again, in order."""

        async def step(_: int, __: int) -> None:
            await stay()

        with postgres_errors():
            found = await self._comparison.run(step)
            messages = await self._rebuild.fill(found.missing)
        self._metrics.feed_mended.labels(Mended.CUT_SHORT).inc(messages)
        if not messages:
            return  # they wait already
        log.warning(
            "the stream was cut short: what it has lost is published again",
            stream=feed.name, messages=messages, acknowledged=acknowledged, ends_at=feed.last_sequence,
        )  # fmt: skip

    async def put_all_again(self, bucket: StreamState, acknowledged: int, put: Put) -> None:
        """The bucket was made anew, or restored from an older copy: it is given all that it shows."""
        items = 0
        with postgres_errors():
            async for portion in self._rebuild.bucket.portions():
                items += await put(portion)
        self._metrics.feed_mended.labels(Mended.BUCKET).inc(items)
        log.warning(
            "the bucket has lost what it had acknowledged: the state of everything is put again",
            bucket=bucket.name, items=items, acknowledged=acknowledged, ends_at=bucket.last_sequence,
        )  # fmt: skip

    async def close_holes(self, found: Comparison) -> None:
        """Messages are missing somewhere in the stream: what is still missing is published again, at its end."""
        with postgres_errors():
            missing = await self._comparison.still_missing(found)
            messages = await self._rebuild.fill(missing)
        self._metrics.feed_mended.labels(Mended.HOLE).inc(messages)
        log.info("what the stream is missing is published again", stream=found.stream.name, messages=messages)
