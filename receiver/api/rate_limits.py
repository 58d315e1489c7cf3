"""How often one client may send requests: reading must not get in the way of storing."""

from __future__ import annotations

import time
from collections import OrderedDict

from receiver.api.api_errors import TooOftenError

CLIENTS_MAX = 10_000
"""Clients remembered; the one that was silent longest is forgotten first."""
BURST_S = 2.0


class RateLimits:
    """A token bucket for each client."""

    def __init__(self, rate_per_s: float) -> None:
        self._rate = rate_per_s
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """By client: how many requests are left, and at what time that was so."""

    def count(self, client: str, now_s: float | None = None) -> None:
        """One more request of this client. Raises TooOftenError."""
        now_s = time.monotonic() if now_s is None else now_s
        full = self._rate * BURST_S
        left, since_s = self._buckets.pop(client, (full, now_s))
        left = min(full, left + (now_s - since_s) * self._rate)
        self._buckets[client] = (max(0.0, left - 1), now_s)
        if len(self._buckets) > CLIENTS_MAX:
            self._buckets.popitem(last=False)
        if left < 1:
            raise TooOftenError(f"more than query_rate_per_s ({self._rate:g}) questions a second")
