"""Reading with a durable consumer: it remembers at JetStream what was acknowledged, also while nobody reads.

Several processes that name the same consumer share its messages. Must not know what the messages mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from nats.aio.msg import Msg
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo
from nats.js.client import JetStreamContext
from nats.js.errors import APIError, NotFoundError

from esc_receiver_client.cancellation import cancellation_kept
from esc_receiver_client.connection import AWAY, RETRY_S, Connection, StreamPlace
from esc_receiver_client.errors import ConsumerConflictError, ConsumerGoneError, FeedError
from esc_receiver_client.ordered import FETCH_S, Start, deliver_from


@dataclass(frozen=True, slots=True)
class Durable:
    """What is wanted of the consumer; `start` counts only when it is made."""

    name: str
    subjects: Sequence[str]
    start: Start
    ack_wait_s: float
    unacknowledged_max: int
    prefetch: int

    def config(self, start: Start) -> ConsumerConfig:
        """As JetStream takes it. Poison is counted by the client, so deliveries have no end."""
        return deliver_from(start).evolve(
            durable_name=self.name,
            filter_subjects=list(self.subjects),
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self.ack_wait_s,
            max_ack_pending=self.unacknowledged_max,
            max_deliver=-1,
        )


class DurableReader:
    """The messages that a durable consumer has yet to be given, for ever."""

    def __init__(self, connection: Connection, stream: str, wanted: Durable) -> None:
        self._connection = connection
        self._stream = stream
        self._wanted = wanted

    async def batches(self) -> AsyncGenerator[list[Msg]]:
        """Never empty ones. At the start raises FeedError and its kinds; later only ConsumerGoneError."""
        place = await self._connection.stream(self._stream)
        await self._ensure()
        while True:
            subscription: JetStreamContext.PullSubscription | None = None
            try:
                subscription = await self._connection.jetstream.pull_subscribe_bind(
                    consumer=self._wanted.name, stream=self._stream
                )
                pending = (await subscription.consumer_info()).num_pending or 0
                while True:
                    messages, pending = await self._fetch(subscription, pending)
                    if messages:
                        yield messages
            except NotFoundError:
                place = await self._after_loss(place)
            except AWAY:
                await asyncio.sleep(RETRY_S)
            finally:
                if subscription:
                    with suppress(*AWAY):
                        await subscription.unsubscribe()

    async def _fetch(self, subscription: JetStreamContext.PullSubscription, pending: int) -> tuple[list[Msg], int]:
        """What there is, and how many messages are left; none when nothing came for a while."""
        # No more than there are: nats-py would wait for the rest of them before it showed the first.
        wanted = max(1, min(pending, self._wanted.prefetch))
        try:
            with cancellation_kept():
                messages = await subscription.fetch(wanted, timeout=FETCH_S)
        except (NatsTimeoutError, TimeoutError):
            return [], (await subscription.consumer_info()).num_pending or 0
        return messages, messages[-1].metadata.num_pending

    async def _ensure(self) -> None:
        """Make the consumer, or bring one that exists to what is wanted; where it stands is left alone."""
        jetstream, wanted = self._connection.jetstream, self._wanted
        try:
            found: ConsumerInfo | None = await jetstream.consumer_info(self._stream, wanted.name)
        except NotFoundError:
            found = None
        except AWAY as error:
            raise FeedError(f"JetStream does not tell of consumer {wanted.name}: {error}") from error
        if found is None:
            await self._put(wanted.config(wanted.start))
            return
        config = found.config
        if config.deliver_subject or config.ack_policy != AckPolicy.EXPLICIT:
            raise ConsumerConflictError(
                f"consumer {wanted.name} of stream {self._stream} exists and is no pull consumer with explicit"
                " acknowledgements: choose another name, or delete it"
            )
        subjects = config.filter_subjects or ([config.filter_subject] if config.filter_subject else [])
        is_as_wanted = (sorted(subjects), config.ack_wait, config.max_ack_pending, config.max_deliver) == (
            sorted(wanted.subjects), wanted.ack_wait_s, wanted.unacknowledged_max, -1
        )  # fmt: skip
        if not is_as_wanted:
            await self._put(
                config.evolve(
                    filter_subject=None,
                    filter_subjects=list(wanted.subjects),
                    ack_wait=wanted.ack_wait_s,
                    max_ack_pending=wanted.unacknowledged_max,
                    max_deliver=-1,
                    backoff=None,
                )
            )

    async def _put(self, config: ConsumerConfig) -> None:
        try:
            await self._connection.jetstream.add_consumer(self._stream, config)
        except APIError as error:
            raise ConsumerConflictError(
                f"JetStream does not take consumer {self._wanted.name} so: {error.description}"
            ) from error
        except AWAY as error:
            raise FeedError(f"JetStream does not answer: {error}") from error

    async def _after_loss(self, before: StreamPlace) -> StreamPlace:
        """The consumer is not there. With its stream made anew it is made anew, too, and reads all of it."""
        try:
            now = await self._connection.stream_now(self._stream)
        except AWAY:
            await asyncio.sleep(RETRY_S)  # also no stream: the receiver makes it anew
            return before
        if now.created == before.created:
            raise ConsumerGoneError(
                f"consumer {self._wanted.name} was deleted while it was read; start again to create it anew"
            )
        await self._connection.jetstream.add_consumer(self._stream, self._wanted.config("beginning"))
        return now
