"""The stream's size and its consumers, as JetStream reports them. Must not know what they are used for."""

from __future__ import annotations

from typing import NamedTuple

from nats.aio.client import Client
from nats.errors import Error as NatsError

from receiver.errors import DisconnectedError

PAGE = 256
"""JetStream lists so many consumers at once."""


class StreamConsumer(NamedTuple):
    """One consumer of the stream."""

    name: str
    """Its durable name; empty: it has none, and is gone with its client."""
    pending: int
    unacknowledged: int


async def readers_of(client: Client, stream: str) -> tuple[int, int, list[StreamConsumer]]:
    """The stream's messages and bytes, and its consumers. Raises DisconnectedError when JetStream does not answer."""
    jetstream = client.jetstream()
    found: list[StreamConsumer] = []
    try:
        state = (await jetstream.stream_info(stream)).state
        while page := await jetstream.consumers_info(stream, len(found)):
            found += [
                StreamConsumer(one.config.durable_name or "", one.num_pending or 0, one.num_ack_pending or 0)
                for one in page
            ]
            if len(page) < PAGE:
                break
    except (NatsError, OSError) as error:
        raise DisconnectedError(f"JetStream does not tell of {stream}: {error}") from error
    return state.messages, state.bytes, found
