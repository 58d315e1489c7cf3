"""When something that failed is tried again: not at once, and what took long only after a good while."""

from __future__ import annotations

import time

from receiver.errors import SpoolBrokenError

LONG_S = 1.0
RETRY_RATIO = 10
"""What took long and failed is tried again only after so many times as long."""


class Retry:
    """What failed last, and from when on it may be tried again."""

    def __init__(self, retry_s: float) -> None:
        self._retry_s = retry_s
        self._at_s = 0.0
        self._why = ""

    def failed(self, why: str, took_s: float) -> None:
        """It did not work."""
        self._why = why
        self._at_s = time.monotonic() + (self._retry_s if took_s < LONG_S else RETRY_RATIO * took_s)

    def at_once(self) -> None:
        """What was in the way may be gone."""
        self._at_s = 0.0

    def check(self) -> None:
        """Raises SpoolBrokenError when it is too soon."""
        if time.monotonic() < self._at_s:
            raise SpoolBrokenError(f"the spool does not work: {self._why}")
