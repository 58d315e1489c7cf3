"""What arrived, opened but not read: who sent it, under which id, with which status, and the kept bytes.

Knows the header spellings of ESC (reference section 1). It must not know HTTP servers, XML or SQL;
`ingress` hands it plain values, `parse` reads the body it keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from receiver.notification import Channel, Status


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
    """A secret value was overwritten in the body or the headers."""
    transaction_id: str | None
    status: Status
    status_code: int | None
    status_message: str | None
    notes: tuple[str, ...]
    """Remarks, e.g. `conflicting-transaction-ids`."""
    undecodable_because: str | None = None
    """Why Content-Encoding could not be undone; the callback is malformed then."""
