"""The stream's size and its consumers, as JetStream reports them. Must not know what they are used for."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import NamedTuple

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import ConsumerInfo

from receiver.config.settings import Settings
from receiver.errors import DisconnectedError, describe
from receiver.publishing.broker import Broker

PAGE = 256
"""JetStream lists so many consumers at once."""


class StreamConsumer(NamedTuple):
    """One consumer of the stream."""

    name: str
    durable: bool
    """False: it is gone with its client."""
    pending: int
    """Messages that it has yet to be given."""
    unacknowledged: int
    """Messages that it was given and has not acknowledged."""
    redelivered: int
    """Those of them that it was given more than once."""
    reading: bool
    """Whether somebody asks for messages just now."""
    subjects: tuple[str, ...]
    last_delivered_at: datetime | None
    last_acknowledged_at: datetime | None


class ConsumerList:
    """Lists the consumers of the feed's stream."""

    def __init__(self, broker: Broker, settings: Settings) -> None:
        self._broker = broker
        self._settings = settings

    async def find(self) -> list[StreamConsumer]:
        """All of them. Raises DisconnectedError, also when NATS does not answer within `ping_timeout_s`."""
        if not self._broker.is_up:
            raise DisconnectedError("NATS is not connected")
        try:
            async with asyncio.timeout(self._settings.ping_timeout_s):
                _, _, found = await readers_of(await self._broker.client(), self._settings.stream_name)
        except TimeoutError:
            raise DisconnectedError("NATS does not answer in time") from None
        return found


async def readers_of(client: Client, stream: str) -> tuple[int, int, list[StreamConsumer]]:
    """The stream's messages and bytes, and its consumers. Raises DisconnectedError when JetStream does not answer."""
    jetstream = client.jetstream()
    found: list[StreamConsumer] = []
    try:
        state = (await jetstream.stream_info(stream)).state
        while page := await jetstream.consumers_info(stream, len(found)):
            found += map(_consumer, page)
            if len(page) < PAGE:
                break
    except (NatsError, OSError) as error:
        raise DisconnectedError(f"JetStream does not tell of {stream}: {describe(error)}") from error
    return state.messages, state.bytes, found


def _consumer(info: ConsumerInfo) -> StreamConsumer:
    config = info.config
    return StreamConsumer(
        name=config.durable_name or info.name,
        durable=bool(config.durable_name),
        pending=info.num_pending or 0,
        unacknowledged=info.num_ack_pending or 0,
        redelivered=info.num_redelivered or 0,
        reading=bool(info.num_waiting or info.push_bound),
        subjects=tuple(config.filter_subjects or filter(None, (config.filter_subject,))),
        last_delivered_at=info.delivered.last_active if info.delivered else None,
        last_acknowledged_at=info.ack_floor.last_active if info.ack_floor else None,
    )
