"""How often each of many may do something: so many a second, twice as many in a burst. Must not know what it is."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Final

REMEMBERED_MAX: Final = 10_000
"""Those that were silent longest are forgotten first."""
BURST_S: Final = 2.0


class TokenBuckets:
    """A token bucket for each of them."""

    def __init__(self, rate_per_s: float) -> None:
        self._rate = rate_per_s
        self._full = max(1.0, rate_per_s * BURST_S)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """How many tokens are left, and at what time that was so."""

    def take(self, name: str, now_s: float | None = None) -> float:
        """Take a token: 0 if there was one, else the seconds until there is."""
        now_s = time.monotonic() if now_s is None else now_s
        left, since_s = self._buckets.pop(name, (self._full, now_s))
        left = min(self._full, left + (now_s - since_s) * self._rate)
        self._buckets[name] = (max(0.0, left - 1), now_s)
        if len(self._buckets) > REMEMBERED_MAX:
            self._buckets.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) / self._rate
