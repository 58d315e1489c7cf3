"""How often one client may send requests, and how many run at once: reading must not get in the way of storing."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from receiver.api.api_errors import TooManyError, TooOftenError
from receiver.config.settings import Settings

CLIENTS_MAX = 10_000
"""Clients remembered; the one that was silent longest is forgotten first."""
BURST_S = 2.0


class RateLimits:
    """A token bucket for each client, and a count of running requests."""

    def __init__(self, settings: Settings) -> None:
        self._rate = settings.query_rate_per_s
        self._running_max = settings.query_concurrency_max
        self._running = 0
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

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """While a request is answered. Raises TooManyError."""
        if self._running >= self._running_max:
            raise TooManyError(f"query_concurrency_max ({self._running_max}) questions are being answered")
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
