"""How many callbacks the spool holds, and what was found in it against what was expected.

Must not know how they are kept.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog

log = structlog.get_logger()


class SpoolStatistics:
    """Of one process."""

    def __init__(self) -> None:
        self.count = 0
        """In the file now, by our own doing."""
        self.recovered = 0
        """Found in it that this process had not put there, or had taken for forgotten."""
        self.lost = 0
        """UnitOfWork to have been in it, that a damaged file no longer gives."""
        self._unsure: set[int] = set()
        """Positions that may have been forgotten, by a commit that failed."""

    def doubt(self, positions: Iterable[int]) -> None:
        """Nobody knows whether these are forgotten; the next opening will tell."""
        self._unsure.update(positions)

    def believe(self, positions: Iterable[int]) -> None:
        """These are forgotten: they explain nothing that is missing later."""
        self._unsure.difference_update(positions)

    def settle(self, expected: int | None) -> None:
        """`count` is what an opening found; None was expected of the first one."""
        if expected is None:
            self.recovered = self.count
            return
        self.recovered += max(0, self.count - expected)
        missing = expected - len(self._unsure) - self.count
        self._unsure.clear()
        if missing > 0:
            self.lost += missing
            log.error("callbacks that were kept are missing from the spool", callbacks=missing)
