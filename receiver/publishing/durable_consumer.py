"""A durable consumer of the feed's stream: made, read from, acknowledged; and where it stands.

It remembers at JetStream what was acknowledged, one message at a time and in any order. Must not know what is done with
the messages, nor who else reads them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy
from nats.js.errors import APIError, NotFoundError

from esc_receiver_client.event import Event
from receiver.config.settings import Settings
from receiver.errors import ConsumerLostError, StreamRefusedError
from receiver.publishing.broker import Broker
from receiver.publishing.jetstream_api import get_message, translated
from receiver.publishing.messages import MESSAGE_ID
from receiver.publishing.stream_setup import StreamState, feed_plan, header, look_at_stream

FETCH_S = 2.0
FETCHED_MAX = 64
_NOBODY = "503"
"""The status by which the server says that there is no such consumer."""
LOOKED_AT_MAX = 1_000
"""Messages of one subject among which a lost place is looked for."""


class Standing(NamedTuple):
    """Where the consumer stands, as JetStream says."""

    acknowledged: int
    """Everything up to this sequence is acknowledged."""
    unacknowledged: int
    pending: int
    """Messages that were never given out."""


class Place(NamedTuple):
    """A place in a stream, and the message there; without id: none, or not known."""

    sequence: int
    subject: str = ""
    id: str = ""


class FeedMessage:
    """A message that was given out, and is ours until it is acknowledged or the time for that is over."""

    def __init__(self, message: Msg) -> None:
        self._message = message
        headers = message.headers or {}
        self.sequence: int = message.metadata.sequence.stream
        self.id: str = headers.get("ce-id", "")
        """Empty: no event of a receiver."""
        self.entity = f"{headers.get('ce-source', '')} {headers.get('ce-subject', '')}"

    def cloud_event(self) -> dict[str, object]:
        """In the JSON format of CloudEvents."""
        return Event(self._message, wants_ack=False).cloud_event()

    async def ack(self, timeout_s: float) -> None:
        """It is done. Raises as a request to JetStream does: then it comes again."""
        try:
            await self._message.ack_sync(timeout_s)
        except (NatsError, OSError, TimeoutError) as error:
            raise translated(error, "acknowledging a message") from error

    async def give_back(self) -> None:
        """Somebody else may have it at once."""
        with suppress(NatsError, OSError):
            await self._message.nak()

    async def keep(self) -> None:
        """Begin anew the time after which it comes again. Raises DisconnectedError."""
        try:
            await self._message.in_progress()
        except (NatsError, OSError) as error:
            raise translated(error, "keeping messages") from error


class DurableConsumer:
    """One consumer by its name. All methods raise DisconnectedError, NotAcknowledgedError and StreamRefusedError."""

    def __init__(
        self, broker: Broker, settings: Settings, name: str, subjects: Sequence[str], pending_max: int
    ) -> None:
        self.name = name
        self._broker = broker
        self._settings = settings
        self._stream = settings.stream_name
        self._timeout_s = settings.publish_timeout_s
        self._wanted = ConsumerConfig(
            name=name, durable_name=name, filter_subjects=list(subjects) or [f"{settings.subject_prefix}.>"],
            ack_policy=AckPolicy.EXPLICIT, ack_wait=settings.webhook_ack_wait_s, max_ack_pending=pending_max,
            max_deliver=-1,
        )  # fmt: skip
        self._subscription: Subscription | None = None
        self._came: list[Msg] = []
        self._arrived = asyncio.Event()
        self._asked_for = 0
        """Messages that JetStream may still send without being asked again."""
        self._given_out = 0
        """The consumer's own number of the message that came last."""

    async def stream(self) -> StreamState:
        """The stream as it is."""
        return await look_at_stream(await self._broker.client(), feed_plan(self._settings), self._timeout_s)

    async def standing(self) -> Standing | None:
        """None: there is no such consumer."""
        info = await self._info(await self._broker.client())
        return None if info is None else _standing(info)

    async def make(self, behind: int) -> None:
        """Make it anew, to give out what stands behind this sequence; one that is there is dropped."""
        client = await self._broker.client()
        jetstream = client.jetstream(timeout=self._timeout_s)
        place = self._wanted.evolve(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=behind + 1)
        try:
            with suppress(NotFoundError):
                await jetstream.delete_consumer(self._stream, self.name)
            await jetstream.add_consumer(self._stream, place)
        except (NatsError, OSError, TimeoutError) as error:
            raise self._translated(error) from error

    async def open(self) -> Standing:
        """Bring it to what is wanted, and begin to read. Raises ConsumerLostError when it is not there."""
        client = await self._broker.client()
        await self.close()
        if (info := await self._info(client)) is None:
            raise ConsumerLostError(f"consumer {self.name} is gone from stream {self._stream}")
        jetstream = client.jetstream(timeout=self._timeout_s)
        try:
            if not self._is_as_wanted(info.config):
                wanted = {
                    name: getattr(self._wanted, name) for name in ("filter_subjects", "ack_wait", "max_ack_pending")
                }
                await jetstream.add_consumer(
                    self._stream, info.config.evolve(**wanted, name=self.name, filter_subject=None, max_deliver=-1)
                )
            self._subscription = await client.subscribe(client.new_inbox(), cb=self._take)
        except (NatsError, OSError, TimeoutError) as error:
            raise self._translated(error) from error
        self._came, self._asked_for = [], 0
        self._given_out = info.delivered.consumer_seq if info.delivered else 0
        return _standing(info)

    async def fetch(self) -> list[FeedMessage]:
        """What has come; nothing when nothing came for a while. Not before `open`.

        Raises ConsumerLostError when the consumer is gone, or messages were given out that did not come: then it is to
        be opened again.
        """
        if self._asked_for <= 0:
            await self._ask()
        try:
            async with asyncio.timeout(FETCH_S + self._timeout_s):
                await self._arrived.wait()
        except TimeoutError:
            self._asked_for = 0
        return self.take()

    def take(self) -> list[FeedMessage]:
        """What has come already. Raises as `fetch` does."""
        came, self._came = self._came, []
        self._arrived.clear()
        return [FeedMessage(message) for message in came if self._is_next(message)]

    async def close(self) -> None:
        """Read no longer; harmless when it was not."""
        if self._subscription:
            with suppress(NatsError, OSError, TimeoutError):
                await self._subscription.unsubscribe()
        self._subscription = None

    async def _take(self, message: Msg) -> None:
        self._came.append(message)
        self._arrived.set()

    async def _ask(self) -> None:
        assert self._subscription is not None
        client = await self._broker.client()
        wanted = {"batch": FETCHED_MAX, "expires": round(FETCH_S * 1_000_000_000)}
        verb = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self.name}"
        try:
            await client.publish(verb, orjson.dumps(wanted), reply=self._subscription.subject)
        except (NatsError, OSError) as error:
            raise self._translated(error) from error
        self._asked_for = FETCHED_MAX

    def _is_next(self, message: Msg) -> bool:
        """Whether it is a message of the stream, and not JetStream's word that there is none."""
        if not (status := (message.headers or {}).get("Status")):
            self._asked_for -= 1
            self._given_out += 1
            if message.metadata.sequence.consumer != self._given_out:
                raise ConsumerLostError(f"messages of consumer {self.name} were lost on their way; they come again")
            return True
        self._asked_for = 0
        said = (message.headers or {}).get("Description", "")
        if status == _NOBODY or "deleted" in said.lower():
            raise ConsumerLostError(f"consumer {self.name} is gone from stream {self._stream}: {said or status}")
        return False

    # Places.

    async def place_at(self, sequence: int) -> Place:
        """With the message that stands there."""
        if sequence < 1:
            return Place(0)
        message = await get_message(await self._broker.client(), self._stream, {"seq": sequence}, self._timeout_s)
        if message is None:
            return Place(sequence)
        return Place(sequence, message["subject"], header(message, MESSAGE_ID) or "")

    async def find(self, place: Place) -> Place | None:
        """Where its message stands now; None when it is not found."""
        client, behind = await self._broker.client(), 1
        for _ in range(LOOKED_AT_MAX if place.id else 0):
            which = {"next_by_subj": place.subject, "seq": behind}
            message = await get_message(client, self._stream, which, self._timeout_s)
            if message is None:
                return None
            if header(message, MESSAGE_ID) == place.id:
                return place._replace(sequence=message["seq"])
            behind = message["seq"] + 1
        return None

    async def _info(self, client: Client) -> ConsumerInfo | None:
        try:
            info: ConsumerInfo = await client.jetstream(timeout=self._timeout_s).consumer_info(self._stream, self.name)
        except NotFoundError:
            return None
        except (NatsError, OSError, TimeoutError) as error:
            raise self._translated(error) from error
        return info

    def _is_as_wanted(self, found: ConsumerConfig) -> bool:
        subjects = found.filter_subjects or ([found.filter_subject] if found.filter_subject else [])
        wanted = self._wanted
        return (sorted(subjects), found.ack_wait, found.max_ack_pending, found.max_deliver) == (
            sorted(wanted.filter_subjects or []), wanted.ack_wait, wanted.max_ack_pending, -1,
        )  # fmt: skip

    def _translated(self, error: Exception) -> Exception:
        if isinstance(error, NotFoundError):
            return ConsumerLostError(f"consumer {self.name} is gone from stream {self._stream}")
        if isinstance(error, APIError):
            return StreamRefusedError(f"JetStream does not take consumer {self.name} so: {error.description}")
        return translated(error, f"consumer {self.name}")


def _standing(info: ConsumerInfo) -> Standing:
    return Standing(
        acknowledged=info.ack_floor.stream_seq if info.ack_floor else 0,
        unacknowledged=info.num_ack_pending or 0,
        pending=info.num_pending or 0,
    )
