"""Reading a stream in order without acknowledgements: a consumer that leaves nothing behind, made anew when it is lost.

What is lost on the way shows as a gap in the consumer's own numbers, and is then read again. Must not know what the
messages mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from typing import Literal, TypeAlias

from nats.aio.msg import Msg
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from esc_receiver_client.cancellation import cancellation_kept
from esc_receiver_client.connection import AWAY, RETRY_S, Connection, StreamPlace

Start: TypeAlias = Literal["beginning", "new"] | int | datetime
"""Where to begin: with the oldest message kept, the next one, this place in the stream, or this time."""
MESSAGES_MAX = 256
FETCH_S = 2.0
INACTIVE_S = 60.0
"""JetStream deletes such a consumer when nobody has fetched from it for so long."""


class LostError(OSError):
    """Messages were lost on their way; they are still in the stream."""


def deliver_from(start: Start) -> ConsumerConfig:
    """The part of a consumer's configuration that says where it begins."""
    match start:
        case "beginning":
            return ConsumerConfig(deliver_policy=DeliverPolicy.ALL)
        case "new":
            return ConsumerConfig(deliver_policy=DeliverPolicy.NEW)
        case datetime():
            return ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_TIME, opt_start_time=start)
        case int():
            return ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=max(1, start))
    raise ValueError(f"start is 'beginning', 'new', a number or a datetime with a time zone, not {start!r}")


class Follower:
    """The messages of a stream behind a place, for ever, each once as long as the stream is not made anew."""

    def __init__(
        self,
        connection: Connection,
        stream: str,
        subjects: Sequence[str],
        start: Start,
        *,
        of: StreamPlace | None = None,
    ) -> None:
        """`of`: the stream that a `start` in numbers was read from; if it is another by now, all of it is read."""
        self._connection = connection
        self._stream = stream
        self._subjects = list(subjects)
        self._start = start
        self._of = of

    async def batches(self) -> AsyncGenerator[list[Msg]]:
        """Never empty ones. Raises StreamMissingError and FeedError at the start only."""
        place = await self._connection.stream(self._stream)
        if self._start == "new":  # from here on it is known what was there
            self._start = place.last_sequence + 1
        self._of = self._of or place
        while True:
            try:
                await self._look_for_another_stream()
                config = deliver_from(self._start).evolve(filter_subjects=self._subjects)
                async with aclosing(read(self._connection, self._stream, config)) as found:
                    async for messages in found:
                        if messages:
                            self._start = messages[-1].metadata.sequence.stream + 1
                            yield messages
            except AWAY:
                await asyncio.sleep(RETRY_S)  # NATS is away or has forgotten the consumer: read on with a new one

    async def _look_for_another_stream(self) -> None:
        place = await self._connection.stream_now(self._stream)
        if self._of and place.created != self._of.created:
            self._of, self._start = place, "beginning"


async def read(connection: Connection, stream: str, config: ConsumerConfig) -> AsyncGenerator[list[Msg]]:
    """The messages of one such consumer, until it is lost. Raises nats-py's errors and LostError.

    An empty list says once that all that there was has been read.
    """
    config = config.evolve(ack_policy=AckPolicy.NONE, mem_storage=True, num_replicas=1, inactive_threshold=INACTIVE_S)
    subscription = await connection.jetstream.pull_subscribe("", stream=stream, config=config)
    try:
        pending, number = (await subscription.consumer_info()).num_pending or 0, 0
        if not pending:
            yield []
        while True:
            # No more than there are: nats-py would wait for the rest of them before it showed the first.
            try:
                with cancellation_kept():
                    messages = await subscription.fetch(max(1, min(pending, MESSAGES_MAX)), timeout=FETCH_S)
            except (NatsTimeoutError, TimeoutError):
                info = await subscription.consumer_info()
                pending = info.num_pending or 0
                if info.delivered and info.delivered.consumer_seq != number:
                    raise LostError(f"{stream}: the last messages") from None
                continue
            for message in messages:
                number += 1
                if message.metadata.sequence.consumer != number:
                    raise LostError(f"{stream}: what came before {message.metadata.sequence.stream}")
            was_pending, pending = pending, messages[-1].metadata.num_pending
            yield messages
            if not pending and was_pending:
                yield []
    finally:
        with suppress(*AWAY):
            await subscription.unsubscribe()
