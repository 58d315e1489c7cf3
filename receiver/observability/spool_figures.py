"""What the spools of this process take and hold: its own, and those of workers that are no more while it empties them.

Must not know what a spool is.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from receiver.observability.catalogue import Catalogue


class Measured(NamedTuple):
    """One spool."""

    bytes: int
    refused: int
    """Callbacks that PostgreSQL refuses."""
    oldest: datetime | None


class SpoolFigures:
    """Sets the gauges of all of them together."""

    def __init__(self, metrics: Catalogue) -> None:
        self._metrics = metrics
        self._spools: dict[object, Measured] = {}

    def measure(self, spool: object, length: int, refused: int, oldest: datetime | None) -> None:
        """Of one of them."""
        self._spools[spool] = Measured(length, refused, oldest)
        self._set()

    def forget(self, spool: object) -> None:
        """It is closed."""
        self._spools.pop(spool, None)
        self._set()

    def _set(self) -> None:
        spools = self._spools.values()
        self._metrics.spool_refused_callbacks.set(sum(one.refused for one in spools))
        self._metrics.spool_bytes.set(sum(one.bytes for one in spools))
        oldest = min((one.oldest for one in spools if one.oldest), default=None)
        self._metrics.spool_oldest_timestamp_seconds.set(oldest.timestamp() if oldest else 0)
