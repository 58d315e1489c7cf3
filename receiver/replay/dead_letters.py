"""What a person does about dead letters while the service runs: say that they were looked at, or apply them again.

A request, so bounded: so many callbacks at once, and one replay at a time. Must not know HTTP, nor how a callback is
decided (`replayer`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from receiver.config.settings import Settings
from receiver.errors import SetupError, describe
from receiver.postgres.database import Database
from receiver.postgres.driver_errors import UNUSABLE
from receiver.postgres.partitions import Partitions
from receiver.postgres.statements import statements
from receiver.postgres.store import Store
from receiver.replay.replayer import Replay
from receiver.replay.results import ReplayResult, Selection, Wanted


class TooManyCallbacksError(SetupError):
    """More are selected than one request may replay."""


class DeadLetters:
    """Those of the service's own database."""

    def __init__(self, database: Database, store: Store, partitions: Partitions, settings: Settings) -> None:
        self._database = database
        self._store = store
        self._partitions = partitions
        self._settings = settings
        self._sql = statements("replay/replay.sql")
        self._replaying = asyncio.Lock()

    @property
    def busy(self) -> bool:
        """Whether a replay is under way."""
        return self._replaying.locked()

    async def acknowledge(self, selection: Selection, note: str, by: str) -> int:
        """Those of the selection that nobody has acknowledged: how many. Raises SetupError."""
        now, acknowledged = datetime.now(UTC), 0
        try:
            async with self._run(selection, dry_run=True).select(selection) as (batches, _):
                async for batch in batches:
                    acknowledged += await self._acknowledge(batch, now, by, note)
        except UNUSABLE as error:
            raise SetupError(f"PostgreSQL cannot be used now: {describe(error)}") from error
        return acknowledged

    async def _acknowledge(self, batch: Sequence[Wanted], now: datetime, by: str, note: str) -> int:
        times = [one.received_at for one in batch]
        async with self._database.acquire() as connection:
            done = await connection.execute(
                self._sql["acknowledge"], [one.receipt for one in batch], min(times), max(times), now, by, note
            )
        return int(done.rpartition(" ")[2])

    async def replay(self, selection: Selection, *, dry_run: bool) -> Sequence[ReplayResult]:
        """What came of each callback, or would come. Raises SetupError, also when they are too many."""
        most, results = self._settings.replay_callbacks_max, list[ReplayResult]()
        async with self._replaying:
            run = self._run(selection, dry_run=dry_run)
            try:
                async with run.select(selection) as (batches, total):
                    if total > most:
                        raise TooManyCallbacksError(f"they are {total}, and a request replays {most} at most")
                    async for batch in batches:
                        results += await run.apply(batch, datetime.now(UTC))
            except UNUSABLE as error:
                raise SetupError(f"PostgreSQL cannot be used now: {describe(error)}") from error
        return results

    def _run(self, selection: Selection, *, dry_run: bool) -> Replay:
        return Replay(
            self._database, self._store, self._partitions, self._settings, dry_run=dry_run,
            to_source=selection.to_source,
        )  # fmt: skip
