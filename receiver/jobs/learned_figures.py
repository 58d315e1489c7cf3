"""What was learned, as metrics: how long operations take and may take, and how silent each source is for this hour.

Read with every count. Must not know how it is learned (`jobs.learning`).
"""

from __future__ import annotations

from collections.abc import Iterable

from receiver.config.settings import Settings
from receiver.jobs.learning import learned_durations
from receiver.lifecycle.learned import LearnedDuration, LearnedDurations
from receiver.lifecycle.overdue import Limits
from receiver.observability.catalogue import operation_kind
from receiver.observability.definition import set_all
from receiver.observability.metrics import Metrics
from receiver.postgres.session import Connection
from receiver.postgres.statements import statements


class LearnedFigures:
    """Sets the gauges."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._silences = statements("jobs/entity_counts.sql")["silences"]

    async def set(self, connection: Connection) -> None:
        """As it was learned last, by whichever receiver. Raises `UNUSABLE` errors."""
        self._set_durations(await learned_durations(connection, self._settings))
        await self._set_silences(connection)

    def _set_durations(self, learned: LearnedDurations) -> None:
        metrics, settings = self._metrics, self._settings
        limits = Limits(settings.overdue_after_s, settings.reorder_window_s, learned=learned)
        rows = [row for row in learned.of_any_number() if row.source in metrics.sources]
        set_all(metrics.operation_usual_seconds, _longest((row, row.usual_s) for row in rows))
        set_all(metrics.operation_longest_seconds, _longest((row, row.longest_s) for row in rows))
        set_all(metrics.operation_limit_seconds, _longest((row, limits.of(row.kind, row.source)) for row in rows))

    async def _set_silences(self, connection: Connection) -> None:
        settings, metrics = self._settings, self._metrics
        rows = await connection.fetch(
            self._silences, list(metrics.sources), settings.counts_interval_s, settings.silence_usual_s
        )
        ratios: dict[tuple[str, ...], float] = {
            (row["source"],): 0.0 if row["is_out"] else row["silent_s"] / row["usual_s"] for row in rows
        }
        set_all(metrics.source_silence_ratio, ratios)
        set_all(metrics.source_usual_silence_seconds, {(row["source"],): row["usual_s"] for row in rows})


def _longest(found: Iterable[tuple[LearnedDuration, float]]) -> dict[tuple[str, ...], float]:
    """By source and the label of the kind, which stands for several kinds where it is that of resources."""
    longest: dict[tuple[str, ...], float] = {}
    for row, seconds in found:
        labels = row.source, operation_kind(row.kind)
        longest[labels] = max(seconds, longest.get(labels, 0.0))
    return longest
