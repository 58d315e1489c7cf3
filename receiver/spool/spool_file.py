"""The spool's SQLite file, for one thread: rows in, rows out, and what to do when the disk or the file fails.

Must not know the event loop (`spool`). What holds when something goes wrong:

- COMMIT returns when the write-ahead log is fsynced (`synchronous=FULL`). When it fails, SQLite takes it back, and
  the next commit is written over it. Its frames may lie in the log until then; so the last acknowledged position is
  left in `spool.suspected`, and after a restart what lies above it is deleted before anything else is done.
- After a failed fsync the kernel takes pages for clean that never reached the disk, and file systems (ext4 among them)
  may forget what is written to the same blocks later, although that fsync succeeds. So nothing more is put into
  such a file, nor copied from its log into the database, before all callbacks are copied into a new one. SQLite
  hides a failed fsync of its own checkpoints; therefore they are ours to begin, and the last one is left out.
- At every opening the log is written over with its own bytes and fsynced: what SQLite reads of it is on the disk then,
  whatever became of the process before us. The log is kept until the pages copied from there are fsynced.
- A full disk fails a write before the commit is in the log; the connection stays good. Forgetting needs room too, so
  some is set apart (`spool.reserve`), and given up when forgetting fails; nothing is put before it is there again.
- Nothing is put into a damaged file, and it is not deleted. What `salvage` reads of it goes into a draft, which takes
  its place when it is complete; the damaged one is renamed.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import structlog

from receiver.errors import SetupError, SpoolBrokenError
from receiver.model.envelope import Envelope
from receiver.spool import table
from receiver.spool.backoff import Retry
from receiver.spool.disk_quota import DiskQuota, State
from receiver.spool.folder import SpoolFolder, write_again
from receiver.spool.inspection import inspect
from receiver.spool.records import Row, UnreadableError, received_at
from receiver.spool.salvage import renew, salvage
from receiver.spool.statistics import SpoolStatistics

_POSITION_MAX = 2**63 - 1
_MISPLACED = (PermissionError, NotADirectoryError, FileExistsError)

T = TypeVar("T")
log = structlog.get_logger()


class SpoolFile:
    """Every method may raise SpoolBrokenError, and may be called again: what can be mended is mended then."""

    def __init__(self, folder: Path, *, bytes_max: int, retry_s: float, locked_timeout_s: float) -> None:
        self.state = State()
        self.account = SpoolStatistics()
        self._folder = SpoolFolder(folder)
        self._room = DiskQuota(bytes_max)
        self._retry = Retry(retry_s)
        self._locked_timeout_s = locked_timeout_s
        self._connection: sqlite3.Connection | None = None
        self._next = 1
        self._oldest: int | None = None
        self._newest: int | None = None
        """The last position acknowledged; None before the first opening."""
        self._suspected = False
        """The disk failed to write what it was given; see above."""

    def open(self) -> None:
        """Take the folder and find what is there. Raises SetupError when it is not ours to use, or SpoolBrokenError."""
        try:
            try:
                self._do(lambda: None, at_start=True)
            except SpoolBrokenError:
                self._retry.at_once()  # there may have been no room, and now is
                self._do(lambda: None, at_start=True)
        except _MISPLACED as error:
            raise SetupError(f"spool_dir: {self._folder.path}: {error.strerror}") from error
        finally:
            if self._connection is None:
                self._folder.release()

    def put(self, rows: Sequence[Row]) -> list[int]:
        """Keep them; their positions, when they are on the disk."""
        positions = self._do(lambda: self._put(rows))
        self._newest = positions[-1]
        self._fold_if_due()
        return positions

    def first(self, count: int, bytes_max: int, after: int = -1) -> list[tuple[int, Envelope]]:
        """The oldest behind a position, in order: at most `count`, and no more once they have `bytes_max`."""
        return self._do(lambda: table.first(self._opened(), count, bytes_max, after))

    def forget(self, positions: Sequence[int]) -> None:
        """Let go of them. Those it does not hold are passed over."""
        try:
            self._do(lambda: self._forget(positions))
        except SpoolBrokenError:
            self.account.doubt(positions)
            self._use_reserve()
            raise
        self.account.believe(positions)
        self._fold_if_due()

    def probe(self) -> None:
        """Write something that changes nothing, durably."""
        self._do(self._probe)

    @property
    def ready(self) -> bool:
        """Whether a callback could be put, as far as is known."""
        usable = self._connection is not None and not self._suspected
        return usable and self.state.trouble is None and self._folder.holds_reserve

    @property
    def known(self) -> bool:
        """Whether it was opened once, so that it is known what is in it."""
        return self._newest is not None

    def close(self) -> None:
        """Leave it to others; what is in it stays."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._fold(table.fold)
        if self._connection is not None and not self._suspected:
            self._connection.close()
            self._connection = None
        self._drop()
        self._folder.release()

    # Doing something, whatever happens.

    def _do(self, work: Callable[[], T], *, at_start: bool = False) -> T:
        started_s = time.monotonic()
        try:
            try:
                return self._once(work)
            except (UnreadableError, sqlite3.Error) as error:
                if not table.is_damage(error):
                    raise
                self._salvage(error)
                return self._once(work)
        except (OSError, UnreadableError, sqlite3.Error, SetupError) as error:
            self._failed(error, time.monotonic() - started_s)
            if at_start and isinstance(error, (SetupError, *_MISPLACED)):
                raise
            raise SpoolBrokenError(f"the spool does not work: {self.state.trouble}") from error

    def _once(self, work: Callable[[], T]) -> T:
        self._opened()
        result = work()
        try:
            self._measure(self._opened())
        except BaseException:
            self._drop()  # the work is done and will be told to be not; the next opening takes it back
            raise
        return result

    def _failed(self, error: Exception, took_s: float) -> None:
        name = getattr(error, "sqlite_errorname", None)
        why = f"{error} ({name})" if name else str(error)
        self.state = self.state._replace(trouble=why)
        if table.is_unsynced(error):
            self._suspect(why)
        elif not table.is_passing(error) and not self._suspected:
            self._drop()
        if self._connection is None:
            self._use_reserve()  # opening needs a little room, too
        self._retry.failed(why, took_s)

    def _suspect(self, why: str) -> None:
        if not self._suspected:
            log.error("the disk did not keep what was written; the spool takes nothing until it is copied", why=why)
        self._suspected = True
        self._folder.suspect(self._newest)

    def _trust(self) -> None:
        self._suspected = False
        self._folder.trust()

    def _drop(self) -> None:
        """Leave the files as they are, the log too: what is wrong with them is for the next opening."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                table.close_unfolded(connection, self._folder.database)
            with suppress(sqlite3.Error):
                connection.close()

    def _use_reserve(self) -> None:
        with suppress(OSError):
            self._folder.use_reserve()

    def _measure(self, connection: sqlite3.Connection) -> None:
        size = table.measure(connection)
        oldest = None if size.oldest_head is None else received_at(size.oldest_head)
        self._room.measured(size, self._folder.log_bytes)
        self._oldest = size.oldest
        self.state = State(self.account.count, self._room.bytes, self._room.full, oldest)

    def _fold_if_due(self) -> None:
        """What was asked is done and stays done, whatever shows now."""
        if self._room.is_fold_due:
            self._room.folded()
            with suppress(sqlite3.Error):
                self._fold(table.fold_on)

    def _fold(self, fold: Callable[[sqlite3.Connection], None]) -> None:
        """Housekeeping: what cannot be done now can be done another time, but a disk that fails is heeded."""
        if self._suspected:
            return
        try:
            fold(self._opened())
        except sqlite3.OperationalError as error:
            if table.is_unsynced(error):
                self._suspect(str(error))
            elif table.is_damage(error):
                raise

    # What is done.

    def _put(self, rows: Sequence[Row]) -> list[int]:
        self._renew()
        self._folder.hold_reserve(self._room.reserve_bytes)
        positions = list(range(self._next, self._next + len(rows)))
        self._next += len(rows)
        with table.transaction(self._opened()) as connection:
            table.insert(connection, positions, rows)
        self.account.count += len(rows)
        return positions

    def _forget(self, positions: Sequence[int]) -> None:
        self.account.count -= table.forget(self._opened(), positions)
        if not self.account.count and self._room.is_worth_shrinking:
            self._fold(table.shrink)

    def _probe(self) -> None:
        self._renew()
        self._folder.hold_reserve(self._room.reserve_bytes)
        table.write_format(self._opened())

    def _renew(self) -> None:
        """See that what is put now is written to blocks that the disk has not failed to write before."""
        if not self._suspected:
            return
        self._retry.check()
        renew(self._folder, self._opened())
        self._opened().close()  # not later: this removes a log of that name, and as yet there is none
        self._connection = None
        self._trust()
        self._opened()
        log.warning("the spool was copied into a new file, and works again", callbacks=self.account.count)

    # Opening it.

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._retry.check()
            self._folder.take()
            self._folder.settle()
            self._suspected = self._suspected or self._folder.suspected
            inspect(self._folder)
            write_again(self._folder.log)
            self._folder.make_private(self._folder.database)
            self._connection = table.connect(self._folder.database, self._locked_timeout_s)
            try:
                self._set_up(self._connection)
            except BaseException:
                self._drop()
                raise
        return self._connection

    def _set_up(self, connection: sqlite3.Connection) -> None:
        table.set_up(connection, self._room.log_bytes_max)
        if self._newest is None:
            table.check(connection)
        acknowledged = self._folder.suspected_after() if self._newest is None else self._newest
        if acknowledged is not None and table.extent(connection).newest > acknowledged:
            table.forget_after(connection, acknowledged)
        # So that nothing of a failed commit stays in the log, and the number of the format is in the file itself.
        self._fold(table.fold)
        expected = None if self._newest is None else self.state.callbacks
        self.account.count, newest = table.extent(connection)
        self._measure(connection)
        self.account.settle(expected)
        self._newest = max(self._newest or 0, newest)
        # Of an empty file the last position is not known; the clock is beyond it.
        self._next = max(self._next, self._newest + 1, time.time_ns() // 1000)
        self._room.folded()

    # Damage.

    def _salvage(self, why: Exception) -> None:
        self._drop()
        salvage(self._folder, *self._expected(), str(why))
        self._trust()

    def _expected(self) -> tuple[int, int]:
        """The least and the greatest position that can be in it; all, as long as nothing is known of it."""
        if self._newest is None:
            return 0, _POSITION_MAX
        return self._newest + 1 if self._oldest is None else self._oldest, self._newest
