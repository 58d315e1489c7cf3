"""Which way callbacks take: to PostgreSQL at once, or into the spool, and from there in order of arrival (`outflow`).

While anything waits, new callbacks queue behind it, so that order is kept; when nothing waits any more, they go
the direct way again. Under steady traffic something would always wait; so when the rest is but one portion, new ones
are asked to wait for that instead. Must not know HTTP or SQL.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

import structlog

from receiver.config.settings import Settings
from receiver.errors import SpoolBrokenError
from receiver.observability.labels import Mode
from receiver.observability.metrics import Metrics
from receiver.parsing.parsed_callback import ParsedCallback
from receiver.postgres.batch_writer import BatchWriter
from receiver.spool import Spool
from receiver.spool.drainer import SpoolDrainer

log = structlog.get_logger()


class SpoolRouter:
    """The spool, and the way out of it."""

    def __init__(self, spool: Spool, keeper: BatchWriter, settings: Settings, metrics: Metrics) -> None:
        self.mode = Mode.SPOOLING
        """Until PostgreSQL is known to be ready."""
        self.begun = asyncio.Event()
        """Set for good when PostgreSQL is ready, and it is known which way callbacks take then."""
        self._spool = spool
        self._keeper = keeper
        self._settings = settings
        self._metrics = metrics
        self._outflow = SpoolDrainer(spool, keeper, settings, metrics)
        self._filled = asyncio.Event()
        """Something was put, or was not."""
        self._holding = 0
        """How many are putting something just now."""
        self._decided = asyncio.Event()
        """It is known which way callbacks take; not while the last of the spool is on its way to PostgreSQL."""
        self._decided.set()

    @property
    def direct(self) -> bool:
        """Whether callbacks go to PostgreSQL at once."""
        return self.mode is Mode.DIRECT

    @property
    def refused(self) -> int:
        """How many wait in the spool that PostgreSQL refuses."""
        return self._outflow.refused

    async def open(self) -> None:
        """Take over what an earlier run left. Raises SetupError; a broken spool is told and tried again later."""
        try:
            await self._spool.open()
        except SpoolBrokenError as error:
            log.error("the spool cannot be used; trying on", why=str(error))  # noqa: TRY400 - one line says it
        self._outflow.measure()

    async def decided(self) -> None:
        """Wait until it is known which way callbacks take: as a rule it is. At most `commit_timeout_s`."""
        if not self._decided.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.commit_timeout_s):
                    await self._decided.wait()

    async def hold(self, letters: Sequence[ParsedCallback]) -> None:
        """Keep letters on this machine until PostgreSQL takes them. Raises CannotKeepError."""
        started_s = time.perf_counter()
        self._holding += 1
        if self.direct:
            self._enter(Mode.SPOOLING)  # nobody else waits for PostgreSQL in vain
        try:
            await self._spool.put(letter.envelope for letter in letters)
            self._metrics.count_spooled(len(letters))
        finally:
            self._holding -= 1
            self._filled.set()
            self._outflow.measure()
        self._metrics.spool_seconds.observe(time.perf_counter() - started_s)

    async def run(self) -> None:
        """SpoolRouter whenever something waits, until cancelled. To be started when PostgreSQL is ready."""
        pauses = Pauses(self._settings)
        try:
            await self._outflow.until_known()
            while True:
                if self._outflow.at_end:
                    await self._until_filled()
                if self.mode is Mode.DRAINING and self._outflow.is_nearly_at_end:
                    self._decided.clear()
                taken = await self._take()
                self.begun.set()
                if taken:
                    pauses.begin_again()
                else:
                    self._decided.set()
                    await pauses.one()
        finally:
            self._decided.set()
            await self._outflow.stop()

    async def _until_filled(self) -> None:
        """Nothing waits: the direct way if PostgreSQL works, unless something is being put just now, which would be
        overtaken."""
        pauses = Pauses(self._settings)
        while self._outflow.at_end:
            self._filled.clear()
            if self.mode is Mode.SPOOLING and not await self._keeper.can_write():
                await pauses.one()
                continue
            if not self._holding and self._outflow.at_end:
                self._enter(Mode.DIRECT)
                self._decided.set()
                self.begun.set()
            await self._until_something()

    async def _until_something(self) -> None:
        """Until something was put, or was found otherwise: by a spool that was mended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_retry_max_s):
                await self._filled.wait()
        self._outflow.pardon()
        self._outflow.measure()

    async def _take(self) -> bool:
        try:
            taken = await self._outflow.take()
        except SpoolBrokenError as error:
            log.error("the spool cannot be read; trying on", why=str(error))  # noqa: TRY400 - one line says it
            return False
        except Exception:  # a bug must not end the service, which still keeps what comes: told with its trace
            log.exception("the spool could not be drained; trying on")
            taken = False
        self._enter(Mode.DRAINING if taken else Mode.SPOOLING)
        return taken

    def _enter(self, mode: Mode) -> None:
        """One line at each change."""
        if mode is not self.mode:
            log.info("callbacks take another way", mode=mode, before=self.mode, waiting=self._spool.depth)
            self.mode = mode
            self._metrics.set_mode(mode)


class Pauses:
    """Between attempts, each twice as long as the one before."""

    def __init__(self, settings: Settings) -> None:
        self._first_s, self._last_s = settings.drain_retry_s, settings.drain_retry_max_s
        self._next_s = self._first_s

    async def one(self) -> None:
        """Pause."""
        await asyncio.sleep(self._next_s)
        self._next_s = min(2 * self._next_s, self._last_s)

    def begin_again(self) -> None:
        """It went well."""
        self._next_s = self._first_s
