"""Times to and from PostgreSQL, as microseconds since 2000.

asyncpg's own way compares each time with infinity, which has no zone, and changes its zone: twice the steps of this,
for each of the ten times that are written for a callback and the five that are read (docs/speed.md). Must not know what
is written.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_INFINITE: Final = {2**63 - 1: datetime.max.replace(tzinfo=UTC), -(2**63): datetime.min.replace(tzinfo=UTC)}
"""What PostgreSQL calls infinity and -infinity."""


def to_microseconds(time: datetime) -> tuple[int]:
    """As asyncpg takes it. Raises TypeError for a time without a zone."""
    return ((time - _EPOCH) // _MICROSECOND,)


def from_microseconds(value: tuple[int]) -> datetime:
    """The time in UTC; the last or first that Python knows for what is infinite. Raises OverflowError beyond them."""
    try:
        return _EPOCH + _MICROSECOND * value[0]
    except OverflowError:
        if (infinite := _INFINITE.get(value[0])) is None:
            raise
        return infinite
