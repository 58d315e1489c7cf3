"""How often one client may send requests: reading must not get in the way of storing."""

from __future__ import annotations

from receiver.api.api_errors import TooOftenError
from receiver.http.token_buckets import TokenBuckets


class RateLimits:
    """A token bucket for each client."""

    def __init__(self, rate_per_s: float) -> None:
        self._rate = rate_per_s
        self._buckets = TokenBuckets(rate_per_s)

    def count(self, client: str, now_s: float | None = None) -> None:
        """One more request of this client. Raises TooOftenError."""
        if self._buckets.take(client, now_s):
            raise TooOftenError(f"more than query_rate_per_s ({self._rate:g}) questions a second")
