"""Lines about refused callbacks: the first few of a reason and address are written, the others summed up.

A scanner refuses itself a thousand times a second: one line each would fill the disk, and hide what matters. Must not
know why anything is refused.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, Final

import structlog

from receiver.config.settings import Settings

log = structlog.get_logger()

KINDS_MAX: Final = 1_000
"""Pairs of reason and address that are told apart in one interval; all others of a reason are one."""
OTHERS: Final = "(other)"


class RefusalLog:
    """Writes a line for each refusal, or for each interval."""

    def __init__(self, settings: Settings) -> None:
        self._lines_max = settings.log_refused_max
        self._interval_s = settings.log_refused_interval_s
        self._counts: Counter[tuple[str, str | None]] = Counter()
        """Of the interval under way."""

    def write(self, reason: str, peer: str | None, **facts: Any) -> None:
        """One more refusal; `peer` is the address that it is counted for."""
        if not self._counts:
            asyncio.get_running_loop().call_later(self._interval_s, self.sum_up)
        kind = (reason, peer) if (reason, peer) in self._counts or len(self._counts) < KINDS_MAX else (reason, OTHERS)
        self._counts[kind] += 1
        if self._counts[kind] <= self._lines_max:
            log.info("callback refused", reason=reason, peer=peer, **facts)

    def sum_up(self) -> None:
        """End the interval: a line for each kind of which not all were written."""
        counts, self._counts = self._counts, Counter()
        for (reason, peer), times in counts.items():
            if times > self._lines_max:
                log.info(
                    "more callbacks refused", reason=reason, peer=peer, times=times - self._lines_max,
                    seconds=self._interval_s,
                )  # fmt: skip
