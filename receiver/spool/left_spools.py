"""Empties the spools of workers that are no more, and tells what this process has in its spools.

Which folders those are shows by their names and their locks: a folder that another process uses is left to it, one that
nobody uses is emptied, from the oldest callback on. Must not know workers.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import uuid4

import structlog

from receiver.config.settings import Settings
from receiver.errors import SetupError, SpoolBrokenError
from receiver.observability.definition import total
from receiver.observability.metrics import Metrics
from receiver.parsing.body_readers import BodyReaders
from receiver.postgres.batch_writer import BatchWriter
from receiver.spool import Spool
from receiver.spool.drainer import SpoolDrainer
from receiver.spool.folder import NAME

OF_A_WORKER = re.compile(r"spool-\d+")

log = structlog.get_logger()


def new_taking() -> str:
    """An id of one taking of a folder; those of all processes of this machine are in the order of their time."""
    return f"{time.monotonic_ns():020}-{uuid4().hex}"


class LeftSpools:
    """`run` until cancelled."""

    def __init__(
        self, own: Spool, writer: BatchWriter, settings: Settings, metrics: Metrics, readers: BodyReaders
    ) -> None:
        self._own = own
        self._writer = writer
        self._settings = settings
        self._metrics = metrics
        self._readers = readers
        self._taken: dict[str, tuple[Spool, SpoolDrainer]] = {}
        """By an id of the taking, those of this moment."""
        self._done: dict[str, tuple[str, int | None, int]] = {}
        """What is told of those that are over: a quick one would never be heard of."""
        self._busy: set[Path] = set()
        self._emptied: dict[Path, float] = {}
        """When the file of an empty one was changed last: as long as that is so, it is still empty."""

    async def run(self) -> None:
        """Look for them every `spool_left_check_s`. Needs the schema."""
        async with asyncio.TaskGroup() as emptying:
            while True:
                for folder in self._folders():
                    self._busy.add(folder)
                    emptying.create_task(self._try(folder), name=f"empty {folder}")
                await asyncio.sleep(self._settings.spool_left_check_s)

    def holds(self, found: int | None, own_id: str) -> Mapping[str, tuple[str, int | None, int]]:
        """For each taking of a folder: which, what was found in it, what is in it. `found` is of the own one."""
        others = {
            taking: (str(spool.folder), drainer.found, spool.depth) for taking, (spool, drainer) in self._taken.items()
        }
        rest = total(self._metrics.spool_callbacks) - sum(left for _, _, left in others.values())
        return {own_id: (str(self._own.folder), found, rest), **others, **self._done}

    def _folders(self) -> Iterator[Path]:
        one = self._settings.spool_folder_of(1).parent
        named = [path for path in one.iterdir() if OF_A_WORKER.fullmatch(path.name)] if one.is_dir() else []
        for folder in sorted({self._settings.spool_folder, *named} - {self._own.folder} - self._busy):
            if (folder / NAME).exists() and self._emptied.get(folder) != _changed_at(folder):
                yield folder

    async def _try(self, folder: Path) -> None:
        try:
            await self._empty(folder)
        except (SetupError, SpoolBrokenError, OSError) as error:
            log.debug("a spool is left to others", folder=str(folder), why=str(error))
        except Exception:  # a bug must not end the service, which still stores what comes
            log.exception("a left spool could not be emptied; trying on", folder=str(folder))
        self._busy.discard(folder)

    async def _empty(self, folder: Path) -> None:
        spool = Spool(self._settings, [folder])
        drainer = SpoolDrainer(spool, self._writer, self._settings, self._metrics, self._readers)
        taking = new_taking()
        try:
            await spool.open()
            self._taken[taking] = spool, drainer
            drainer.measure()
            if spool.depth:
                log.info("the spool of a worker that is no more is emptied", folder=str(folder), callbacks=spool.depth)
            while spool.depth or not drainer.at_end:
                await self._drain(drainer)
        finally:
            await drainer.stop()
            await spool.close()
            self._metrics.spools.forget(spool)
        del self._taken[taking]
        self._done[taking] = str(folder), drainer.found, 0
        self._emptied[folder] = _changed_at(folder)

    async def _drain(self, drainer: SpoolDrainer) -> None:
        """It stays taken while anything is in it: what was found is counted once."""
        try:
            done = not drainer.at_end and await drainer.drain()
        except SpoolBrokenError as error:
            log.error("a left spool cannot be read; trying on", why=str(error))  # noqa: TRY400 - one line says it
            done = False
        if not done:
            await asyncio.sleep(self._settings.drain_retry_max_s)
            drainer.retry_refused()


def _changed_at(folder: Path) -> float:
    return max((path.stat().st_mtime for path in (folder / NAME, folder / f"{NAME}-wal") if path.exists()), default=0)
