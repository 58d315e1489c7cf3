"""The current state of every deployment and VM, and then every change of it, without a gap or a repeat.

The bucket tells the state, the stream every change. The bucket may be behind the stream by what the receiver publishes
at once, and ahead of where the reading began: so the stream is read from somewhat earlier on, and what an entity's own
number shows to be known is passed over. That also makes harmless that a stream is rebuilt meanwhile. This file must not
know how either is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError
from pydantic import ValidationError

from esc_receiver_client import classes
from esc_receiver_client.connection import AWAY, RETRY_S, Connection
from esc_receiver_client.errors import NotAnEventError, StreamMissingError
from esc_receiver_client.event import Event
from esc_receiver_client.ordered import Follower, read

BEHIND_MAX = 4_096
"""The bucket is behind the stream by one batch at most, which has so many messages at most (`publish_batch_max`)."""
EntityKind = Literal["deployment", "vm"]


@dataclass(frozen=True, slots=True)
class State:
    """An entity as it stands: fold by `item.id`, and you have all that the query API has."""

    entity: EntityKind
    item: classes.Deployment | classes.Vm
    event: Event | None
    """What changed it; None: it is part of the snapshot."""


class SnapshotReader:
    """Reads one stream and its bucket."""

    def __init__(self, connection: Connection, stream: str, bucket: str, entities: Collection[EntityKind]) -> None:
        self._connection = connection
        self._stream = stream
        self._bucket = bucket
        self._entities = entities
        self._known: dict[UUID, int] = {}

    async def batches(self) -> AsyncGenerator[list[State]]:
        """For ever, as many as come together. Raises StreamMissingError and FeedError at the start only."""
        place = await self._connection.stream(self._stream)  # before the bucket, which is no older then
        async with aclosing(self._snapshot()) as snapshot:
            async for states in snapshot:
                yield states
        subjects = [f"esc.v1.{entity}.>" for entity in self._entities]
        follower = Follower(self._connection, self._stream, subjects, place.last_sequence + 1 - BEHIND_MAX, of=place)
        async with aclosing(follower.batches()) as batches:
            async for messages in batches:
                changes = (self._change(Event(message, wants_ack=False)) for message in messages)
                yield [state for state in changes if state]

    async def _snapshot(self) -> AsyncGenerator[list[State]]:
        """All of the bucket; when it is lost on the way, it is begun again, and what was shown is not shown again."""
        bucket = f"KV_{self._bucket}"
        while True:
            config = ConsumerConfig(
                deliver_policy=DeliverPolicy.LAST_PER_SUBJECT,
                filter_subjects=[f"$KV.{self._bucket}.{entity}.>" for entity in self._entities],
            )
            try:
                async with aclosing(read(self._connection, bucket, config)) as found:
                    async for messages in found:
                        if not messages:
                            return
                        entries = (self._entry(message) for message in messages)
                        yield [state for state in entries if state]
            except NotFoundError as error:
                raise StreamMissingError(f"this NATS has no bucket {self._bucket}") from error
            except AWAY:
                await asyncio.sleep(RETRY_S)

    def _entry(self, message: Msg) -> State | None:
        if not message.data:  # a key that was deleted
            return None
        entity: EntityKind = "vm" if message.subject.split(".")[2] == "vm" else "deployment"
        model = classes.Vm if entity == "vm" else classes.Deployment
        try:
            item = model.model_validate_json(message.data)
        except ValidationError:
            return None  # somebody else's key
        if item.sequence <= self._known.get(item.id, 0):
            return None
        self._known[item.id] = item.sequence
        return State(entity, item, None)

    def _change(self, event: Event) -> State | None:
        try:
            data = event.data
        except NotAnEventError:
            return None
        if not isinstance(data, classes.DeploymentEvent | classes.VmEvent) or data.sequence <= self._known.get(
            data.item.id, 0
        ):
            return None
        self._known[data.item.id] = data.sequence
        return State(data.entity, data.item, event)
