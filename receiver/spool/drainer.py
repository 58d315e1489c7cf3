"""From the spool to PostgreSQL: in order of arrival, each callback once, and out of the spool when it is committed.

While PostgreSQL writes one portion, the next is read, and the one before is deleted from the spool. A callback that
PostgreSQL refuses stays, and the others go past it. Must not know which way new callbacks take (`router`), HTTP or SQL.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TypeAlias

import structlog

from receiver.config.settings import Settings
from receiver.errors import RefusedError, SpoolBrokenError
from receiver.lifecycle import DelayedContext
from receiver.model.entities import Decision
from receiver.observability.metrics import Metrics
from receiver.parsing.body_readers import BodyReaders
from receiver.parsing.parsed_callback import ParsedCallback
from receiver.postgres.batch_writer import BatchWriter
from receiver.spool import Spool

Portion: TypeAlias = Sequence[tuple[int, ParsedCallback]]
"""Callbacks with their positions in the spool."""

log = structlog.get_logger()


class SpoolDrainer:
    """Empties one spool."""

    def __init__(
        self, spool: Spool, writer: BatchWriter, settings: Settings, metrics: Metrics, readers: BodyReaders
    ) -> None:
        self.found: int | None = None
        """What was found in it and counted as recovered; None while that is not known."""
        self._spool = spool
        self._writer = writer
        self._readers = readers
        self._settings = settings
        self._metrics = metrics
        self._portion_max = settings.drain_batch_max
        """Less after a portion that was not written: it may have been too much for `commit_timeout_s`."""
        self._timeout_s = settings.commit_timeout_s
        """More after a single one was not written: a slow PostgreSQL, too, takes all in the end."""
        self._ahead: asyncio.Task[Portion] | None = None
        """Reads those behind the ones that PostgreSQL is writing."""
        self._deleting: asyncio.Task[None] | None = None
        """Deletes those that PostgreSQL wrote before."""
        self._committed: dict[int, tuple[ParsedCallback, Decision]] = {}
        """What PostgreSQL has, by position, until it is certainly deleted from the spool."""
        self._refused: set[int] = set()
        """Positions that PostgreSQL refuses."""
        self._retry_refused_at_s = 0.0
        """When these are tried again, by the loop's clock."""
        self._recovered = self._lost = 0
        """Of the spool's statistics, as far as the metrics have them."""

    @property
    def refused(self) -> int:
        """How many wait in it that PostgreSQL refuses."""
        return len(self._refused)

    @property
    def at_end(self) -> bool:
        """Whether nothing waits, and nothing is left in the spool that PostgreSQL has."""
        return not self._committed and self._spool.depth <= len(self._refused)

    @property
    def is_last_portion(self) -> bool:
        """Whether all that waits fits into one portion; what PostgreSQL refuses, or has, does not wait."""
        return self._spool.depth - len(self._refused) - len(self._committed) <= self._portion_max

    async def wait_until_known(self) -> None:
        """Wait until the spool was opened once: what an earlier run left comes first."""
        while not self._spool.is_known:
            try:
                await self._spool.first(1)
            except SpoolBrokenError:
                await asyncio.sleep(self._settings.drain_retry_s)
        self.measure()

    async def drain(self) -> bool:
        """Write the first portion that waits to PostgreSQL; whether that succeeded.

        If not, the next call begins again with the oldest, and with fewer. Raises SpoolBrokenError.
        """
        done = False
        try:
            done = await self._drain()
        except SpoolBrokenError:
            self._refused.clear()  # its content is not known now
            raise
        finally:
            if done:
                self._portion_max = min(2 * self._portion_max, self._settings.drain_batch_max)
            else:
                if self._portion_max == 1:
                    self._timeout_s = max(self._timeout_s, min(2 * self._timeout_s, self._settings.drain_timeout_max_s))
                self._portion_max = self._portion_max // 2 or 1
                await self._begin_again()
        return done

    async def stop(self) -> None:
        """Finish what is under way, and delete what PostgreSQL has, if possible."""
        await self._begin_again()
        with suppress(SpoolBrokenError):
            await self._delete_committed()

    def retry_refused(self) -> None:
        """Let what was refused be tried again, once `drain_refused_retry_s` is over."""
        if self._refused and asyncio.get_running_loop().time() >= self._retry_refused_at_s:
            self._refused.clear()

    def measure(self) -> None:
        """Set the metrics of the spool."""
        recovered, lost = self._spool.recovered - self._recovered, self._spool.lost - self._lost
        if recovered:
            log.info("callbacks were found in the spool", callbacks=recovered)
        if recovered or lost:
            self._recovered, self._lost = self._recovered + recovered, self._lost + lost
            self._refused.clear()  # some of them may be gone
            self._metrics.count_recovered(recovered)
            self._metrics.count_lost(lost)
        if self._spool.is_known:
            self.found = self._recovered
        self._metrics.spools.measure(self._spool, self._spool.bytes, len(self._refused), self._spool.oldest)

    async def _drain(self) -> bool:
        some_left = bool(self._committed)
        if self._ahead is None:  # at the oldest: what PostgreSQL has must not be read, and counted, again
            await self._delete_committed()
        ahead, self._ahead = self._ahead, None
        portion = await (ahead or self._read(-1))
        if not portion:
            await self._wait_until_deleted()
            return some_left
        self._ahead = asyncio.create_task(self._read(portion[-1][0]), name="drain: read on")
        decided = await self._write(portion)
        await self._wait_until_deleted()
        self._deleting = asyncio.create_task(self._delete_committed(), name="drain: delete")
        if decided < len(portion):
            await self._begin_again()  # order: what was not written comes before what was read meanwhile
        return decided > 0

    async def _read(self, after: int) -> Portion:
        while rows := await self._spool.first(self._portion_max, after):
            if wanted := [row for row in rows if row[0] not in self._refused]:
                return [row async for row in self._readers.read_all(wanted, DelayedContext())]
            after = rows[-1][0]
        return []

    async def _write(self, portion: Portion) -> int:
        """How many were decided or refused."""
        started_s = time.perf_counter()
        results = await self._writer.write([callback for _, callback in portion], timeout_s=self._timeout_s)
        self._metrics.drain_seconds.observe(time.perf_counter() - started_s)
        refused: list[tuple[int, ParsedCallback]] = []
        decided = 0
        for (position, callback), result in zip(portion, results, strict=True):
            if isinstance(result, Decision):
                self._committed[position] = callback, result
                decided += 1
            elif isinstance(result, RefusedError):
                refused.append((position, callback))
        self._pass_over(refused)
        return decided + len(refused)

    def _pass_over(self, refused: Portion) -> None:
        """They stay where they are; after `drain_refused_retry_s`, and at each start, they are tried again."""
        if not refused:
            return
        if not self._refused:
            self._retry_refused_at_s = asyncio.get_running_loop().time() + self._settings.drain_refused_retry_s
        self._refused.update(position for position, _ in refused)
        log.error(
            "PostgreSQL refuses callbacks of the spool; they stay in it, and others go past them",
            callbacks=len(refused),
            first=str(refused[0][1].envelope.receipt),
            all=len(self._refused),
        )

    async def _delete_committed(self) -> None:
        """Delete what PostgreSQL has, also what could not be deleted before. That may have happened all the same: it is
        counted when it is certain, and once. Raises SpoolBrokenError."""
        gone = tuple(self._committed)
        await self._spool.delete(gone)
        for callback, decision in map(self._committed.pop, gone):
            self._metrics.count_drained(callback.envelope.source, callback.family, decision.outcome)
            self._metrics.count_decision(decision)
        self.measure()

    async def _wait_until_deleted(self) -> None:
        """Raises SpoolBrokenError when the portion before could not be deleted."""
        deleting, self._deleting = self._deleting, None
        if deleting:
            await asyncio.wait([deleting])
            deleting.result()

    async def _begin_again(self) -> None:
        """Go back to the oldest, when what is under way has ended."""
        under_way = [task for task in (self._ahead, self._deleting) if task]
        self._ahead = self._deleting = None
        if under_way:
            await asyncio.wait(under_way)
        for task in under_way:
            if not task.cancelled() and (error := task.exception()):
                log.error("the spool cannot be read; trying on", why=str(error))
