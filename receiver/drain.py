"""Where callbacks wait while PostgreSQL does not take them, and how they get there in the end: in order of arrival.

While anything waits, new callbacks queue behind it, so that order is kept; when nothing waits any more, they go
the direct way again. Under steady traffic something would always wait; so when the rest is but one batch, new ones
are asked to wait for that instead. An entry leaves the spool only when PostgreSQL has committed it. Must not know
HTTP or SQL.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TypeAlias

import structlog

from receiver.entities import Decision
from receiver.errors import SpoolBrokenError
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

    @property
    def direct(self) -> bool:
        """Whether callbacks go to PostgreSQL at once."""
        return self.mode is Mode.DIRECT

    async def open(self) -> None:
        """Take over what an earlier run left. Raises SetupError; a broken spool is told and tried again later."""
        try:
            found = await self._spool.open()
        except SpoolBrokenError as error:
            log.error("the spool cannot be used; trying on", why=str(error))  # noqa: TRY400 - one line says it
            found = self._spool.recovered
        if found:
            log.info("callbacks were found in the spool", callbacks=found)
        self._metrics.recover(found)
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
        try:
            await self._spool.put(letter.envelope for letter in letters)
            self._enter(Mode.SPOOLING if self.mode is Mode.DIRECT else self.mode)
            self._metrics.spooled(len(letters))
        finally:
            self._holding -= 1
            self._filled.set()
        self._metrics.spool_seconds.observe(time.perf_counter() - started_s)
        self._measure()

    async def run(self) -> None:
        """Drain whenever something waits, until cancelled. To be started when PostgreSQL is ready."""
        pause_s = self._settings.drain_retry_s
        try:
            while True:
                if self._spool.depth == 0:
                    await self._until_filled()
                if self.mode is Mode.DRAINING and self._spool.depth - self._leaving <= self._batch_max:
                    self._decided.clear()
                if await self._run_once_guarded():
                    pause_s = self._settings.drain_retry_s
                else:
                    self._decided.set()
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, self._settings.drain_retry_max_s)
        finally:
            self._decided.set()
            await self._begin_again()

    async def _until_filled(self) -> None:
        """Nothing waits: the direct way, unless something is being put just now, which would be overtaken."""
        while self._spool.depth == 0:
            self._filled.clear()
            if not self._holding:
                self._enter(Mode.DIRECT)
                self._decided.set()
            await self._filled.wait()

    async def _run_once_guarded(self) -> bool:
        try:
            taken = await self._run_once()
        except SpoolBrokenError as error:
            log.error("the spool cannot be read; trying on", why=str(error))  # noqa: TRY400 - one line says it
            await self._begin_again()
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
        """Take the first of the spool to PostgreSQL; how many it took; None: these were the last.

        Meanwhile the next ones are read and the ones before are forgotten. Raises SpoolBrokenError.
        """
        ahead, self._next = self._next, None
        portion = await (ahead or self._read(-1))
        if not portion:
            some_leave = self._forgetting is not None
            await self._gone()
            return None if some_leave else 0
        self._next = asyncio.create_task(self._read(portion[-1][0]), name="drain: read on")
        started_s = time.perf_counter()
        kept = await self._keeper.keep([letter for _, letter in portion])
        took_s = time.perf_counter() - started_s
        await self._gone()
        done = [(*one, what) for one, what in zip(portion, kept, strict=True) if isinstance(what, Decision)]
        self._leaving = len(done)
        self._forgetting = asyncio.create_task(self._forget(done, took_s), name="drain: forget")
        if len(done) < len(portion):
            await self._begin_again()  # order: what was not taken comes before what was read meanwhile
        return len(done)

    async def _read(self, after: int) -> Portion:
        rows = await self._spool.first(self._batch_max, after)
        return [(position, read(envelope, self._settings.xml_depth_max, Held())) for position, envelope in rows]

    async def _forget(self, done: Sequence[tuple[int, Letter, Decision]], took_s: float) -> None:
        await self._spool.forget(position for position, _, _ in done)
        self._metrics.drain_seconds.observe(took_s)
        for _, letter, decision in done:
            self._metrics.drained(letter.envelope.source, letter.family, decision.outcome)
            self._metrics.told(decision)
        self._measure()

    async def _gone(self) -> None:
        """Wait until those that PostgreSQL took before are gone from the spool. Raises SpoolBrokenError."""
        if forgetting := self._forgetting:
            await asyncio.wait([forgetting])  # also when we are cancelled it comes to its end, and is counted
            self._forgetting, self._leaving = None, 0
            forgetting.result()

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
        self._metrics.spool_bytes.set(self._spool.bytes)
        oldest = self._spool.oldest
        self._metrics.spool_oldest_timestamp_seconds.set(oldest.timestamp() if oldest else 0)

    def _enter(self, mode: Mode) -> None:
        """One line at each change."""
        if mode is not self.mode:
            log.info("callbacks take another way", mode=mode, before=self.mode, waiting=self._spool.depth)
            self.mode = mode
            self._metrics.enter(mode)
