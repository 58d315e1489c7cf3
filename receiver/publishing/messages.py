"""Messages as they are published: of the feed, one for each outbox row, and of the KV bucket, one for each key.

Must not know the streams, nor when a message is published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from secrets import token_hex
from typing import Any, NamedTuple

import orjson

from receiver.config.settings import Settings
from receiver.events.cloudevents import SUBJECTS, item_json, shortened
from receiver.publishing.outbox import Row, Rows

CONTROL_BYTES = 256
"""Room for what is added to a message's own headers."""
EXPECTED_SEQUENCE = "Nats-Expected-Last-Sequence"
EXPECTED_ID = "Nats-Expected-Last-Msg-Id"
MESSAGE_ID = "Nats-Msg-Id"


class Message(NamedTuple):
    """What is published: `headers` in plain ASCII, among them `Nats-Msg-Id`."""

    subject: str
    headers: Mapping[str, str]
    payload: bytes


def feed_message(row: Row, bytes_max: int, prefix: str = SUBJECTS) -> Message:
    """The message of an outbox row, of at most `bytes_max` with its headers."""
    return Message(prefixed(row["subject"], prefix), orjson.loads(row["headers"]), _payload(row, bytes_max))


def prefixed(subject: str, prefix: str) -> str:
    """The subject as it is published: the ledger and the outbox know the default prefix alone."""
    return subject if prefix == SUBJECTS else prefix + subject.removeprefix(SUBJECTS)


def kv_messages(rows: Rows | Sequence[Mapping[str, Any]], bytes_max: int, settings: Settings) -> list[Message]:
    """The latest item of each key. An item that is put again must be taken again, so ids are made anew each time."""
    latest = {row["kv_key"]: row for row in rows if row["kv_key"] is not None}
    nonce = token_hex(8)
    messages = []
    for number, (key, row) in enumerate(latest.items()):
        headers = {MESSAGE_ID: f"{nonce}.{number}"}
        if row["kv_ended"]:
            headers["Nats-TTL"] = f"{settings.kv_ended_ttl_s}s"
        messages.append(Message(f"$KV.{settings.kv_bucket}.{key}", headers, item_json(_payload(row, bytes_max))))
    return messages


def _payload(row: Row | Mapping[str, Any], bytes_max: int) -> bytes:
    """Cut down where the broker would not take it whole: a message too large must not stop the feed."""
    payload: bytes = row["payload"].encode()
    payload_bytes_max = bytes_max - len(row["headers"]) - CONTROL_BYTES
    return payload if len(payload) <= payload_bytes_max else shortened(payload, payload_bytes_max)
