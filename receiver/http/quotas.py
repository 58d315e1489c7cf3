"""How much one source may send to this receiver: callbacks a second, bytes a day (UTC). None by default.

Who may not post for a source uses up nothing of it. Must not know who posts, nor what is sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from math import ceil
from typing import Final

from receiver.config.sources import Source
from receiver.errors import QuotaError
from receiver.http.token_buckets import TokenBuckets

_DAY_S: Final = 86_400


class Quotas:
    """Those of all sources that have any."""

    def __init__(self, sources: Mapping[str, Source], clock: Callable[[], float] = time.time) -> None:
        self._rates = {
            name: (one.rate_per_s, TokenBuckets(one.rate_per_s)) for name, one in sources.items() if one.rate_per_s
        }
        self._bytes_max = {name: one.bytes_per_day for name, one in sources.items() if one.bytes_per_day}
        self.sources = frozenset(self._rates) | frozenset(self._bytes_max)
        """Those that have any."""
        self._used: dict[str, tuple[int, int]] = {}
        """Day and bytes."""
        self._clock = clock

    def take_callback(self, source: str) -> None:
        """One more callback, whose body is not read yet. Raises QuotaError."""
        if source in self._rates:
            rate, buckets = self._rates[source]
            if wait_s := buckets.take(source):
                raise QuotaError(f"this source may send {rate:g} callbacks a second (rate_per_s)", ceil(wait_s))
        if source in self._bytes_max:
            self._check(source, 1)

    def take_bytes(self, source: str, length: int) -> None:
        """The body of one, as sent. Raises QuotaError, and then nothing is counted."""
        if source in self._bytes_max:
            day, used = self._check(source, length)
            self._used[source] = day, used + length

    def _check(self, source: str, length: int) -> tuple[int, int]:
        now_s, bytes_max = self._clock(), self._bytes_max[source]
        today = int(now_s // _DAY_S)
        day, used = self._used.get(source, (today, 0))
        if day != today:
            day, used = today, 0
        if used + length > bytes_max:
            raise QuotaError(
                f"this source may send {bytes_max} bytes a day (bytes_per_day)", ceil(_DAY_S - now_s % _DAY_S)
            )
        return day, used
