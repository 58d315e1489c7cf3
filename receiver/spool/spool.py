"""The spool for others: callbacks on disk, in order of arrival.

SQLite works in a thread of its own, so that the event loop never waits for the disk. Those that come together are
written and fsynced together; one that comes alone is written at once. Must not know who fills it, who empties it, or
why, nor what is done when the disk fails (`spool_file`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import structlog

from receiver.config.settings import Settings
from receiver.errors import CannotKeepError, SpoolBrokenError, SpoolFullError, SpoolInUseError
from receiver.model.envelope import Envelope
from receiver.spool.executor import SerialExecutor
from receiver.spool.records import Row, to_row
from receiver.spool.spool_file import SpoolFile

T = TypeVar("T")
log = structlog.get_logger()


class Waiting(NamedTuple):
    """What one `put` brought; `positions` is done when it is written."""

    rows: list[Row]
    bytes: int
    positions: asyncio.Future[list[int]]


class Spool:
    """Open it, put callbacks in, read the first, delete them when they are stored elsewhere, close it."""

    def __init__(self, settings: Settings, folders: Sequence[Path] = ()) -> None:
        """It lies in the first of `folders` that nobody uses; without any, where the settings say."""
        self._settings = settings
        self._folders = tuple(folders) or (settings.spool_folder,)
        self._use(self._folders[0])
        self._thread = SerialExecutor("spool")
        self._waiting: deque[Waiting] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writing: asyncio.Task[None] | None = None
        self._overdue = False
        """The disk did not answer in time, and has written nothing since."""
        self._withdrawn: set[int] = set()
        self._closed = False

    async def open(self) -> int:
        """Take the folder; how many callbacks were found in it.

        Raises SetupError (in use by another process, written by a newer program, not ours to write to), or
        SpoolBrokenError when disk or file fail: then `put` and the others try again by themselves, and
        `recovered` says what they found.
        """
        for folder in self._folders:
            self._use(folder)
            try:
                await self._run(self._file.open)
                break
            except SpoolInUseError:
                if folder == self._folders[-1]:
                    raise
        return self.recovered

    def _use(self, folder: Path) -> None:
        settings = self._settings
        self.folder = folder
        """Where it lies."""
        self._file = SpoolFile(
            folder,
            bytes_max=settings.spool_bytes_max,
            retry_s=settings.spool_retry_s,
            locked_timeout_s=settings.spool_locked_timeout_s,
        )

    async def put(self, envelopes: Iterable[Envelope]) -> None:
        """Return when all of them are on the disk. Raises SpoolFullError or SpoolBrokenError: then none is stored.

        It does so within `spool_timeout_s`. Late or cancelled, it stores none of them either: what was written by then
        is deleted again.
        """
        rows = [to_row(envelope) for envelope in envelopes]
        if not rows:
            return
        self._check()
        positions: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._waiting.append(Waiting(rows, sum(len(row.head) + len(row.body) for row in rows), positions))
        if self._writing is None:
            self._writing = self._task(self._write_all())
        try:
            async with asyncio.timeout(self._settings.spool_timeout_s):
                await self._written(positions)
        except TimeoutError:
            self._overdue = self._writing is not None
            raise self._too_slow() from None

    async def _written(self, positions: asyncio.Future[list[int]]) -> None:
        try:
            await positions
        except asyncio.CancelledError:
            if not positions.cancelled() and not positions.exception():
                self._withdraw(positions.result())  # written in the same moment
            raise

    async def first(self, count: int, after: int = -1) -> list[tuple[int, Envelope]]:
        """The oldest (behind a position), each with its position, in order of arrival.

        At most `count`, and `drain_batch_bytes_max` or so. They stay. Raises SpoolBrokenError.
        """
        found = await self._run(lambda: self._file.first(count, self._settings.drain_batch_bytes_max, after))
        return [(position, envelope) for position, envelope in found if position not in self._withdrawn]

    async def delete(self, positions: Iterable[int]) -> None:
        """Delete these; when it returns they are gone for good. Positions it does not hold are passed over.

        Raises SpoolBrokenError: then some may be gone already; ask again with the same positions.
        """
        gone = list(positions)
        if gone:
            await self._run(lambda: self._file.delete(gone))

    async def ping(self) -> None:
        """Raises SpoolFullError or SpoolBrokenError when the next callback would not be stored.

        A spool that failed the last time is tried again by writing to it.
        """
        if self.full:
            raise self._too_full()
        self._check()
        if not self._file.ready:
            await self._run(self._file.probe)

    async def close(self) -> None:
        """Write what waits, and leave the folder to others. Nothing is lost; harmless when it is not open.

        A disk that does not answer within `spool_timeout_s` is left to itself.
        """
        if self._closed:
            return
        self._closed = True
        closing = asyncio.create_task(self._close(), name="spool: close")
        await asyncio.wait([closing], timeout=self._settings.spool_timeout_s)
        if closing.done():
            closing.result()
        else:
            log.error("the spool is left as it is", why=str(self._too_slow()))

    async def _close(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)
        with suppress(SpoolBrokenError):
            await self.delete(self._withdrawn)  # these were never acknowledged
        await self._run(self._file.close)
        self._thread.shutdown(wait=False)

    @property
    def is_known(self) -> bool:
        """Whether it was opened once; before that, nobody knows what an earlier run left in it."""
        return self._file.known

    @property
    def depth(self) -> int:
        """Callbacks in it."""
        return self._file.state.callbacks

    @property
    def bytes(self) -> int:
        """What they take on the disk: pages in use, and the write-ahead log."""
        return self._file.state.bytes

    @property
    def oldest(self) -> datetime | None:
        """When the oldest of them was received; None when there is none."""
        return self._file.state.oldest

    @property
    def recovered(self) -> int:
        """Callbacks found in it when it was opened (or salvaged) that this process had not put there."""
        return self._file.statistics.recovered

    @property
    def lost(self) -> int:
        """Callbacks put there or recovered by this process that a damaged file no longer gives back."""
        return self._file.statistics.lost

    @property
    def trouble(self) -> str | None:
        """Why the last operation failed; None when it succeeded."""
        return self._file.state.trouble

    @property
    def full(self) -> bool:
        """Whether `spool_bytes_max` is reached, with the space for the log and what is set apart for a full disk."""
        return self._file.state.full

    async def _write_all(self) -> None:
        try:
            while group := self._take():
                await self._write(group)
        finally:
            self._writing = None

    def _take(self) -> list[Waiting]:
        """Those that are written together: all, up to the limits of a batch, but at least the first."""
        group: list[Waiting] = []
        rows = length = 0
        while self._waiting:
            one = self._waiting[0]
            rows += len(one.rows)
            length += one.bytes
            if group and (rows > self._settings.spool_batch_max or length > self._settings.spool_batch_bytes_max):
                break
            self._waiting.popleft()
            if not one.positions.cancelled():
                group.append(one)
        return group

    async def _write(self, group: Sequence[Waiting]) -> None:
        try:
            positions = iter(await self._put([row for one in group for row in one.rows]))
        except Exception as error:  # noqa: BLE001 - no caller may be left waiting, whatever it was
            for one in group:
                if not one.positions.done():
                    one.positions.set_exception(
                        type(error)(str(error)) if isinstance(error, CannotKeepError) else error
                    )
        else:
            for one in group:
                given = list(islice(positions, len(one.rows)))
                if one.positions.done():
                    self._withdraw(given)
                else:
                    one.positions.set_result(given)

    async def _put(self, rows: Sequence[Row]) -> list[int]:
        if self.full:
            raise self._too_full()
        try:
            return await self._run(lambda: self._file.put(rows))
        finally:
            self._overdue = False

    def _check(self) -> None:
        """Raises SpoolBrokenError when it is closed, or when the disk does not answer."""
        if self._closed:
            raise SpoolBrokenError("the spool is closed")
        if self._overdue:
            raise self._too_slow()

    def _withdraw(self, positions: list[int]) -> None:
        """These were not acknowledged, so they must not be stored."""
        self._withdrawn.update(positions)
        self._task(self._delete_withdrawn(positions))

    async def _delete_withdrawn(self, positions: list[int]) -> None:
        while not self._closed:
            try:
                await self.delete(positions)
            except SpoolBrokenError:
                await asyncio.sleep(self._settings.spool_retry_s)
            else:
                self._withdrawn.difference_update(positions)
                return

    def _too_full(self) -> SpoolFullError:
        return SpoolFullError(
            f"the spool holds as much as spool_bytes_max allows ({self._settings.spool_bytes_max} bytes)"
        )

    def _too_slow(self) -> SpoolBrokenError:
        return SpoolBrokenError(
            f"the spool's disk does not answer within spool_timeout_s ({self._settings.spool_timeout_s:g} s)"
        )

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name="spool")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
