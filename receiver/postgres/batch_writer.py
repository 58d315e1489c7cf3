"""Batches of callbacks are written to PostgreSQL, each callback exactly once, whatever happens on the way.

A callback that cannot be decided or written as understood is stored without its content being applied; only when
PostgreSQL itself does not answer is it not stored. Must not know HTTP, XML, SQL or NATS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from receiver.config.settings import Settings
from receiver.errors import CannotKeepError, RefusedError, describe
from receiver.model.entities import Decision
from receiver.model.notification import Outcome
from receiver.observability.labels import CommitFailure
from receiver.observability.metrics import Metrics
from receiver.parsing.parsed_callback import ParsedCallback
from receiver.postgres.batch_retry import process_batch
from receiver.postgres.database import Database
from receiver.postgres.driver_errors import CONFLICTS, NOT_CONNECTED, UNUSABLE, is_about_a_row
from receiver.postgres.partitions import Partitions
from receiver.postgres.store import Store, do_nothing
from receiver.postgres.wake_ups import ANY_OPERATION, WakeUps, ended_operations

WriteResult = Decision | CannotKeepError

POSTGRES_SHARE = 0.9
"""Of `commit_timeout_s`; the rest is for the spool, so that the answer comes within that time."""

NOT_UNDERSTOOD = (Outcome.UNCLASSIFIED, Outcome.MALFORMED)
"""Outcomes that are published though nothing moved."""

log = structlog.get_logger()


class BatchWriter:
    """Writes callbacks to PostgreSQL."""

    def __init__(
        self, database: Database, store: Store, partitions: Partitions, wake_ups: WakeUps, settings: Settings,
        metrics: Metrics,
    ) -> None:  # fmt: skip
        self._wake_ups = wake_ups
        self._database = database
        self._store = store
        self._partitions = partitions
        self._settings = settings
        self._metrics = metrics

    async def write(
        self,
        callbacks: Sequence[ParsedCallback],
        on_decided: Callable[[], None] = do_nothing,
        waited_s: float = 0.0,
        timeout_s: float | None = None,
    ) -> list[WriteResult]:
        """The result of each callback, in order: its decision, or why it could not be stored within `commit_timeout_s`.

        `on_decided` is called when they are decided, and only PostgreSQL has work with them. What they have `waited_s`
        for their turn counts, up to half of that time, so that a silent PostgreSQL is not felt twice; and a part of it
        is left for the spool. With `timeout_s` nobody waits for an answer, and all of it is for PostgreSQL.
        """
        if not self._database.ready:
            return [CannotKeepError("PostgreSQL is not ready yet") for _ in callbacks]
        limit_s = self._settings.commit_timeout_s
        left_s = timeout_s or max(limit_s / 2, POSTGRES_SHARE * limit_s - waited_s)
        task = _WriteTask(
            self._database, self._store, self._partitions, self._wake_ups, self._settings, self._metrics, on_decided,
            asyncio.get_running_loop().time() + left_s,
        )  # fmt: skip
        try:
            await process_batch(task, callbacks, self._partitions, self._settings.commit_races_max)
        except UNUSABLE as error:
            task.count(CommitFailure.UNAVAILABLE)
            log.warning("callbacks could not be kept", callbacks=len(task.pending(callbacks)), why=describe(error))
        unavailable = CannotKeepError("PostgreSQL cannot keep it now")
        return [task.results.get(callback.envelope.receipt, unavailable) for callback in callbacks]

    async def can_write(self) -> bool:
        """Whether PostgreSQL would commit a callback now, as far as can be found out without one."""
        try:
            async with self._database.acquire() as connection:
                await self._store.probe(connection)
        except UNUSABLE:
            return False
        return self._database.ready


@dataclass(slots=True)
class _WriteTask:
    """The writing of one batch: a `BatchTask`."""

    _database: Database
    _store: Store
    _partitions: Partitions
    _wake_ups: WakeUps
    _settings: Settings
    _metrics: Metrics
    _on_decided: Callable[[], None]
    _ends_at_s: float
    """By the loop's clock."""
    results: dict[UUID, WriteResult] = field(default_factory=dict)
    """By receipt."""
    _broken: int = 0
    """How many connections broke."""

    def pending(self, batch: Sequence[ParsedCallback]) -> list[ParsedCallback]:
        return [callback for callback in batch if callback.envelope.receipt not in self.results]

    async def process(self, batch: Sequence[ParsedCallback]) -> None:
        async with self._database.acquire(self._left_s()) as connection:
            await self._partitions.ensure(connection, (callback.envelope.received_at for callback in batch))
            decisions = await self._store.write_batch(connection, batch, self._on_decided)
        if any(decision.transitions or decision.outcome in NOT_UNDERSTOOD for decision in decisions):
            self._wake_ups.tell(ended_operations(decisions))
        receipts = (callback.envelope.receipt for callback in batch)
        self.results |= zip(receipts, decisions, strict=True)

    async def on_conflict(self, batch: Sequence[ParsedCallback], error: Exception) -> None:
        self.count(CommitFailure.RACE)
        log.info("a batch is judged again", callbacks=len(batch), why=type(error).__name__)
        await self._find_stored(batch)

    async def on_connection_lost(self, batch: Sequence[ParsedCallback], error: Exception) -> None:
        self.count(CommitFailure.CONNECTION_LOST)
        self._broken += 1
        if self._broken > self._settings.commit_reconnects_max or isinstance(error, NOT_CONNECTED):
            raise error  # to the spool at once: an outage is not felt
        if self._broken > 1:  # the first time it shows at once whether PostgreSQL is there
            await asyncio.sleep(self._settings.commit_retry_s)
        await self._find_stored(batch)

    async def on_failure(self, item: ParsedCallback, error: Exception) -> None:
        receipt = item.envelope.receipt
        if is_about_a_row(error) and item.has_content:
            log.error("a callback could not be judged; it is kept as it came", receipt=str(receipt), exc_info=error)
            await process_batch(self, [item.without_content()], self._partitions, self._settings.commit_races_max)
        else:
            log.error("a callback could not be kept", receipt=str(receipt), exc_info=error)
            is_at_fault = is_about_a_row(error) and not isinstance(error, CONFLICTS)
            refused = RefusedError if is_at_fault else CannotKeepError
            self.results[receipt] = refused("PostgreSQL refuses it")

    def count(self, reason: CommitFailure) -> None:
        self._metrics.commit_failures.labels(reason).inc()

    async def _find_stored(self, batch: Sequence[ParsedCallback]) -> None:
        """A transaction that seemed to fail may have been committed after all."""
        async with self._database.acquire(self._left_s()) as connection:
            found = await self._store.find_stored(connection, batch)
        if found:
            self._wake_ups.tell({ANY_OPERATION})
        self.results |= found

    def _left_s(self) -> float:
        return self._ends_at_s - asyncio.get_running_loop().time()
