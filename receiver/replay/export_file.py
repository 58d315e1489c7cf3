"""Raw callbacks in a file: one JSON object a line, written by `replay --export`, by hand or by another program.

    {"source": "lab1", "body": "<base64>", "headers": [["ESC-Transaction-Id", "t1"], ["ESC-Status-Code", "200"]],
     "channel": "callback", "received_at": "2026-01-01T10:00:00.000000Z", "receipt": "<uuid>",
     "remote": "10.1.0.5", "ref": null, "redacted": false, "unknown_source": false}

Only `source` and `body` are needed. Without `receipt` one is made of time and content, so that the same line is the
same callback whenever it is read; without `received_at` it arrives when it is read. Secrets are overwritten, and the
limits hold, as for a request. Must not know SQL, nor what a callback means.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, NoReturn
from uuid import UUID

import orjson
from pydantic import TypeAdapter, ValidationError

from receiver.config.settings import Settings
from receiver.config.sources import SourceName
from receiver.errors import HeaderTooLargeError, SetupError
from receiver.model.envelope import Clock, Envelope, read_head
from receiver.model.notification import POSTED, Channel
from receiver.model.sanitize import sanitize
from receiver.redaction.redactor import Redactor

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KEYS = frozenset(
    {"source", "body", "headers", "channel", "received_at", "receipt", "remote", "ref", "redacted", "unknown_source"}
)
_SOURCE: TypeAdapter[str] = TypeAdapter(SourceName)


def line_of(envelope: Envelope) -> bytes:
    """One callback as it is stored, with its end of line."""
    e = envelope
    fields = {
        "receipt": str(e.receipt), "received_at": e.received_at, "source": e.source, "channel": e.channel,
        "remote": e.remote, "ref": e.ref, "headers": e.headers, "redacted": e.redacted,
        "body": b64encode(e.body).decode(),
    }  # fmt: skip
    if e.is_of_unknown_source:
        fields["unknown_source"] = True
    return orjson.dumps(fields, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)


def lines(file: IO[bytes], name: str, settings: Settings) -> Iterator[Envelope]:
    """The callbacks of a file, in its order; empty lines are passed over.

    Raises SetupError, naming the line, for one that is not valid.
    """
    clock = Clock()
    line_bytes_max = 2 * (settings.body_bytes_max + settings.header_bytes_max) + 65_536
    number = 0
    while line := file.readline(line_bytes_max + 1):
        number += 1
        if len(line) > line_bytes_max:
            raise SetupError(f"{name}, line {number}: longer than a callback within the limits can be")
        if not line.strip():
            continue
        try:
            yield _envelope(line, clock, settings)
        except (ValueError, HeaderTooLargeError) as error:
            raise SetupError(f"{name}, line {number}: {str(error).splitlines()[0]}") from None


def count(path: Path, settings: Settings) -> int:
    """How many callbacks are in it. Raises SetupError when a line is not valid, before anything is applied."""
    with path.open("rb") as file:
        return sum(1 for _ in lines(file, str(path), settings))


def _envelope(line: bytes, clock: Clock, settings: Settings) -> Envelope:
    fields = orjson.loads(line)
    if not isinstance(fields, dict) or {"source", "body"} - fields.keys():
        raise ValueError("not a JSON object with `source` and `body`")
    if unknown := sorted(fields.keys() - KEYS):
        raise ValueError(f"no such key: {unknown[0]}")
    raw_body = _body(fields["body"], settings.body_bytes_max)
    redactor = Redactor(settings.secret_names, settings.redaction_tokens_max)
    head = read_head(_headers(fields.get("headers", [])), settings.header_bytes_max, redactor)
    body, redacted = redactor.redact(raw_body)
    received_at, receipt = _when(fields, clock, raw_body)
    is_unknown = fields.get("unknown_source") is True
    envelope = Envelope.of(
        head, receipt=receipt, received_at=received_at,
        source=_text(fields, "source") or "" if is_unknown else _source(fields["source"]),
        channel=_channel(fields.get("channel")), remote=_text(fields, "remote"), ref=_text(fields, "ref"), body=body,
        redacted=redacted or fields.get("redacted") is True,
    )  # fmt: skip
    return envelope.of_unknown_source() if is_unknown else envelope


def _body(text: object, bytes_max: int) -> bytes:
    try:
        body = b64decode(text, validate=True) if isinstance(text, str) else _refuse("body: no text")
    except binascii.Error:
        _refuse("body: not base64")
    if len(body) > bytes_max:
        raise ValueError(f"body: larger than body_bytes_max ({bytes_max} bytes)")
    return body


def _headers(headers: object) -> list[tuple[bytes, bytes]]:
    pairs = list(headers.items()) if isinstance(headers, dict) else headers
    if not isinstance(pairs, list) or not all(_is_pair(pair) for pair in pairs):
        _refuse("headers: neither an object nor a list of [name, value]")
    return [(name.encode(), value.encode()) for name, value in pairs]


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(text, str) for text in pair)


def _source(name: object) -> str:
    try:
        return _SOURCE.validate_python(name)
    except ValidationError as error:
        _refuse(f"source: {error.errors(include_url=False)[0]['msg'].removeprefix('Value error, ')}")


def _channel(name: object) -> Channel | None:
    if name is None:
        return None
    return Channel(str(name)) if name in POSTED else _refuse("channel: neither `callback` nor `events`")


def _text(fields: dict[str, Any], key: str) -> str | None:
    text = fields.get(key)
    return sanitize(text) if isinstance(text, str) and text else None


def _when(fields: dict[str, Any], clock: Clock, body: bytes) -> tuple[datetime, UUID]:
    """The time of arrival, and a receipt of the same millisecond (so that a look-up finds its partition)."""
    if "received_at" not in fields:
        return clock.stamp() if "receipt" not in fields else _refuse("receipt: without received_at")
    received_at = _time(fields["received_at"])
    if "receipt" not in fields:
        return received_at, receipt_at(received_at, orjson.dumps([fields["source"], fields.get("headers")]) + body)
    receipt = UUID(str(fields["receipt"]))
    if receipt.version != 7 or receipt.int >> 80 != _millisecond(received_at):
        raise ValueError("receipt: not of the time that received_at tells")
    return received_at, receipt


def _time(text: object) -> datetime:
    time = datetime.fromisoformat(text) if isinstance(text, str) else _refuse("received_at: no text")
    if time.tzinfo is None:
        raise ValueError("received_at: without an offset from UTC")
    if not EPOCH < time <= datetime.now(UTC):
        raise ValueError("received_at: not a time in the past")
    return time.astimezone(UTC)


def receipt_at(received_at: datetime, content: bytes) -> UUID:
    """A UUIDv7 of that time, made of content rather than chance."""
    digest = int.from_bytes(blake2b(received_at.isoformat().encode() + content, digest_size=10).digest())
    high, low = digest >> 62 & 0xFFF, digest & (1 << 62) - 1
    return UUID(int=_millisecond(received_at) << 80 | 7 << 76 | high << 64 | 2 << 62 | low)


def _millisecond(time: datetime) -> int:
    return (time - EPOCH) // timedelta(milliseconds=1)


def _refuse(why: str) -> NoReturn:
    raise ValueError(why)
