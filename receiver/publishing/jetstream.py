"""The two streams as the relay needs them: made and kept as set, read at the tail, published to in a chain.

A chain is a batch in which every message names what it must follow: the sequence and, but for the first, the
id of the message there. So the broker refuses all of it from the first message on that does not fit: nothing
goes in out of order, and of two publishers only one gets through. The sequence alone would not do: where a
stranger's message has taken the place of the first, the second would find its sequence and go in.
It also means that the acknowledgement of the last message vouches for all before it, so only that one is asked
for: half the CPU of nats-py's `publish_async`, and no futures that a refusal would leave unresolved.
This file must not know of PostgreSQL or the outbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError, NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from receiver.config.settings import Settings
from receiver.errors import DeposedError, DisconnectedError, NotAcknowledgedError, StreamRefusedError, describe
from receiver.events.cloudevents import SUBJECTS
from receiver.publishing.broker import Broker

SERVER_VERSION_MIN = (2, 11)
"""The first nats-server that lets a single message expire, as the keys of ended things must."""
MESSAGE_BYTES_MIN = 65_536
"""What the broker must take; `event.shortened` can get every message below it."""
CONTROL_BYTES = 256
"""Room for what is added to a message's own headers."""

EXPECTED_SEQUENCE = "Nats-Expected-Last-Sequence"
EXPECTED_ID = "Nats-Expected-Last-Msg-Id"
MESSAGE_ID = "Nats-Msg-Id"

DUPLICATE_WINDOW_MIN_NS = 100_000_000
"""The shortest that JetStream knows."""

_NO_STREAM = 10059
_NO_MESSAGE = 10037
_NOT_THE_LAST = frozenset({10070, 10071, 10158})
"""Another message or another sequence is the last, or the message is on its way in already."""
_NANOSECONDS = 1_000_000_000
_TAIL_MESSAGES_MAX = 256


class Message(NamedTuple):
    """What is published: `headers` in plain ASCII, among them `Nats-Msg-Id`."""

    subject: str
    headers: Mapping[str, str]
    payload: bytes


class StreamState(NamedTuple):
    """A stream as it stands."""

    name: str
    identity: str
    """Name and time of creation: another one when the stream was made anew."""
    last_sequence: int
    messages: int
    message_bytes_max: int
    """Headers and payload together."""


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

    @property
    def connections(self) -> int:
        """Another number: what was known of the streams may no longer be so."""
        return self._broker.connections

    async def connected(self) -> int:
        """Wait for the broker; the number of the connection."""
        await self._broker.client()
        return self._broker.connections

    async def feed(self) -> StreamState:
        """The feed's stream, made or brought to the set limits if need be."""
        settings = self._settings
        age_max = settings.stream_age_max_s * _NANOSECONDS
        window = settings.stream_duplicate_window_s * _NANOSECONDS
        limits = {
            "num_replicas": settings.stream_replicas,
            "max_bytes": settings.stream_bytes_max,
            "max_msgs": settings.stream_messages_max,
            "max_age": age_max,
            "duplicate_window": min(window, age_max) if age_max else window,
        }
        made_as = {
            "description": "Feed of esc-receiver: one CloudEvent for each ledger entry",
            "retention": "limits",
            "discard": "old",
            "storage": "file",
            "allow_direct": True,
        }
        return await self._kept(settings.stream_name, f"{SUBJECTS}.>", limits, made_as)

    async def bucket(self) -> StreamState:
        """The stream behind the KV bucket, likewise; shaped as every NATS client expects a bucket to be."""
        settings = self._settings
        limits = {"num_replicas": settings.kv_replicas, "max_bytes": settings.kv_bytes_max, "allow_msg_ttl": True}
        made_as = {
            "description": "Current states of deployments and VMs, by esc-receiver",
            "retention": "limits",
            "discard": "new",
            "storage": "file",
            "duplicate_window": _NANOSECONDS,  # ids are never used again here; a long window costs memory
            "max_msgs_per_subject": 1,
            "allow_direct": True,
            "allow_rollup_hdrs": True,
            "deny_delete": True,
        }
        bucket = settings.kv_bucket
        return await self._kept(f"KV_{bucket}", f"$KV.{bucket}.>", limits, made_as)

    async def publish(self, chain: Sequence[Message], last_sequence: int) -> Acknowledged:
        """Publish `chain` right behind `last_sequence`, and wait until the last of it is acknowledged.

        Raises DeposedError when something else stands there, or a message of the chain was refused: which one,
        and why, shows when it is tried again alone, from the stream's tail.
        """
        client = await self._broker.client()
        *head, final = chain
        headers = {**final.headers, EXPECTED_SEQUENCE: str(last_sequence + len(head))}
        if head:
            headers[EXPECTED_ID] = head[-1].headers[MESSAGE_ID]
            # The public `publish` checks and encodes header by header: 15 µs more for each message.
            await client._send_command(_commands(head, last_sequence))  # noqa: SLF001
        answer = await self._asked(client, final.subject, final.payload, headers)
        sequence, duplicate = int(answer.get("seq", 0)), bool(answer.get("duplicate"))
        if sequence == last_sequence + len(chain):
            return Acknowledged(sequence, duplicate=False)
        if duplicate and not head:
            if not await self._has(client, answer["stream"], sequence):
                raise NotAcknowledgedError(f"a message is gone from {answer['stream']}, but still passes for a repeat")
            return Acknowledged(last_sequence, duplicate=True)
        raise DeposedError(f"the last of {len(chain)} messages is {sequence}, not {last_sequence + len(chain)}")

    async def ids_after(self, stream: StreamState, sequence: int) -> AsyncIterator[list[tuple[int, str]]]:
        """Sequence and `Nats-Msg-Id` of the messages behind `sequence`, up to where `stream` stood, in portions."""
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
        timeout_s = self._settings.publish_timeout_s
        try:
            subscription = await client.jetstream(timeout=timeout_s).pull_subscribe(
                ">", stream=stream.name, config=config
            )
            pending, reached = (await subscription.consumer_info()).num_pending or 0, sequence
            while pending > 0:
                messages = await subscription.fetch(min(pending, _TAIL_MESSAGES_MAX), timeout=timeout_s)
                pending -= len(messages)
                reached = messages[-1].metadata.sequence.stream
                ids = [(m.metadata.sequence.stream, (m.headers or {}).get(MESSAGE_ID, "")) for m in messages]
                if portion := [(number, text) for number, text in ids if number <= stream.last_sequence]:
                    yield portion
            await subscription.unsubscribe()
        except (NatsError, OSError, TimeoutError) as error:
            raise _ours(error, f"reading the tail of {stream.name}") from error
        # The consumer may sit at a replica that is behind; and what was not read there would be published again.
        if reached < stream.last_sequence and await self._has(client, stream.name, stream.last_sequence):
            raise NotAcknowledgedError(f"the tail of {stream.name} cannot be read to its end just now")

    async def empty(self, stream: StreamState) -> None:
        """Take all messages out, and let their ids come again. Its consumers stay, and its sequence goes on."""
        client = await self._broker.client()
        await self._api(client, f"STREAM.PURGE.{stream.name}", {})
        info = await self._api(client, f"STREAM.INFO.{stream.name}", {})
        forgetful = info["config"] | {"duplicate_window": DUPLICATE_WINDOW_MIN_NS}  # `feed` sets it as it was
        await self._api(client, f"STREAM.UPDATE.{stream.name}", forgetful)
        await asyncio.sleep(3 * DUPLICATE_WINDOW_MIN_NS / _NANOSECONDS)

    async def _has(self, client: Client, stream: str, sequence: int) -> bool:
        """Whether the leader still has a message, or it was deleted or has expired."""
        try:
            await self._api(client, f"STREAM.MSG.GET.{stream}", {"seq": sequence})
        except _ApiError as error:
            if error.err_code == _NO_MESSAGE:
                return False
            raise
        return True

    async def _kept(self, name: str, subject: str, limits: dict[str, Any], made_as: dict[str, Any]) -> StreamState:
        """The stream as wanted. What is not ours to set stays as the operator has it."""
        client = await self._broker.client()
        _require_version(client)
        try:
            info = await self._api(client, f"STREAM.INFO.{name}", {})
        except _ApiError as error:
            if error.err_code != _NO_STREAM:
                raise
            info = await self._api(
                client, f"STREAM.CREATE.{name}", {"name": name, "subjects": [subject]} | made_as | limits
            )
        if "leader" not in info.get("cluster", {"leader": ""}):
            raise NotAcknowledgedError(
                f"stream {name} has no leader just now"
            )  # and what is told of its end may be old
        config = info["config"]
        if config.get("subjects") != [subject]:
            has = ", ".join(config.get("subjects") or ["none"])
            raise StreamRefusedError(
                f"stream {name} exists with other subjects ({has} instead of {subject}); it is left alone"
            )
        if config["retention"] != "limits":
            raise StreamRefusedError(
                f"stream {name} has retention {config['retention']}, which loses what others must still read"
            )
        if any(config.get(limit) != value for limit, value in limits.items()):
            info = await self._api(client, f"STREAM.UPDATE.{name}", config | limits)
        return StreamState(
            name=name,
            identity=f"{name}@{info['created']}",
            last_sequence=info["state"]["last_seq"],
            messages=info["state"]["messages"],
            message_bytes_max=_message_bytes_max(client, name, info["config"]),
        )

    async def _api(self, client: Client, verb: str, request: dict[str, Any]) -> dict[str, Any]:
        """JetStream's API in plain JSON: nats-py's dataclasses would drop, on update, the fields they do not know."""
        return await self._asked(client, f"$JS.API.{verb}", orjson.dumps(request), None)

    async def _asked(
        self, client: Client, subject: str, payload: bytes, headers: dict[str, str] | None
    ) -> dict[str, Any]:
        timeout_s = self._settings.publish_timeout_s
        try:
            reply = await client.request(subject, payload, timeout=timeout_s, headers=headers)
        except (NatsError, OSError, TimeoutError) as error:
            raise _ours(error, subject) from error
        answer: dict[str, Any] = orjson.loads(reply.data)
        if fault := answer.get("error"):
            if fault.get("err_code") in _NOT_THE_LAST:
                raise DeposedError(f"{fault['description']} ({subject})")
            raise _ApiError(fault, subject)
        return answer


class _ApiError(StreamRefusedError):
    """JetStream said no."""

    def __init__(self, fault: Mapping[str, Any], subject: str) -> None:
        super().__init__(
            f"{fault.get('description', 'no reason given')} (JetStream error {fault.get('err_code')}, {subject})"
        )
        self.err_code = fault.get("err_code")


def _commands(chain: Iterable[Message], last_sequence: int) -> bytes:
    """`HPUB` for each, as on the wire, without a reply subject: no acknowledgement is asked for."""
    commands: list[bytes] = []
    link = ""
    for sequence, (subject, headers, payload) in enumerate(chain, last_sequence):
        lines = "\r\n".join([f"{name}: {value}" for name, value in headers.items()])
        block = f"NATS/1.0\r\n{EXPECTED_SEQUENCE}: {sequence}\r\n{link}{lines}\r\n\r\n"
        command = f"HPUB {subject} {len(block)} {len(block) + len(payload)}\r\n{block}"
        commands += (command.encode("ascii"), payload, b"\r\n")
        link = f"{EXPECTED_ID}: {headers[MESSAGE_ID]}\r\n"
    return b"".join(commands)


def _message_bytes_max(client: Client, name: str, config: Mapping[str, Any]) -> int:
    limits = [client.max_payload, config.get("max_msg_size", -1)]
    least: int = min(limit for limit in limits if limit > 0)
    if least < MESSAGE_BYTES_MIN:
        raise StreamRefusedError(
            f"stream {name} takes messages of at most {least} bytes; {MESSAGE_BYTES_MIN} are needed"
        )
    return least


def _require_version(client: Client) -> None:
    version = client.connected_server_version
    if (version.major, version.minor) < SERVER_VERSION_MIN:
        wanted = ".".join(map(str, SERVER_VERSION_MIN))
        raise StreamRefusedError(f"nats-server {wanted} or later is needed, this is {version.major}.{version.minor}")


def _ours(error: Exception, what: str) -> Exception:
    match error:
        case NoRespondersError():
            return StreamRefusedError(f"nobody answers on {what}: is JetStream on, and does the stream exist?")
        case MaxPayloadError():
            return StreamRefusedError(f"a message is too large for NATS ({what})")
        case NatsTimeoutError() | TimeoutError():
            return NotAcknowledgedError(f"no answer in time ({what})")
        case _:
            return DisconnectedError(f"NATS connection lost: {describe(error)} ({what})")
