"""What arrived, opened but not read: who sent it, under which id, with which status, and the kept bytes.

Knows the header spellings of ESC (reference section 1). It must not know HTTP servers, XML or SQL;
`ingress` hands it plain values, `parse` reads the body it keeps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from time import time_ns
from uuid import UUID

from uuid_utils.compat import uuid7

from receiver.fit import fit
from receiver.notification import Channel, Status
from receiver.redact import OVERWRITTEN
from receiver.secret_names import HEADERS, fold, is_secret

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INTEGER = re.compile(r"[+-]?[0-9]{1,32}")
_INT4_MAX = 2**31 - 1

_TRANSACTION, _CODE, _MESSAGE = "esc-transaction-id", "esc-status-code", "esc-status-message"
_CONFLICTS = {
    _TRANSACTION: "conflicting-transaction-ids",
    _CODE: "conflicting-status-codes",
    _MESSAGE: "conflicting-status-messages",
}
"""The header fields that are read, folded, and what is noted when two spellings of one disagree."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One callback as it is kept. Every text is fit for a text column (`fit`)."""

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


@dataclass(frozen=True, slots=True)
class Head:
    """What the header fields say."""

    headers: list[tuple[str, str]]
    transaction_id: str | None
    status: Status
    status_code: int | None
    status_message: str | None
    notes: tuple[str, ...]


class Clock:
    """The receiver's own time. It never runs backwards, whatever is done to the machine's clock."""

    def __init__(self) -> None:
        self._last_ns = 0

    def stamp(self) -> tuple[datetime, UUID]:
        """The time now, and a receipt whose millisecond is the same."""
        self._last_ns = now = max(time_ns(), self._last_ns)
        return _EPOCH + timedelta(microseconds=now // 1000), uuid7(nanoseconds=now)


def read_head(raw_headers: Iterable[tuple[bytes, bytes]]) -> Head:
    """The header fields as text, secret ones overwritten, and what ESC says in them.

    Names count whatever their case, and `_` as `-`. Where spellings disagree the hyphenated one counts,
    all are kept, and a note says so (reference section 1, trap 6).
    """
    headers: list[tuple[str, str]] = []
    spoken: dict[str, list[tuple[bool, str]]] = {}
    for raw_name, raw_value in raw_headers:
        name, field, respelt, secret = _known(raw_name)
        value = OVERWRITTEN if secret else fit(raw_value.decode("utf-8", "surrogateescape"))
        headers.append((name, value))
        if field and (text := value.strip()):
            spoken.setdefault(field, []).append((respelt, text))
    status, code, remarks = _status(_preferred(spoken, _CODE))
    conflicts = [_CONFLICTS[field] for field, said in spoken.items() if len(said) > 1 and len({t for _, t in said}) > 1]
    return Head(
        headers,
        _preferred(spoken, _TRANSACTION),
        status,
        code,
        _preferred(spoken, _MESSAGE),
        (*conflicts, *remarks),
    )


@lru_cache(maxsize=1024)
def _known(raw_name: bytes) -> tuple[str, str | None, bool, bool]:
    """The name as text, the field of ESC's that it means, whether in another spelling than with `-`, whether secret."""
    name = fit(raw_name.decode("utf-8", "surrogateescape"))
    folded = name.lower().replace("_", "-")
    field = folded if folded in _CONFLICTS else None
    return name, field, "_" in name, is_secret(name) or fold(name) in HEADERS


def _preferred(spoken: dict[str, list[tuple[bool, str]]], field: str) -> str | None:
    said = spoken.get(field)
    return min(said, key=_is_respelt)[1] if said else None


def _is_respelt(said: tuple[bool, str]) -> bool:
    return said[0]


def _status(text: str | None) -> tuple[Status, int | None, tuple[str, ...]]:
    """2xx is success, another number failure, everything else unknown (reference section 1)."""
    if text is None or not _INTEGER.fullmatch(text):
        return Status.UNKNOWN, None, () if text is None else ("status-code-not-a-number",)
    code = int(text)
    if abs(code) > _INT4_MAX:
        return Status.FAILED, None, ("status-code-out-of-range",)
    return Status.OK if 200 <= code <= 299 else Status.FAILED, code, ()
