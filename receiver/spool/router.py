"""Which way callbacks take: to PostgreSQL at once, or into the spool, and from there in order of arrival (`drainer`).

While anything waits, new callbacks queue behind it, so that order is kept; when nothing waits any more, they go
the direct way again. Under steady traffic something would always wait; so when the rest is only one portion, new ones
wait for that instead of going into the spool. Must not know HTTP or SQL.
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
from receiver.parsing.body_readers import BodyReaders
from receiver.parsing.parsed_callback import ParsedCallback
from receiver.postgres.batch_writer import BatchWriter
from receiver.spool import Spool
from receiver.spool.drainer import SpoolDrainer

log = structlog.get_logger()


class SpoolRouter:
    """Sends callbacks the direct way or into the spool, and drains it."""

    def __init__(
        self, spool: Spool, writer: BatchWriter, settings: Settings, metrics: Metrics, readers: BodyReaders
    ) -> None:
        self.mode = Mode.SPOOLING
        """Until PostgreSQL is known to be ready."""
        self.begun = asyncio.Event()
        """Set for good when PostgreSQL is ready, and it is known which way callbacks take then."""
        self._spool = spool
        self._writer = writer
        self._settings = settings
        self._metrics = metrics
        self._drainer = SpoolDrainer(spool, writer, settings, metrics, readers)
        self._spooled = asyncio.Event()
        """Something was put into the spool, or putting it failed."""
        self._putting = 0
        """How many calls of `put` are under way."""
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
        return self._drainer.refused

    @property
    def found(self) -> int | None:
        """How many were found in it, as far as they are counted; None while that is not known."""
        return self._drainer.found

    async def open(self) -> None:
        """Take over what an earlier run left. Raises SetupError; a broken spool is logged and tried again later."""
        try:
            await self._spool.open()
        except SpoolBrokenError as error:
            log.error("the spool cannot be used; trying on", why=str(error))  # noqa: TRY400 - one line says it
        self._drainer.measure()

    async def wait_until_decided(self) -> None:
        """Wait until it is known which way callbacks take, as it usually is. At most `commit_timeout_s`."""
        if not self._decided.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.commit_timeout_s):
                    await self._decided.wait()

    async def spool(self, callbacks: Sequence[ParsedCallback]) -> None:
        """Store callbacks on this machine until PostgreSQL has them. Raises CannotKeepError."""
        started_s = time.perf_counter()
        self._putting += 1
        if self.direct:
            self._enter(Mode.SPOOLING)  # so that nothing else waits for PostgreSQL in vain
        try:
            await self._spool.put(callback.envelope for callback in callbacks)
            self._metrics.count_spooled(len(callbacks))
        finally:
            self._putting -= 1
            self._spooled.set()
            self._drainer.measure()
        self._metrics.spool_seconds.observe(time.perf_counter() - started_s)

    async def run(self) -> None:
        """Drain whenever something waits, until cancelled. To be started when PostgreSQL is ready."""
        backoff = Backoff(self._settings)
        try:
            await self._drainer.wait_until_known()
            while True:
                if self._drainer.at_end:
                    await self._wait_until_spooled()
                if self.mode is Mode.DRAINING and self._drainer.is_last_portion:
                    self._decided.clear()
                done = await self._drain()
                self.begun.set()
                if done:
                    backoff.reset()
                else:
                    self._decided.set()
                    await backoff.pause()
        finally:
            self._decided.set()
            await self._drainer.stop()

    async def _wait_until_spooled(self) -> None:
        """Nothing waits: take the direct way if PostgreSQL works, and no `put` is under way that would be overtaken."""
        backoff = Backoff(self._settings)
        while self._drainer.at_end:
            self._spooled.clear()
            if self.mode is Mode.SPOOLING and not await self._writer.can_write():
                await backoff.pause()
                continue
            if not self._putting and self._drainer.at_end:
                self._enter(Mode.DIRECT)
                self._decided.set()
                self.begun.set()
            await self._wait_for_change()

    async def _wait_for_change(self) -> None:
        """Until something was put, or it is time to look whether a repaired spool has found something."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_retry_max_s):
                await self._spooled.wait()
        self._drainer.retry_refused()
        self._drainer.measure()

    async def _drain(self) -> bool:
        try:
            done = await self._drainer.drain()
        except SpoolBrokenError as error:
            log.error("the spool cannot be read; trying on", why=str(error))  # noqa: TRY400 - one line says it
            return False
        except Exception:  # a bug must not end the service, which still stores what comes
            log.exception("the spool could not be drained; trying on")
            done = False
        self._enter(Mode.DRAINING if done else Mode.SPOOLING)
        return done

    def _enter(self, mode: Mode) -> None:
        """Logged once for each change."""
        if mode is not self.mode:
            log.info("callbacks take another way", mode=mode, before=self.mode, waiting=self._spool.depth)
            self.mode = mode
            self._metrics.set_mode(mode)


class Backoff:
    """Between attempts, each twice as long as the one before."""

    def __init__(self, settings: Settings) -> None:
        self._first_s, self._last_s = settings.drain_retry_s, settings.drain_retry_max_s
        self._next_s = self._first_s

    async def pause(self) -> None:
        """Sleep for the present pause."""
        await asyncio.sleep(self._next_s)
        self._next_s = min(2 * self._next_s, self._last_s)

    def reset(self) -> None:
        """After a success the next pause is a short one."""
        self._next_s = self._first_s
