"""A callback as the spool keeps it: a head of JSON for the eye, the body as it is, a checksum over both.

Must not know files or SQL (`table`). Whoever changes the fields of an Envelope gives the format a new number,
so that an older program refuses what it cannot read.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID
from zlib import crc32

import orjson

from receiver.model.envelope import TRACE, Envelope
from receiver.model.notification import Channel, Status

FORMAT = 1
"""Of the table and of the head; kept as SQLite's `user_version`."""


class UnreadableError(Exception):
    """What is kept of a callback is not what was written."""


class Row(NamedTuple):
    """One callback without its position."""

    checksum: int
    """CRC-32 of head and body, one after the other. SQLite itself does not notice a changed byte in either."""
    head: bytes
    """A JSON object: every field of the envelope but the body and what its headers tell, by name."""
    body: bytes


def to_row(envelope: Envelope) -> Row:
    """The callback, written down."""
    said = envelope._asdict()
    body = said.pop("body")
    del said["traceparent"]  # the headers tell it
    said["receipt"] = str(said["receipt"])
    head = orjson.dumps(said)
    return Row(checksum(head, body), head, body)


def to_envelope(row: Row) -> Envelope:
    """The callback, equal to what was written in every field. Raises UnreadableError."""
    if checksum(row.head, row.body) != row.checksum:
        raise UnreadableError("a callback is not what its checksum says")
    return from_head(row.head, row.body)


def from_head(head: bytes, body: bytes) -> Envelope:
    """The callback, its checksum unasked. Raises UnreadableError."""
    try:
        said = orjson.loads(head)
        channel = said["channel"]
        said |= {
            "receipt": UUID(said["receipt"]),
            "received_at": datetime.fromisoformat(said["received_at"]),
            "channel": None if channel is None else Channel(channel),
            "headers": [(name, value) for name, value in said["headers"]],
            "status": Status(said["status"]),
            "notes": tuple(said["notes"]),
        }
        return Envelope(
            **said, body=body, traceparent=next((v for n, v in said["headers"] if n.lower() == TRACE), None)
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableError("a callback has a head that cannot be read") from error


def received_at(head: bytes) -> datetime:
    """When the callback of this head arrived. Raises UnreadableError."""
    try:
        return datetime.fromisoformat(orjson.loads(head)["received_at"])
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableError("a callback has a head that cannot be read") from error


def checksum(head: bytes, body: bytes) -> int:
    """32 bits over both."""
    return crc32(body, crc32(head))
