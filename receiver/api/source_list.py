"""`GET sources`: each ESC instance, whether it is in service, when it was heard of last, and what was refused of it.

The times and counts are those of the last round of `jobs.entity_counts`. This file must not know HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import asyncpg

from receiver.api.api_errors import NothingFoundError
from receiver.api.read_pool import Reader
from receiver.config.cell_file import cells_of
from receiver.config.settings import Settings
from receiver.model.entities import SourceState

COUNTED_MAX = 10_000
"""Of operations of one state, and of dead letters of all sources."""
UNKNOWN_MAX = 100
"""Names that are not configured, and that callbacks came to."""
TYPES: Mapping[str, Any] = {
    "source": str, "configured": bool, "state": SourceState, "since": datetime | None, "reason": str | None,
    "sequence": int, "last_message_at": datetime | None, "refused": int, "refused_at": datetime | None,
    "refused_because": str | None, "quarantined": int, "usual_silence_s": float | None,
    "silence_ratio": float | None, "open_operations": int, "overdue_operations": int,
    "reachable": bool | None, "asked_at": datetime | None, "trouble": str | None, "health": str | None,
    "swept_at": datetime | None, "mended": int, "missing": int,
}  # fmt: skip
"""What is shown of a source, with types."""


ELSEWHERE_TYPES: Mapping[str, Any] = {"source": str, "cell": str, "url": str | None}
"""What is told of a source that belongs to another cell."""


class Sources:
    """Answers the endpoints `sources` and `source`."""

    def __init__(self, reader: Reader, settings: Settings) -> None:
        self._reader = reader
        self._configured = list(settings.all_sources)
        self._silence = settings.counts_interval_s, settings.silence_usual_s
        self._cell = settings.cell or None
        cells = cells_of(settings)
        self._elsewhere = {one.source: one for one in cells.elsewhere(settings.cell)} if cells else {}

    async def all(self) -> list[dict[str, Any]]:
        """All sources, by name."""
        rows = await self._reader.rows("sources", self._configured, COUNTED_MAX, UNKNOWN_MAX, *self._silence)
        return [_item(row) for row in rows]

    async def document(self) -> dict[str, Any]:
        """The answer: those of this cell, and where the others are."""
        elsewhere = [one._asdict() for one in self._elsewhere.values()]
        return {"items": await self.all(), "cell": self._cell, "elsewhere": elsewhere}

    async def one(self, name: str) -> dict[str, Any]:
        """One. Raises NothingFoundError."""
        found = next((one for one in await self.all() if one["source"] == name), None)
        if found is None and (place := self._elsewhere.get(name)):
            raise NothingFoundError(f"this source is in cell {place.cell}" + (f": {place.url}" if place.url else ""))
        if found is None:
            raise NothingFoundError("no source of this name is configured, or was, and nothing came to one")
        return found


def _item(row: asyncpg.Record) -> dict[str, Any]:
    return {name: row[name] for name in TYPES}
