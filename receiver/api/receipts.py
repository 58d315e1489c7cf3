"""Receipts are UUIDv7: they hold the time at which a callback was received, so that one partition is read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from receiver.api.api_errors import NothingFoundError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_MS = 253_000_000_000_000


def received_at(receipt: UUID) -> datetime:
    """The millisecond in which it was received. Raises NothingFoundError for what cannot be a receipt of ours."""
    milliseconds = receipt.int >> 80
    if receipt.version != 7 or milliseconds > _LATEST_MS:
        raise NothingFoundError("no callback has this receipt")
    return _EPOCH + timedelta(milliseconds=milliseconds)
