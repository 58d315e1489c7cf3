"""How long an operation usually takes, how long at the longest, and when it will be overdue: beside each that is shown.

What was learned is read anew every few seconds, whoever asks. This file must not know HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from receiver.api.read_pool import Reader
from receiver.config.settings import Settings
from receiver.events.cloudevents import item
from receiver.lifecycle.learned import LearnedDuration, LearnedDurations
from receiver.lifecycle.overdue import Limits
from receiver.model.entities import Operation, OperationState, SourceState

FRESH_S = 5.0
TYPES: Mapping[str, Any] = {"usual_s": float | None, "longest_s": float | None, "due_at": datetime | None}
"""What is shown beside an operation, with types."""


@dataclass(frozen=True, slots=True)
class OperationTimes:
    """As it was learned, a few seconds ago at most, and as sources are."""

    limits: Limits
    sources: Mapping[str, tuple[str, datetime]]
    """State, and since when."""

    def shown(self, operation: Operation) -> dict[str, Any]:
        """The operation with its times."""
        usual = self.limits.learned.of(operation)
        return {
            **item(operation),
            "usual_s": usual.usual_s if usual else None,
            "longest_s": usual.longest_s if usual else None,
            "due_at": self.due_at(operation),
        }

    def due_at(self, operation: Operation) -> datetime | None:
        """When it becomes overdue, if nothing is heard of it; None unless it is open, and while its ESC is out of
        service: when that is back, silence begins anew."""
        state, since = self.sources.get(operation.source, ("", operation.last_seen_at))
        if operation.state != OperationState.OPEN or state == SourceState.OUT_OF_SERVICE:
            return None
        limit_s = self.limits.of(operation.kind, operation.source)
        return max(operation.last_seen_at, since) + timedelta(seconds=limit_s)


class OperationTimesReader:
    """Reads them when they are asked for; what was learned is not read more often than every few seconds."""

    def __init__(self, reader: Reader, settings: Settings) -> None:
        self._reader = reader
        self._settings = settings
        self._learned = self._limits(())
        self._stale_at_s = 0.0

    async def now(self) -> OperationTimes:
        """Raises UnavailableError."""
        at_s = asyncio.get_running_loop().time()
        if at_s >= self._stale_at_s:
            rows = await self._reader.rows("learned_durations")
            self._learned = self._limits(LearnedDuration(*row) for row in rows)
            self._stale_at_s = at_s + FRESH_S
        return OperationTimes(self._learned, _by_name(await self._reader.rows("states_of_sources")))

    def _limits(self, learned: Iterable[LearnedDuration]) -> Limits:
        settings = self._settings
        durations = LearnedDurations(learned, settings.learn_factor)
        return Limits(settings.overdue_after_s, settings.reorder_window_s, learned=durations)


def _by_name(rows: Iterable[Any]) -> dict[str, tuple[str, datetime]]:
    return {row["source"]: (row["state"], row["changed_at"]) for row in rows}
