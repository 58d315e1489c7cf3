"""One event of the feed: its CloudEvents attributes, its typed data, and how it is acknowledged.

What a later receiver adds is kept and does not raise: unknown fields in `model_extra`, unknown kinds as `OtherEvent`.
Attributes and data are read when they are asked for, so that passing over an event costs nothing. This file must not
know how events are fetched.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from esc_receiver_client.errors import FeedError, NotAnEventError, describe

if TYPE_CHECKING:
    from esc_receiver_client.data import Data


class Event:
    """One change, as it was published."""

    def __init__(self, message: Msg, *, wants_ack: bool, ack_wait_s: float = 0.0) -> None:
        self._message = message
        self._wants_ack = wants_ack
        self._ack_wait_s = ack_wait_s
        self.settled = not wants_ack
        """Whether it was acknowledged, given back or rejected; an event of a follower needs none of it."""

    def __repr__(self) -> str:
        return f"<Event {self.id} {self.nats_subject}>"

    @cached_property
    def attributes(self) -> dict[str, str]:
        """All CloudEvents attributes, by name."""
        return {name[3:]: unquote(value) for name, value in self.headers.items() if name.startswith("ce-")}

    @property
    def headers(self) -> Mapping[str, str]:
        """As published: the attributes as `ce-…`, `traceparent`, and those of NATS."""
        return self._message.headers or {}

    @property
    def id(self) -> str:
        """The same each time that this event is delivered, and when the stream is rebuilt."""
        return self.headers.get("ce-id") or f"{self._message.metadata.stream}/{self.stream_sequence}"

    @property
    def type(self) -> str:
        """Such as `esc.vm.error.v1`."""
        return self.attributes.get("type", "")

    @property
    def source(self) -> str:
        """The ESC instance: `/esc/lab1`."""
        return self.attributes.get("source", "")

    @property
    def subject(self) -> str:
        """What it is about, by its true ids: `vm/dep-1/vm-1`."""
        return self.attributes.get("subject", "")

    @property
    def time(self) -> datetime | None:
        """When the receiver decided; None of a message that is none of its own."""
        time = self.attributes.get("time")
        return datetime.fromisoformat(time) if time else None

    @property
    def sequence(self) -> int | None:
        """1, 2, 3 … for each entity, without a gap; None of a callback that was not understood."""
        sequence = self.attributes.get("sequence")
        return int(sequence) if sequence else None

    @property
    def partition_key(self) -> str:
        """Events that share it must stay in order: a deployment's and its VMs' do."""
        return self.attributes.get("partitionkey", "")

    @property
    def transaction_id(self) -> str | None:
        """ESC's, where there is one."""
        return self.attributes.get("correlationid")

    @property
    def nats_subject(self) -> str:
        """The subject that it was published on: `esc.v1.vm.error.lab1.…`."""
        return self._message.subject

    @property
    def stream_sequence(self) -> int:
        """Its place in the stream, another one after the stream is rebuilt."""
        return self._message.metadata.sequence.stream

    @property
    def deliveries(self) -> int:
        """How often it was delivered, this time included."""
        return self._message.metadata.num_delivered or 1

    @property
    def raw(self) -> bytes:
        """The payload as published."""
        return self._message.data

    def json(self) -> dict[str, Any]:
        """The payload. Raises NotAnEventError."""
        try:
            document = json.loads(self._message.data)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise NotAnEventError(
                f"message {self.stream_sequence} on {self.nats_subject} is no event of a receiver:"
                f" {len(self.raw)} bytes that are no JSON object; acknowledge it to pass over it"
            )
        return document

    @cached_property
    def data(self) -> Data:
        """The payload, typed; use `isinstance` or `match` to tell the kinds apart. Raises NotAnEventError."""
        from esc_receiver_client.data import data_of  # noqa: PLC0415 - all classes come with it; many never ask for one

        return data_of(self.json(), self._message.data)

    def cloud_event(self) -> dict[str, Any]:
        """The JSON format of CloudEvents 1.0; data that is no JSON is in base64."""
        kind = self.headers.get("content-type", "application/json")
        attributes = self.attributes | {"datacontenttype": kind}
        try:
            return attributes | {"data": json.loads(self._message.data)}
        except ValueError:
            return attributes | {"data_base64": b64encode(self._message.data).decode()}

    # What becomes of it.

    async def ack(self) -> None:
        """It is done, and is not delivered again. Raises FeedError while NATS is away: it is delivered again then."""
        if self._wants_ack and not self.settled:
            await self._tell(self._message.ack())

    async def nak(self, delay_s: float | None = None) -> None:
        """Deliver it again, at once or after so many seconds."""
        if self._wants_ack and not self.settled:
            await self._tell(self._message.nak(delay=delay_s))

    async def reject(self) -> None:
        """It can never be processed: do not deliver it again."""
        if self._wants_ack and not self.settled:
            await self._tell(self._message.term())

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Keep it from being delivered again while the work inside takes longer than `ack_wait_s`."""
        task = asyncio.create_task(self._keep()) if self._wants_ack else None
        try:
            yield
        finally:
            if task:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _keep(self) -> None:
        while not self.settled:
            with suppress(NatsError, OSError):
                await self._message.in_progress()
            await asyncio.sleep(self._ack_wait_s / 3)

    async def _tell(self, telling: Any) -> None:
        try:
            await telling
        except (NatsError, OSError) as error:
            raise FeedError(f"NATS was not told about event {self.id}: {describe(error)}") from error
        self.settled = True


class Batch(Sequence[Event]):
    """Events that were fetched together; `ack` acknowledges all that are not settled yet."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events

    def __len__(self) -> int:
        return len(self._events)

    def __getitem__(self, index: Any) -> Any:
        return self._events[index]

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    async def ack(self) -> None:
        """All of it is done."""
        for event in self._events:
            await event.ack()

    async def nak(self, delay_s: float | None = None) -> None:
        """Deliver those again that are not settled."""
        for event in self._events:
            await event.nak(delay_s)
