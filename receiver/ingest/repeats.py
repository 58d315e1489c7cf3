"""How often the same callback has come lately: a sender in a loop must not fill the disk with one body.

Remembered by this receiver alone, and only so many. Must not know how a repeat is decided or stored.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

REMEMBERED_MAX: Final = 10_000
"""Those that came longest ago are forgotten first."""


class Repeats:
    """Counts callbacks by fingerprint."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()
        """When it came last, and how often it had come until then."""

    def count(self, fingerprint: str, now_s: float) -> int:
        """How often it has come before, each time within the window after the time before."""
        last_s, times = self._seen.pop(fingerprint, (now_s, 0))
        if now_s - last_s > self._window_s:
            times = 0
        self._seen[fingerprint] = now_s, times + 1
        if len(self._seen) > REMEMBERED_MAX:
            self._seen.popitem(last=False)
        return times
