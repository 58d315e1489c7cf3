"""A stream to consume, and what helps to look at its consumers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, TypeVar

import orjson
from nats.js.api import ConsumerInfo, StreamConfig
from nats.js.errors import NotFoundError

from esc_receiver_client import EscFeed, Event
from receiver.events.cloudevents import OutboxRow
from tests.support import feed

T = TypeVar("T")


async def publish(url: str, rows: Sequence[OutboxRow], stream: str = "ESC") -> None:
    """Put messages into the feed's stream as the relay does."""
    async with feed.jetstream(url) as js:
        try:
            await js.stream_info(stream)
        except NotFoundError:
            await js.add_stream(StreamConfig(name=stream, subjects=["esc.v1.>"]))
        for row in rows:
            await js.publish(row.subject, row.payload.encode(), headers=orjson.loads(row.headers))


async def take(found: Any, number: int) -> list[Any]:
    """The next so many, which is to be closed with them."""
    taken = []
    async with aclosing(found):
        async for one in found:
            taken.append(one)
            if len(taken) == number:
                break
    return taken


async def names(url: str, number: int, **how: Any) -> list[str]:
    """The VMs of the next events, each acknowledged."""
    taken: list[str] = []
    async with EscFeed(url) as esc_feed, aclosing(esc_feed.subscribe(**how)) as events:
        async for event in events:
            await event.ack()
            taken.append(name_of(event))
            if len(taken) == number:
                break
    return taken


def name_of(event: Event) -> str:
    """Of the thing that it is about."""
    return str(event.json()["name"])


async def consumer(url: str, name: str) -> ConsumerInfo:
    """How a consumer stands."""
    async with feed.jetstream(url) as js:
        info: ConsumerInfo = await js.consumer_info("ESC", name)
        return info


async def is_acknowledged(url: str, name: str, number: int) -> bool:
    """Whether the consumer has acknowledged so many, and has nothing open."""
    info = await consumer(url, name)
    assert info.ack_floor
    return info.ack_floor.stream_seq == number and not info.num_ack_pending
