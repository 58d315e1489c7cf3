"""Where callbacks wait while PostgreSQL does not take them, and how they get there in the end: in order of arrival.

While anything waits, new callbacks queue behind it, so that order is kept; when nothing waits any more, they go
the direct way again. Under steady traffic something would always wait; so when the rest is but one batch, new ones
are asked to wait for that instead. An entry leaves the spool only when PostgreSQL has committed it. One that PostgreSQL
refuses stays, and the others go past it. Must not know HTTP or SQL.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TypeAlias

import structlog

from receiver.entities import Decision
from receiver.errors import RefusedError, SpoolBrokenError
from receiver.keep import Keeper
from receiver.letter import Letter, read
from receiver.lifecycle import Held
from receiver.measures.words import Mode
from receiver.metrics import Metrics
from receiver.settings import Settings
from receiver.spool import Spool

Portion: TypeAlias = list[tuple[int, Letter]]
"""Letters with their positions in the spool."""

log = structlog.get_logger()


class Drain:
    """The spool, and the way out of it."""

    def __init__(self, spool: Spool, keeper: Keeper, settings: Settings, metrics: Metrics) -> None:
        self.mode = Mode.SPOOLING
        """Until PostgreSQL is known to be ready."""
        self._spool = spool
        self._keeper = keeper
        self._settings = settings
        self._metrics = metrics
        self._filled = asyncio.Event()
        """Something was put, or was not."""
        self._holding = 0
        """How many are putting something just now."""
        self.begun = asyncio.Event()
        """Set for good when PostgreSQL is ready, and it is known which way callbacks take then."""
        self._decided = asyncio.Event()
        """It is known which way callbacks take; not while the last of the spool is on its way to PostgreSQL."""
        self._decided.set()
        self._batch_max = settings.drain_batch_max
        """Less after a batch that was not taken: it may have been too much for `commit_timeout_s`."""
        self._next: asyncio.Task[Portion] | None = None
        """Reads those behind the ones that PostgreSQL is taking."""
        self._forgetting: asyncio.Task[None] | None = None
        """Lets go of those that PostgreSQL took before."""
        self._leaving = 0
        """How many those are."""
        self._committed: dict[int, tuple[Letter, Decision]] = {}
        """What PostgreSQL has, by position, until it is known that the spool no longer does."""
        self._refused: set[int] = set()
        """Positions that PostgreSQL refuses."""
        self._pardon_at_s = 0.0
        """When these are tried again, by the loop's clock."""
        self._recovered = self._lost = 0
        """Of the spool's account, as far as the metrics know it."""

    @property
    def direct(self) -> bool:
        """Whether callbacks go to PostgreSQL at once."""
        return self.mode is Mode.DIRECT

    @property
    def refused(self) -> int:
        """How many wait in the spool that PostgreSQL refuses."""
        return len(self._refused)

    @property
    def _waiting(self) -> int:
        """How many wait in the spool for PostgreSQL to work; those that it refuses do not."""
        return max(0, self._spool.depth - len(self._refused))

    async def open(self) -> None:
        """Take over what an earlier run left. Raises SetupError; a broken spool is told and tried again later."""
        try:
            await self._spool.open()
        except SpoolBrokenError as error:
            log.error("the spool cannot be used; trying on", why=str(error))  # noqa: TRY400 - one line says it
        self._measure()

    async def decided(self) -> None:
        """Wait until it is known which way callbacks take: as a rule it is. At most `commit_timeout_s`."""
        if not self._decided.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.commit_timeout_s):
                    await self._decided.wait()

    async def hold(self, letters: Sequence[Letter]) -> None:
        """Keep letters on this machine until PostgreSQL takes them. Raises CannotKeepError."""
        started_s = time.perf_counter()
        self._holding += 1
        self._enter(
            Mode.SPOOLING if self.mode is Mode.DIRECT else self.mode
        )  # nobody else waits for PostgreSQL in vain
        try:
            await self._spool.put(letter.envelope for letter in letters)
            self._metrics.spooled(len(letters))
        finally:
            self._holding -= 1
            self._filled.set()
            self._measure()
        self._metrics.spool_seconds.observe(time.perf_counter() - started_s)

    async def run(self) -> None:
        """Drain whenever something waits, until cancelled. To be started when PostgreSQL is ready."""
        pause_s = self._settings.drain_retry_s
        try:
            await self._until_open()
            while True:
                if not self._waiting and not self._committed:
                    await self._until_filled()
                if self.mode is Mode.DRAINING and self._waiting - self._leaving <= self._batch_max:
                    self._decided.clear()
                taken = await self._run_once_guarded()
                self.begun.set()
                if taken:
                    pause_s = self._settings.drain_retry_s
                else:
                    self._decided.set()
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, self._settings.drain_retry_max_s)
        finally:
            self._decided.set()
            await self._begin_again()
            with suppress(SpoolBrokenError):
                await self._forget(None)

    async def _until_open(self) -> None:
        """What an earlier run left comes first, so it must be known whether there is any."""
        while not self._spool.is_known:
            try:
                await self._spool.first(1)
            except SpoolBrokenError:
                await asyncio.sleep(self._settings.drain_retry_s)
        self._measure()

    async def _until_filled(self) -> None:
        """Nothing waits: the direct way if PostgreSQL works, unless something is being put just now, which would be
        overtaken."""
        pause_s = self._settings.drain_retry_s
        while not self._waiting:
            self._filled.clear()
            if self.mode is Mode.SPOOLING and not await self._keeper.takes():
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, self._settings.drain_retry_max_s)
                continue
            if not self._holding and not self._waiting:
                self._enter(Mode.DIRECT)
                self._decided.set()
                self.begun.set()
            await self._until_something()

    async def _until_something(self) -> None:
        """Until something was put, or was found otherwise: by a spool that was mended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_retry_max_s):
                await self._filled.wait()
        if self._refused and asyncio.get_running_loop().time() >= self._pardon_at_s:
            self._refused.clear()
        self._measure()

    async def _run_once_guarded(self) -> bool:
        try:
            taken = await self._run_once()
        except SpoolBrokenError as error:
            log.error("the spool cannot be read; trying on", why=str(error))  # noqa: TRY400 - one line says it
            await self._begin_again()
            self._refused.clear()  # nobody knows what is in it now
            return False
        except Exception:  # a bug must not end the service, which still keeps what comes: told with its trace
            log.exception("the spool could not be drained; trying on")
            taken = 0
        if taken is None:
            return True
        self._batch_max = (
            min(2 * self._batch_max, self._settings.drain_batch_max) if taken else self._batch_max // 2 or 1
        )
        self._enter(Mode.DRAINING if taken else Mode.SPOOLING)
        if not taken:
            await self._begin_again()
        return bool(taken)

    async def _run_once(self) -> int | None:
        """Take the first of the spool to PostgreSQL; how many it took or refused; None: there were no more.

        Meanwhile the next ones are read and the ones before are forgotten. Raises SpoolBrokenError.
        """
        ahead, self._next = self._next, None
        portion = await (ahead or self._read(-1))
        if not portion:
            some_leave = bool(self._committed)
            before, self._forgetting, self._leaving = self._forgetting, None, 0
            await _ended(before)
            await self._forget(None)
            return None if some_leave else 0
        self._next = asyncio.create_task(self._read(portion[-1][0]), name="drain: read on")
        started_s = time.perf_counter()
        kept = await self._keeper.keep([letter for _, letter in portion])
        took_s = time.perf_counter() - started_s
        done = {p: (one, what) for (p, one), what in zip(portion, kept, strict=True) if isinstance(what, Decision)}
        refused = [one for one, what in zip(portion, kept, strict=True) if isinstance(what, RefusedError)]
        self._committed = done | self._committed  # one that was committed before is given again, decided as it was then
        self._metrics.drain_seconds.observe(took_s)
        self._pass_over(refused)
        before = self._forgetting
        self._forgetting = asyncio.create_task(self._forget(before), name="drain: forget")
        await _ended(before)
        self._leaving = len(done)
        decided = len(done) + len(refused)
        if decided < len(portion):
            await self._begin_again()  # order: what was not taken comes before what was read meanwhile
        return decided

    async def _read(self, after: int) -> Portion:
        while rows := await self._spool.first(self._batch_max, after):
            if wanted := [row for row in rows if row[0] not in self._refused]:
                return [
                    (position, read(envelope, self._settings.xml_depth_max, Held())) for position, envelope in wanted
                ]
            after = rows[-1][0]
        return []

    def _pass_over(self, refused: Portion) -> None:
        """They stay where they are; after `drain_refused_retry_s`, and at each start, they are tried again."""
        if not refused:
            return
        if not self._refused:
            self._pardon_at_s = asyncio.get_running_loop().time() + self._settings.drain_refused_retry_s
        self._refused.update(position for position, _ in refused)
        receipt = str(refused[0][1].envelope.receipt)
        log.error(
            "PostgreSQL refuses callbacks of the spool; they stay in it, and others go past them",
            callbacks=len(refused),
            first=receipt,
            all=len(self._refused),
        )

    async def _forget(self, before: asyncio.Task[None] | None) -> None:
        """Have the spool let go of what PostgreSQL has, also of what it failed to let go of before. It may be gone all
        the same: it is counted when that is known, and once. Raises SpoolBrokenError."""
        if before:
            await asyncio.wait([before])
        gone = tuple(self._committed)
        await self._spool.forget(gone)
        for letter, decision in map(self._committed.pop, gone):
            self._metrics.drained(letter.envelope.source, letter.family, decision.outcome)
            self._metrics.told(decision)
        self._measure()

    async def _begin_again(self) -> None:
        """From the oldest; what is under way comes to its end first."""
        under_way = [task for task in (self._next, self._forgetting) if task]
        self._next = self._forgetting = None
        self._leaving = 0
        if under_way:
            await asyncio.wait(under_way)
        for task in under_way:
            if not task.cancelled() and (error := task.exception()):
                log.error("the spool cannot be read; trying on", why=str(error))

    def _measure(self) -> None:
        recovered, lost = self._spool.recovered - self._recovered, self._spool.lost - self._lost
        if recovered:
            log.info("callbacks were found in the spool", callbacks=recovered)
        if recovered or lost:
            self._recovered, self._lost = self._recovered + recovered, self._lost + lost
            self._refused.clear()  # some of them may be gone
            self._metrics.recover(recovered)
            self._metrics.lose(lost)
        self._metrics.spool_refused_callbacks.set(len(self._refused))
        self._metrics.spool_bytes.set(self._spool.bytes)
        oldest = self._spool.oldest
        self._metrics.spool_oldest_timestamp_seconds.set(oldest.timestamp() if oldest else 0)

    def _enter(self, mode: Mode) -> None:
        """One line at each change."""
        if mode is not self.mode:
            log.info("callbacks take another way", mode=mode, before=self.mode, waiting=self._spool.depth)
            self.mode = mode
            self._metrics.enter(mode)


async def _ended(forgetting: asyncio.Task[None] | None) -> None:
    """Wait until what PostgreSQL took before is gone from the spool. Raises SpoolBrokenError."""
    if forgetting:
        await asyncio.wait([forgetting])
        forgetting.result()
