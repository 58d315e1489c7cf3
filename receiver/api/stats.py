"""`GET stats`: how many of what are in which state, and what waits. Counted for all who ask within a moment at once."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

from receiver.api.read_pool import Reader
from receiver.api.row_shapes import sql

COUNTED_MAX = 100_000
"""More are not counted; then the number is this one."""
OUTBOX_COUNTED_MAX = 10_000
"""The same of the outbox, whose rows are large."""
FRESH_S = 2.0
"""So long an answer is given again; after it, it is given once more while the next one is counted."""
STALE_S = 8.0
"""An older one is not given any more."""
QUARANTINE_SPAN = timedelta(days=1)


class Stats:
    """Counts, and remembers for a moment."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._sql = sql()
        self._known: dict[str, Any] | None = None
        self._counted_s = 0.0
        self._counting = asyncio.Lock()
        self._renewing: asyncio.Task[dict[str, Any]] | None = None

    async def count(self) -> dict[str, Any]:
        """The figures, at most STALE_S old. Raises UnavailableError.

        Who asks again and again does not wait for the counting, which takes its time where there is much.
        """
        age_s = time.monotonic() - self._counted_s
        if self._known is None or age_s > STALE_S:
            return await self._counted_anew()
        if age_s > FRESH_S and not self._counting.locked():
            self._renewing = asyncio.create_task(self._counted_anew(), name="count")
            self._renewing.add_done_callback(_looked_at)
        return self._known

    async def _counted_anew(self) -> dict[str, Any]:
        asked_s = time.monotonic()
        async with self._counting:
            if self._known is None or self._counted_s < asked_s:
                self._known = await self._count()
                self._counted_s = time.monotonic()
            return self._known

    async def _count(self) -> dict[str, Any]:
        now = datetime.now(UTC)
        async with self._reader.snapshot() as snapshot:
            states = await snapshot.rows(self._sql["count_by_state"], COUNTED_MAX)
            resources = await snapshot.rows(self._sql["resources_by_state"], COUNTED_MAX)
            quarantine = await snapshot.row(self._sql["quarantine"], now - QUARANTINE_SPAN, COUNTED_MAX)
            outbox = await snapshot.row(self._sql["backlog"], OUTBOX_COUNTED_MAX)
            latest = await snapshot.row(self._sql["latest"])
        assert quarantine is not None  # aggregates have always one row
        assert outbox is not None
        counts: dict[str, dict[str, int]] = {"deployments": {}, "vms": {}, "operations": {}}
        for row in states:
            counts[row["kind"]][row["state"]] = row["rows"]
        by_kind: dict[str, dict[str, int]] = defaultdict(dict)
        for row in resources:
            by_kind[row["kind"]][row["state"]] = row["rows"]
        return {
            "at": now,
            "counted_max": COUNTED_MAX,
            **counts,
            "resources": dict(by_kind),
            "quarantine": {"callbacks_last_day": quarantine["rows"], "latest_at": quarantine["latest_at"]},
            "outbox": {"messages": outbox["rows"], "oldest_at": outbox["oldest_at"]},
            "ledger": {"latest_at": latest["at"] if latest else None},
        }


def _looked_at(task: asyncio.Task[Any]) -> None:
    """Nobody waits for it; when PostgreSQL is away, the next who asks will hear of it."""
    if not task.cancelled():
        task.exception()
