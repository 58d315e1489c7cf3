"""Messages as they are published: of the feed, one for each outbox row, and of the KV bucket, one for each key.

Must not know the streams, nor when a message is published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from secrets import token_hex
from typing import Any, NamedTuple

import orjson

from receiver.config.settings import Settings
from receiver.events.cloudevents import item_json, shortened
from receiver.events.subjects import SUBJECTS
from receiver.publishing.outbox import Row, Rows

CONTROL_BYTES = 256
"""Room for what is added to a message's own headers."""
EXPECTED_SEQUENCE = "Nats-Expected-Last-Sequence"
EXPECTED_ID = "Nats-Expected-Last-Msg-Id"
MESSAGE_ID = "Nats-Msg-Id"


class Message(NamedTuple):
    """What is published."""

    subject: str
    id: str
    """`Nats-Msg-Id`, which is one of its headers."""
    headers: str
    """Lines as on the wire, in plain ASCII, without the end of the last."""
    payload: bytes


def feed_message(row: Row, bytes_max: int, prefix: str = SUBJECTS) -> Message:
    """The message of an outbox row, of at most `bytes_max` with its headers."""
    subject, headers = prefixed(row["subject"], prefix), header_lines(row["headers"])
    return Message(subject, str(row["id"]), headers, _payload(row, bytes_max))


def header_lines(headers: str) -> str:
    """JSON as `events` writes it, turned into header lines.

    Without reading it, which takes four times as long: no name and no value of ours has a quote in it, so what stands
    between quotes can only be the end of one and the beginning of the next.
    """
    lines = headers[2:-2].replace('":"', ": ").replace('","', "\r\n")
    if '"' in lines or "\\" in lines:  # written otherwise, or something is escaped
        lines = "\r\n".join(f"{name}: {value}" for name, value in orjson.loads(headers).items())
    return lines


def prefixed(subject: str, prefix: str) -> str:
    """The subject as it is published: the ledger and the outbox know the default prefix alone."""
    return subject if prefix == SUBJECTS else prefix + subject.removeprefix(SUBJECTS)


def kv_messages(rows: Rows | Sequence[Mapping[str, Any]], bytes_max: int, settings: Settings) -> list[Message]:
    """The latest item of each key. An item that is put again must be taken again, so ids are made anew each time."""
    latest = {row["kv_key"]: row for row in rows if row["kv_key"] is not None}
    nonce, ended = token_hex(8), f"\r\nNats-TTL: {settings.kv_ended_ttl_s}s"
    messages = []
    for number, (key, row) in enumerate(latest.items()):
        message_id = f"{nonce}.{number}"
        lines = f"{MESSAGE_ID}: {message_id}" + (ended if row["kv_ended"] else "")
        payload = item_json(_payload(row, bytes_max))
        messages.append(Message(f"$KV.{settings.kv_bucket}.{key}", message_id, lines, payload))
    return messages


def _payload(row: Row | Mapping[str, Any], bytes_max: int) -> bytes:
    """Cut down where the broker would not take it whole: a message too large must not stop the feed."""
    payload: bytes = row["payload"].encode()
    payload_bytes_max = bytes_max - len(row["headers"]) - CONTROL_BYTES
    return payload if len(payload) <= payload_bytes_max else shortened(payload, payload_bytes_max)
