"""How often, and how many at once: what one client may ask, so that reading never gets in the way of keeping."""

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


class Limits:
    """Counts questions under way, and each client's questions of late."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._under_way = 0
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """By client: how many it may still ask, and when that was so."""

    def count(self, client: str, now_s: float | None = None) -> None:
        """One more question of this client. Raises TooOftenError."""
        now_s = time.monotonic() if now_s is None else now_s
        rate = self._settings.query_rate_per_s
        left, since_s = self._clients.pop(client, (rate * BURST_S, now_s))
        left = min(rate * BURST_S, left + (now_s - since_s) * rate)
        self._clients[client] = (max(0.0, left - 1), now_s)
        if len(self._clients) > CLIENTS_MAX:
            self._clients.popitem(last=False)
        if left < 1:
            raise TooOftenError(f"more than query_rate_per_s ({rate:g}) questions a second")

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """While a question is answered. Raises TooManyError."""
        most = self._settings.query_concurrency_max
        if self._under_way >= most:
            raise TooManyError(f"query_concurrency_max ({most}) questions are being answered")
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
