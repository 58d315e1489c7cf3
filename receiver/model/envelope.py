"""One callback before its body is parsed: who sent it, under which id, with which status, and its bytes.

Knows the header spellings of ESC (docs/esc-callbacks.md#1). It must not know HTTP servers, XML or SQL;
`ingress` hands it plain values, `parsing` reads the body.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from time import time_ns
from typing import Any, Final, NamedTuple
from uuid import UUID

from receiver.errors import HeaderTooLargeError
from receiver.model.ids import stamped
from receiver.model.notification import Channel, Status
from receiver.model.sanitize import sanitize
from receiver.redaction.redactor import OVERWRITTEN, Redactor

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INTEGER = re.compile(r"[+-]?[0-9]{1,32}")
_INT4_MAX = 2**31 - 1
_REMEMBERED_BYTES_MAX = 128
_REMEMBERED_FIELDS_MAX = 512
ID_BYTES_MAX: Final = 1024
"""Of an id or name that identifies something, in UTF-8: PostgreSQL's indexes take no more than 2704 in all."""
RESOLUTION_NS = 1_000
"""Of PostgreSQL's `timestamptz`."""

BODY_LEFT_OUT = "body-left-out"
UNKNOWN_SOURCE = "unknown-source"
"""Its source is not configured: the lifecycle is not asked about it."""
POSTED_TO = "posted-to:"
"""With a name behind it: where it came to before it was moved to the right source."""
_ONLY_THE_REQUEST_TOLD = frozenset({"ref-cut", BODY_LEFT_OUT, UNKNOWN_SOURCE})
"""Notes that cannot be made again from a stored callback."""
SUSPICIOUS_CHARACTERS_MAX: Final = 4_096
"""Of header values that may hold secrets: the event loop waits while they are read. What is behind is overwritten."""
_UNLIMITED = 2**31
"""Bytes of header: what is stored was within the limits when it came."""

TOO_LONG = "transaction-id-too-long"
_TRANSACTION, _CODE, _MESSAGE = "esc-transaction-id", "esc-status-code", "esc-status-message"
TRACE = "traceparent"
_CONFLICTS = {
    _TRANSACTION: "conflicting-transaction-ids",
    _CODE: "conflicting-status-codes",
    _MESSAGE: "conflicting-status-messages",
    TRACE: "conflicting-traceparents",
}
"""The header fields that are read, folded, and what is noted when two spellings of one disagree."""
_ALIKE = (None, _CODE)
"""Of the fields that are read, the one that is alike in many callbacks; and those that are not read."""


class Head(NamedTuple):
    """What the header fields say."""

    headers: list[tuple[str, str]]
    transaction_id: str | None
    status: Status
    status_code: int | None
    status_message: str | None
    notes: tuple[str, ...]
    traceparent: str | None = None


class Envelope(NamedTuple):
    """One callback as it is stored. Every text is sanitized (`model.sanitize`).

    A tuple, because a frozen dataclass of this length takes three times as long to make.
    """

    receipt: UUID
    """UUIDv7 whose millisecond is that of `received_at`."""
    received_at: datetime
    """Aware, UTC, microseconds; never runs backwards within a receiver."""
    source: str
    channel: Channel | None
    """None: posted to `/`, so the root element decides."""
    remote: str | None
    """The sender's address, behind trusted proxies the one they name."""
    ref: str | None
    """`?ref=`: the caller's own reference."""
    headers: list[tuple[str, str]]
    """As sent (order, case), secret values overwritten."""
    body: bytes
    """Decoded, secret values overwritten; as received when it could not be decoded."""
    redacted: bool
    """A secret value was overwritten in the body."""
    transaction_id: str | None
    status: Status
    status_code: int | None
    status_message: str | None
    notes: tuple[str, ...]
    """Remarks, e.g. `conflicting-transaction-ids`."""
    undecodable_because: str | None = None
    """Why Content-Encoding could not be undone; the callback is malformed then."""
    traceparent: str | None = None
    """W3C's, of the sender or of our own span; it goes on with what is published. Not spooled: the headers have it."""

    @classmethod
    def of(
        cls,
        head: Head,
        *,
        receipt: UUID,
        received_at: datetime,
        source: str,
        channel: Channel | None,
        remote: str | None,
        ref: str | None,
        body: bytes,
        redacted: bool,
        notes: tuple[str, ...] = (),
        undecodable_because: str | None = None,
    ) -> Envelope:
        """The envelope of a callback with this head; `notes` are added to those of the head."""
        return cls(
            receipt, received_at, source, channel, remote, ref, head.headers, body, redacted, head.transaction_id,
            head.status, head.status_code, head.status_message, head.notes + notes, undecodable_because,
            head.traceparent,
        )  # fmt: skip

    @classmethod
    def of_row(cls, row: Any) -> Envelope:
        """The envelope of a row of `callbacks`. Its headers are read again, as the body will be."""
        head = read_head(((name.encode(), value.encode()) for name, value in row["headers"]), _UNLIMITED)
        return cls.of(
            head, receipt=row["receipt"], received_at=row["received_at"].astimezone(UTC), source=row["source"],
            channel=Channel(row["channel"]), remote=row["remote"], ref=row["ref"], body=row["body"],
            redacted=row["redacted"], notes=tuple(filter(_only_the_request_told, row["notes"])),
        )  # fmt: skip

    def of_unknown_source(self) -> Envelope:
        """The same, noted as posted for a source that is not configured."""
        return self._replace(notes=(*self.notes, UNKNOWN_SOURCE))

    @property
    def is_of_unknown_source(self) -> bool:
        """Whether it was posted for a source that is not configured."""
        return UNKNOWN_SOURCE in self.notes

    def moved_to(self, source: str) -> Envelope:
        """The same, as if it had been posted for this source, which is configured."""
        notes = tuple(note for note in self.notes if note != UNKNOWN_SOURCE)
        if source == self.source:
            return self._replace(notes=notes)
        return self._replace(source=source, notes=(*notes, f"{POSTED_TO}{self.source}"))


def _only_the_request_told(note: str) -> bool:
    return note in _ONLY_THE_REQUEST_TOLD or note.startswith(POSTED_TO)


class Clock:
    """The receiver's own time. It only runs forwards and never gives the same time twice, as the order of operations is
    derived from it; unless the machine's clock was set back by more than `ahead_max_s`: then it goes back too, once,
    rather than be wrong for as long as that takes."""

    def __init__(
        self,
        machine_ns: Callable[[], int] = time_ns,
        ahead_max_s: float = 60,
        on_set_back: Callable[[float], None] = lambda _: None,
    ) -> None:
        """`on_set_back` hears by how many seconds it went back."""
        self._machine_ns = machine_ns
        self._ahead_max_ns = round(ahead_max_s * 1e9)
        self._on_set_back = on_set_back
        self._last_ns = 0

    @property
    def ahead_s(self) -> float:
        """How far it is ahead of the machine's clock."""
        return max(0.0, (self._last_ns - self._machine_ns()) / 1e9)

    def stamp(self) -> tuple[datetime, UUID]:
        """The time now, and a receipt whose millisecond is the same."""
        machine, least = self._machine_ns(), self._last_ns + RESOLUTION_NS
        if machine < least - self._ahead_max_ns - RESOLUTION_NS:
            self._on_set_back((self._last_ns - machine) / 1e9)
            least = machine
        self._last_ns = now = max(machine, least)
        return _EPOCH + timedelta(microseconds=now // 1000), stamped(now)


class _Field(NamedTuple):
    """One header field as text."""

    name: str
    value: str
    """As it may be kept."""
    field: str | None
    """The field of ESC's that it means."""
    is_respelt: bool
    """In another spelling than with `-`."""
    length: int


class HeadReader:
    """Reads the header fields of callbacks.

    Most fields of a sender are the same each time: those that are short and hold no secret are remembered as they were
    read, which takes a quarter of the time.
    """

    def __init__(self, redactor: Redactor | None = None) -> None:
        """Without a `redactor`, secret values are overwritten already."""
        self._redactor = redactor
        self._remembered: dict[tuple[bytes, bytes], _Field] = {}

    def read(self, raw_headers: Iterable[tuple[bytes, bytes]], bytes_max: int) -> Head:
        """The header fields as text, secret values overwritten, and what ESC says.

        Names are compared without case, `_` equal to `-`. Where spellings disagree the hyphenated one counts,
        all are kept, and a note says so (docs/esc-callbacks.md#1, #trap-6); so it does of a transaction id that is too
        long to be looked up, which counts as none. Raises HeaderTooLargeError when names and values are longer than
        `bytes_max` in all.
        """
        headers: list[tuple[str, str]] = []
        said: dict[str, str] = {}
        again: list[tuple[str, str]] = []
        length, room = 0, SUSPICIOUS_CHARACTERS_MAX
        for raw in raw_headers:
            if (read := self._remembered.get(raw)) is None:
                read, room = self._read(raw, room)
            name, value, field, is_respelt, bytes_ = read
            length += bytes_
            headers.append((name, value))
            if field is not None and (text := value.strip()):
                if field in said or is_respelt:
                    again.append((field, text))
                else:
                    said[field] = text
        if length > bytes_max:
            raise HeaderTooLargeError(f"the header is larger than header_bytes_max ({bytes_max} bytes)")
        return _head(headers, said, _settle(said, again) if again else ())

    def _read(self, raw: tuple[bytes, bytes], room: int) -> tuple[_Field, int]:
        """A field, and what is left of `room`: the characters that may hold secrets and are looked at."""
        raw_name, raw_value = raw
        length = len(raw_name) + len(raw_value)
        name, field, is_respelt = _known(raw_name) if len(raw_name) <= _REMEMBERED_BYTES_MAX else _read_name(raw_name)
        value, is_plain = raw_value.decode("utf-8", "surrogateescape"), True
        if self._redactor is not None and self._redactor.may_hold_secret(name, value):
            room -= len(value)
            value, is_plain = self._redactor.header(name, value) if room >= 0 else OVERWRITTEN, False
        if not value.isascii() or "\0" in value:
            value = sanitize(value)
        read = _Field(name, value, field, is_respelt, length)
        if is_plain and length <= _REMEMBERED_BYTES_MAX and field in _ALIKE:
            self._remember(raw, read)
        return read, room

    def _remember(self, raw: tuple[bytes, bytes], read: _Field) -> None:
        if len(self._remembered) >= _REMEMBERED_FIELDS_MAX:
            self._remembered.clear()
        self._remembered[raw] = read


def read_head(raw_headers: Iterable[tuple[bytes, bytes]], bytes_max: int, redactor: Redactor | None = None) -> Head:
    """The header fields of one callback, by a `HeadReader`."""
    return HeadReader(redactor).read(raw_headers, bytes_max)


def _head(headers: list[tuple[str, str]], said: dict[str, str], notes: tuple[str, ...]) -> Head:
    if (transaction_id := said.get(_TRANSACTION)) and is_too_long(transaction_id):
        transaction_id, notes = None, (*notes, TOO_LONG)
    status, code, remarks = _status(said.get(_CODE))
    return Head(headers, transaction_id, status, code, said.get(_MESSAGE), notes + remarks, said.get(TRACE))


def is_too_long(text: str) -> bool:
    """Whether it is longer than an id that can be looked up."""
    return len(text) * 4 > ID_BYTES_MAX and len(text.encode()) > ID_BYTES_MAX


def _settle(said: dict[str, str], again: list[tuple[str, str]]) -> tuple[str, ...]:
    """Adds fields in other spellings, the first where there is no hyphenated one; notes those that disagree."""
    notes: dict[str, None] = {}
    for field, value in again:
        if said.setdefault(field, value) != value:
            notes[_CONFLICTS[field]] = None
    return tuple(notes)


def _read_name(raw_name: bytes) -> tuple[str, str | None, bool]:
    """The name as text, the field of ESC's that it means, and whether in another spelling than with `-`."""
    name = sanitize(raw_name.decode("utf-8", "surrogateescape"))
    folded = name.lower().replace("_", "-")
    field = folded if folded in _CONFLICTS else None
    return name, field, "_" in name


_known = lru_cache(maxsize=1024)(_read_name)
"""Cached: senders use the same few names again and again."""


def _status(text: str | None) -> tuple[Status, int | None, tuple[str, ...]]:
    """2xx is success, another number failure, everything else unknown (docs/esc-callbacks.md#1)."""
    if text == "200":  # the code of nearly all
        return Status.OK, 200, ()
    if text is None or not _INTEGER.fullmatch(text):
        return Status.UNKNOWN, None, () if text is None else ("status-code-not-a-number",)
    code = int(text)
    if abs(code) > _INT4_MAX:
        return Status.FAILED, None, ("status-code-out-of-range",)
    return Status.OK if 200 <= code <= 299 else Status.FAILED, code, ()
