"""From the spool to PostgreSQL: in order of arrival, each callback once, and out of the spool when it is committed.

While PostgreSQL takes one portion, the next is read, and the spool lets go of the one before. One that PostgreSQL
refuses stays, and the others go past it. Must not know which way new callbacks take (`drain`), HTTP or SQL.
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
from receiver.parsing.parsed_callback import ParsedCallback, read
from receiver.postgres.batch_writer import BatchWriter
from receiver.spool import Spool

Portion: TypeAlias = Sequence[tuple[int, ParsedCallback]]
"""Letters with their positions in the spool."""

log = structlog.get_logger()


class SpoolDrainer:
    """Of one spool."""

    def __init__(self, spool: Spool, keeper: BatchWriter, settings: Settings, metrics: Metrics) -> None:
        self._spool = spool
        self._keeper = keeper
        self._settings = settings
        self._metrics = metrics
        self._portion_max = settings.drain_batch_max
        """Less after a portion that was not taken: it may have been too much for `commit_timeout_s`."""
        self._ahead: asyncio.Task[Portion] | None = None
        """Reads those behind the ones that PostgreSQL is taking."""
        self._forgetting: asyncio.Task[None] | None = None
        """Lets go of those that PostgreSQL took before."""
        self._committed: dict[int, tuple[ParsedCallback, Decision]] = {}
        """What PostgreSQL has, by position, until it is known that the spool no longer does."""
        self._refused: set[int] = set()
        """Positions that PostgreSQL refuses."""
        self._pardon_at_s = 0.0
        """When these are tried again, by the loop's clock."""
        self._recovered = self._lost = 0
        """Of the spool's account, as far as the metrics know it."""

    @property
    def refused(self) -> int:
        """How many wait that PostgreSQL refuses."""
        return len(self._refused)

    @property
    def at_end(self) -> bool:
        """Whether nothing waits, and nothing is left behind in the spool that PostgreSQL has."""
        return not self._committed and self._spool.depth <= len(self._refused)

    @property
    def is_nearly_at_end(self) -> bool:
        """Whether all that waits is taken at once; what PostgreSQL refuses, or has, does not wait for it."""
        return self._spool.depth - len(self._refused) - len(self._committed) <= self._portion_max

    async def until_known(self) -> None:
        """What an earlier run left comes first, so it must be known whether there is any."""
        while not self._spool.is_known:
            try:
                await self._spool.first(1)
            except SpoolBrokenError:
                await asyncio.sleep(self._settings.drain_retry_s)
        self.measure()

    async def take(self) -> bool:
        """Have PostgreSQL take the first that wait; whether that went well. If not, the next call begins again with the
        oldest, and with fewer. Raises SpoolBrokenError."""
        taken = False
        try:
            taken = await self._take()
        except SpoolBrokenError:
            self._refused.clear()  # nobody knows what is in it now
            raise
        finally:
            if taken:
                self._portion_max = min(2 * self._portion_max, self._settings.drain_batch_max)
            else:
                self._portion_max = self._portion_max // 2 or 1
                await self._begin_again()
        return taken

    async def stop(self) -> None:
        """What is under way comes to its end, and what PostgreSQL has leaves the spool, if that can be."""
        await self._begin_again()
        with suppress(SpoolBrokenError):
            await self._forget()

    def pardon(self) -> None:
        """What was refused is tried again when it is time for it."""
        if self._refused and asyncio.get_running_loop().time() >= self._pardon_at_s:
            self._refused.clear()

    def measure(self) -> None:
        """Tell the metrics what is in the spool."""
        recovered, lost = self._spool.recovered - self._recovered, self._spool.lost - self._lost
        if recovered:
            log.info("callbacks were found in the spool", callbacks=recovered)
        if recovered or lost:
            self._recovered, self._lost = self._recovered + recovered, self._lost + lost
            self._refused.clear()  # some of them may be gone
            self._metrics.count_recovered(recovered)
            self._metrics.count_lost(lost)
        self._metrics.spool_refused_callbacks.set(len(self._refused))
        self._metrics.spool_bytes.set(self._spool.bytes)
        oldest = self._spool.oldest
        self._metrics.spool_oldest_timestamp_seconds.set(oldest.timestamp() if oldest else 0)

    async def _take(self) -> bool:
        some_left = bool(self._committed)
        if self._ahead is None:  # a beginning: what PostgreSQL has must not be read, and counted, again
            await self._forget()
        ahead, self._ahead = self._ahead, None
        portion = await (ahead or self._read(-1))
        if not portion:
            await self._forgotten()
            return some_left
        self._ahead = asyncio.create_task(self._read(portion[-1][0]), name="drain: read on")
        decided = await self._keep(portion)
        await self._forgotten()
        self._forgetting = asyncio.create_task(self._forget(), name="drain: forget")
        if decided < len(portion):
            await self._begin_again()  # order: what was not taken comes before what was read meanwhile
        return decided > 0

    async def _read(self, after: int) -> Portion:
        while rows := await self._spool.first(self._portion_max, after):
            if wanted := [row for row in rows if row[0] not in self._refused]:
                return [
                    (position, read(envelope, self._settings.xml_depth_max, DelayedContext()))
                    for position, envelope in wanted
                ]
            after = rows[-1][0]
        return []

    async def _keep(self, portion: Portion) -> int:
        """Of how many PostgreSQL decided."""
        started_s = time.perf_counter()
        fates = await self._keeper.write([letter for _, letter in portion])
        self._metrics.drain_seconds.observe(time.perf_counter() - started_s)
        refused: list[tuple[int, ParsedCallback]] = []
        decided = 0
        for (position, letter), fate in zip(portion, fates, strict=True):
            if isinstance(fate, Decision):
                self._committed[position] = letter, fate
                decided += 1
            elif isinstance(fate, RefusedError):
                refused.append((position, letter))
        self._pass_over(refused)
        return decided + len(refused)

    def _pass_over(self, refused: Portion) -> None:
        """They stay where they are; after `drain_refused_retry_s`, and at each start, they are tried again."""
        if not refused:
            return
        if not self._refused:
            self._pardon_at_s = asyncio.get_running_loop().time() + self._settings.drain_refused_retry_s
        self._refused.update(position for position, _ in refused)
        log.error(
            "PostgreSQL refuses callbacks of the spool; they stay in it, and others go past them",
            callbacks=len(refused),
            first=str(refused[0][1].envelope.receipt),
            all=len(self._refused),
        )

    async def _forget(self) -> None:
        """Have the spool let go of what PostgreSQL has, also of what it failed to let go of before. It may be gone all
        the same: it is counted when that is known, and once. Raises SpoolBrokenError."""
        gone = tuple(self._committed)
        await self._spool.delete(gone)
        for letter, decision in map(self._committed.pop, gone):
            self._metrics.count_drained(letter.envelope.source, letter.family, decision.outcome)
            self._metrics.count_decision(decision)
        self.measure()

    async def _forgotten(self) -> None:
        """Wait until what PostgreSQL took before is gone from the spool. Raises SpoolBrokenError."""
        forgetting, self._forgetting = self._forgetting, None
        if forgetting:
            await asyncio.wait([forgetting])
            forgetting.result()

    async def _begin_again(self) -> None:
        """From the oldest; what is under way comes to its end first."""
        under_way = [task for task in (self._ahead, self._forgetting) if task]
        self._ahead = self._forgetting = None
        if under_way:
            await asyncio.wait(under_way)
        for task in under_way:
            if not task.cancelled() and (error := task.exception()):
                log.error("the spool cannot be read; trying on", why=str(error))
