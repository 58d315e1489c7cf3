"""The feed's stream and the KV bucket as the relay needs them: set up, read at the tail, published to in a chain.

A chain is a batch in which every message names what it must follow: the sequence and, but for the first, the id of the
message there. So the broker refuses all of it from the first message on that does not fit: nothing goes in out of
order, and of two publishers only one gets through. The sequence alone would not do: where a stranger's message has
taken the place of the first, the second would find its sequence and go in. It also means that the acknowledgement of
the last message covers all before it, so only that one is asked for: half the CPU of nats-py's `publish_async`, and no
futures that a refusal would leave unresolved. This file must not know of PostgreSQL or the outbox.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import NamedTuple
from urllib.parse import unquote
from uuid import UUID

import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from esc_receiver_client.cancellation import cancellation_kept
from receiver.config.settings import Settings
from receiver.errors import DeposedError, NotAcknowledgedError
from receiver.publishing.broker import Broker
from receiver.publishing.jetstream_api import get_message, request_json, translated
from receiver.publishing.messages import EXPECTED_ID, EXPECTED_SEQUENCE, MESSAGE_ID, Message
from receiver.publishing.stream_setup import (
    StreamState,
    bucket_plan,
    claim_stream,
    empty_stream,
    ensure_stream,
    feed_plan,
    header,
    look_at_stream,
    purge_stream,
    require_ours,
)

_TAIL_MESSAGES_MAX = 256

log = structlog.get_logger()


class StreamMessage(NamedTuple):
    """A message as it stands in the stream, without its payload."""

    sequence: int
    id: str
    """Its `Nats-Msg-Id`; empty: none."""
    subject: str
    is_event: bool
    """Whether it looks like one that a receiver made: this one's, or another's."""
    source: str = ""
    """Of an event: the ESC that it is about."""
    entry_sequence: int = 0
    """Of an event of a ledger entry: its number within its entity."""

    @property
    def uuid(self) -> UUID | None:
        """Its id, if it is one that a receiver could have given."""
        try:
            return UUID(self.id)
        except ValueError:
            return None


class Acknowledged(NamedTuple):
    """The broker's answer to a chain."""

    last_sequence: int
    duplicate: bool
    """The only message of the chain was in the stream already, and is not there again."""


class JetStream:
    """Feed stream and KV bucket on a `Broker`.

    All methods raise DisconnectedError, NotAcknowledgedError (no answer within `publish_timeout_s`) and
    StreamRefusedError.
    """

    def __init__(self, broker: Broker, settings: Settings) -> None:
        self._broker = broker
        self._settings = settings
        self._timeout_s = settings.publish_timeout_s
        self._told: dict[str, str] = {}
        """By stream: why it is used as it is."""

    @property
    def connections(self) -> int:
        """How often NATS was connected; when it changes, what was known of the streams may no longer be so."""
        return self._broker.connections

    async def connected(self) -> int:
        """Wait for the broker; the number of the connection."""
        await self._broker.client()
        return self._broker.connections

    async def feed(self, database_id: str, *, whosever: bool = False) -> StreamState:
        """The feed's stream: created if it is missing, brought to its limits if it is known to be this database's.

        Raises StreamTakenError when it is another one's, unless `whosever`.
        """
        client = await self._broker.client()
        stream = await ensure_stream(client, feed_plan(self._settings), database_id, self._timeout_s)
        if not whosever:
            require_ours(stream, database_id)
        return self._told_of(stream)

    async def look(self, database_id: str) -> StreamState:
        """The feed's stream as it is: neither created nor changed. Raises StreamTakenError when it is another's."""
        client = await self._broker.client()
        stream = await look_at_stream(client, feed_plan(self._settings), self._timeout_s)
        require_ours(stream, database_id)
        return stream

    async def claim_feed(self, database_id: str) -> StreamState:
        """Write into the stream whose it is, and bring it to its limits."""
        client, plan = await self._broker.client(), feed_plan(self._settings)
        return self._told_of(await claim_stream(client, plan, database_id, self._timeout_s))

    async def claim(self, database_id: str) -> None:
        """Both, whosever they were; what another database put into the bucket goes."""
        client, bucket = await self._broker.client(), bucket_plan(self._settings)
        before = await ensure_stream(client, bucket, database_id, self._timeout_s)
        await self.claim_feed(database_id)
        await claim_stream(client, bucket, database_id, self._timeout_s)
        if before.owner != database_id:
            await purge_stream(client, before.name, self._timeout_s)

    async def bucket(self, database_id: str) -> StreamState:
        """The stream behind the KV bucket; it belongs to the database that came first."""
        client, plan = await self._broker.client(), bucket_plan(self._settings)
        stream = await ensure_stream(client, plan, database_id, self._timeout_s)
        require_ours(stream, database_id)
        if not stream.owner:
            stream = await claim_stream(client, plan, database_id, self._timeout_s)
        return self._told_of(stream)

    def _told_of(self, stream: StreamState) -> StreamState:
        """Warn of a stream that could not be brought to its limits, once for each reason."""
        if stream.left_alone and stream.left_alone != self._told.get(stream.name):
            log.warning(
                "the stream differs from the settings and is used as it is", stream=stream.name, why=stream.left_alone
            )
        self._told[stream.name] = stream.left_alone
        return stream

    async def id_at(self, stream: StreamState, sequence: int) -> str | None:
        """The `Nats-Msg-Id` of the message there; empty: it has none; None: there is no message."""
        client = await self._broker.client()
        message = await get_message(client, stream.name, {"seq": sequence}, self._timeout_s)
        return None if message is None else header(message, MESSAGE_ID) or ""

    async def empty(self, stream: StreamState) -> None:
        """Delete all messages, and let their ids come again. Its consumers stay, and its sequence goes on."""
        await empty_stream(await self._broker.client(), stream, self._timeout_s)

    async def publish(self, chain: Sequence[Message], last_sequence: int) -> Acknowledged:
        """Publish `chain` right behind `last_sequence`, and wait until the last of it is acknowledged.

        Raises DeposedError when something else stands there, or a message of the chain was refused: which one,
        and why, shows when it is tried again alone, from the stream's tail.
        """
        client = await self._broker.client()
        *head, final = chain
        headers = dict(line.split(": ", 1) for line in final.headers.split("\r\n"))
        headers[EXPECTED_SEQUENCE] = str(last_sequence + len(head))
        if head:
            headers[EXPECTED_ID] = head[-1].id
            # The public `publish` checks and encodes header by header: 15 µs more for each message.
            await client._send_command(_commands(head, last_sequence))  # noqa: SLF001
        answer = await request_json(client, final.subject, final.payload, headers, self._timeout_s)
        sequence, duplicate = int(answer.get("seq", 0)), bool(answer.get("duplicate"))
        if sequence == last_sequence + len(chain):
            return Acknowledged(sequence, duplicate=False)
        if duplicate and not head:
            if not await get_message(client, answer["stream"], {"seq": sequence}, self._timeout_s):
                raise NotAcknowledgedError(f"a message is gone from {answer['stream']}, but still passes for a repeat")
            return Acknowledged(last_sequence, duplicate=True)
        raise DeposedError(f"the last of {len(chain)} messages is {sequence}, not {last_sequence + len(chain)}")

    async def ids_after(self, stream: StreamState, sequence: int) -> AsyncIterator[list[StreamMessage]]:
        """The messages behind `sequence`, up to where `stream` stood, in portions."""
        if stream.last_sequence <= sequence:
            return
        client = await self._broker.client()
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=sequence + 1,
            ack_policy=AckPolicy.NONE,
            headers_only=True,
            mem_storage=True,
            num_replicas=1,
            inactive_threshold=60,
        )
        jetstream, reached = client.jetstream(timeout=self._timeout_s), sequence
        try:
            subscription = await jetstream.pull_subscribe(">", stream=stream.name, config=config)
            pending = (await subscription.consumer_info()).num_pending or 0
            while pending > 0:
                with cancellation_kept():
                    messages = await subscription.fetch(min(pending, _TAIL_MESSAGES_MAX), timeout=self._timeout_s)
                pending -= len(messages)
                reached = messages[-1].metadata.sequence.stream
                read = [_read(message) for message in messages]
                if portion := [message for message in read if message.sequence <= stream.last_sequence]:
                    yield portion
            await subscription.unsubscribe()
        except (NatsError, OSError, TimeoutError) as error:
            raise translated(error, f"reading the tail of {stream.name}") from error
        # The consumer may sit at a replica that is behind; and what was not read there would be published again.
        last = {"seq": stream.last_sequence}
        if reached < stream.last_sequence and await get_message(client, stream.name, last, self._timeout_s):
            raise NotAcknowledgedError(f"the tail of {stream.name} cannot be read to its end just now")


def _read(message: Msg) -> StreamMessage:
    headers = message.headers or {}
    source, sequence = headers.get("ce-source", ""), headers.get("ce-sequence", "")
    is_event = headers.get("ce-id", "") == headers.get(MESSAGE_ID) and source.startswith("/esc/")
    return StreamMessage(
        message.metadata.sequence.stream, headers.get(MESSAGE_ID, ""), message.subject, is_event,
        unquote(source.removeprefix("/esc/")) if is_event else "",
        int(sequence) if is_event and sequence.isdecimal() else 0,
    )  # fmt: skip


def _commands(chain: Iterable[Message], last_sequence: int) -> bytes:
    """`HPUB` for each, as on the wire, without a reply subject: no acknowledgement is asked for."""
    commands: list[bytes] = []
    link = ""
    for sequence, (subject, message_id, lines, payload) in enumerate(chain, last_sequence):
        block = f"NATS/1.0\r\n{EXPECTED_SEQUENCE}: {sequence}\r\n{link}{lines}\r\n\r\n"
        command = f"HPUB {subject} {len(block)} {len(block) + len(payload)}\r\n{block}"
        commands += (command.encode("ascii"), payload, b"\r\n")
        link = f"{EXPECTED_ID}: {message_id}\r\n"
    return b"".join(commands)
