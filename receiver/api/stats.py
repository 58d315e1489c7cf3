"""`GET stats`: how many entities are in which state, and what waits. Counted once for all who ask within seconds."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

from receiver.api.read_pool import Reader

COUNT_MAX = 100_000
"""More are not counted; then the number is this one."""
OUTBOX_COUNT_MAX = 10_000
"""The same of the outbox, whose rows are large."""
FRESH_S = 2.0
"""Up to this age an answer is given again; beyond it once more, while the next one is counted."""
STALE_S = 8.0
"""Beyond this age an answer is not given any more."""
QUARANTINE_SPAN = timedelta(days=1)


class Stats:
    """Counts, and caches the answer for a few seconds."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._cached: dict[str, Any] = {}
        self._cached_s = float("-inf")
        """When it was counted, by the monotonic clock."""
        self._counting: asyncio.Task[None] | None = None
        """At most one count runs, for all requests."""

    async def count(self) -> dict[str, Any]:
        """The figures, at most STALE_S old. Raises UnavailableError."""
        age_s = time.monotonic() - self._cached_s
        if age_s > FRESH_S and self._counting is None:
            self._counting = asyncio.create_task(self._recount(), name="count")
            self._counting.add_done_callback(self._counted)
        if age_s > STALE_S and self._counting:
            await asyncio.shield(self._counting)
        return self._cached

    def _counted(self, task: asyncio.Task[None]) -> None:
        self._counting = None
        if not task.cancelled():
            task.exception()  # retrieved; the next request finds out by itself

    async def _recount(self) -> None:
        now = datetime.now(UTC)
        async with self._reader.snapshot() as snapshot:
            states = await snapshot.rows("count_by_state", COUNT_MAX)
            resources = await snapshot.rows("resources_by_state", COUNT_MAX)
            quarantine = await snapshot.row("quarantine", now - QUARANTINE_SPAN, COUNT_MAX)
            unacknowledged = await snapshot.row("unacknowledged", COUNT_MAX)
            outbox = await snapshot.row("backlog", OUTBOX_COUNT_MAX)
            latest = await snapshot.row("latest")
        assert quarantine is not None  # aggregates always have one row
        assert unacknowledged is not None
        assert outbox is not None
        counts: dict[str, dict[str, int]] = {"deployments": {}, "vms": {}, "operations": {}}
        for row in states:
            counts[row["kind"]][row["state"]] = row["rows"]
        by_kind: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for row in resources:
            by_kind[row["kind"]][row["state"]] = row["rows"]
        self._cached = {
            "at": now,
            "counted_max": COUNT_MAX,
            **counts,
            "resources": by_kind,
            "quarantine": {
                "callbacks_last_day": quarantine["rows"],
                "latest_at": quarantine["latest_at"],
                "unacknowledged": unacknowledged["rows"],
            },
            "outbox": {"messages": outbox["rows"], "oldest_at": outbox["oldest_at"]},
            "ledger": {"latest_at": latest["at"] if latest else None},
        }
        self._cached_s = time.monotonic()
