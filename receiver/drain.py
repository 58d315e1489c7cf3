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

import structlog

from receiver.entities import Decision
from receiver.errors import CannotKeepError, SpoolBrokenError
from receiver.keep import Keeper
from receiver.letter import Letter, read
from receiver.lifecycle import Held
from receiver.measures.words import Mode
from receiver.metrics import Metrics
from receiver.settings import Settings
from receiver.spool import Spool

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
                if self.mode is Mode.DRAINING and self._spool.depth <= self._batch_max:
                    self._decided.clear()
                if await self._run_once_guarded():
                    pause_s = self._settings.drain_retry_s
                else:
                    self._decided.set()
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, self._settings.drain_retry_max_s)
        finally:
            self._decided.set()

    async def _until_filled(self) -> None:
        """Nothing waits: the direct way, unless something is being put just now, which would be overtaken."""
        while self._spool.depth == 0:
            self._filled.clear()
            if not self._holding:
                self._enter(Mode.DIRECT)
                self._decided.set()
            await self._filled.wait()

    async def run_once(self) -> int:
        """Take the first of the spool to PostgreSQL; how many it took. Raises SpoolBrokenError."""
        rows = await self._spool.first(self._batch_max)
        letters = [read(envelope, self._settings.xml_depth_max, Held()) for _, envelope in rows]
        started_s = time.perf_counter()
        kept = await self._keeper.keep(letters) if letters else []
        done = [position for (position, _), what in zip(rows, kept, strict=True) if isinstance(what, Decision)]
        await self._spool.forget(done)
        self._count(letters, kept, time.perf_counter() - started_s)
        return len(done)

    async def _run_once_guarded(self) -> int:
        try:
            taken = await self.run_once()
        except SpoolBrokenError as error:
            log.error("the spool cannot be read; trying on", why=str(error))  # noqa: TRY400 - one line says it
            return 0
        except Exception:  # a bug must not end the service, which still keeps what comes: told with its trace
            log.exception("the spool could not be drained; trying on")
            taken = 0
        self._batch_max = (
            min(2 * self._batch_max, self._settings.drain_batch_max) if taken else self._batch_max // 2 or 1
        )
        self._enter(Mode.DRAINING if taken else Mode.SPOOLING)
        return taken

    def _count(self, letters: Sequence[Letter], kept: Sequence[Decision | CannotKeepError], took_s: float) -> None:
        self._metrics.drain_seconds.observe(took_s)
        for letter, what in zip(letters, kept, strict=True):
            if isinstance(what, Decision):
                self._metrics.drained(letter.envelope.source, letter.family, what.outcome)
                self._metrics.told(what)
        self._measure()

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
