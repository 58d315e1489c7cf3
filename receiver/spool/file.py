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
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

import structlog

from receiver.envelope import Envelope
from receiver.errors import SetupError, SpoolBrokenError
from receiver.spool import table
from receiver.spool.folder import SpoolFolder, write_again
from receiver.spool.inspection import inspect
from receiver.spool.rows import Row, UnreadableError, received_at
from receiver.spool.salvage import renew, salvage

SHRINK_BYTES = 1_048_576
"""A file that has nothing in it is made small again when it is larger."""
RESERVE_BYTES_MAX = 16_777_216
"""More than the log and a group in it: so much may have to be copied into the database before room is won."""
RESERVE_SHARE = 8
LOG_BYTES_MAX = 4_194_304
LOG_BYTES_MIN = 65_536
LOG_SHARE = 32
"""Of a small spool these are not more than such a part."""
LONG_S = 1.0
RETRY_RATIO = 10
"""What took long and failed is tried again only after so many times as long."""

_POSITION_MAX = 2**63 - 1
_MISPLACED = (PermissionError, NotADirectoryError, FileExistsError)

T = TypeVar("T")
log = structlog.get_logger()


class State(NamedTuple):
    """What is in the file; replaced as a whole, so that another thread may look."""

    callbacks: int = 0
    bytes: int = 0
    """Pages in use, and the log. Free pages inside the file are not counted: they are used before it grows."""
    full: bool = False
    """Whether the next group could go beyond the ceiling."""
    oldest: datetime | None = None
    trouble: str | None = None
    """Why the last thing asked of it was not done."""


class SpoolFile:
    """Every method may raise SpoolBrokenError, and may be called again: what can be mended is mended then."""

    def __init__(self, folder: Path, *, bytes_max: int, retry_s: float, locked_timeout_s: float) -> None:
        self.state = State()
        self.recovered = 0
        """Callbacks found in it that this process had not put there, or had taken for forgotten."""
        self.lost = 0
        """Callbacks known to have been in it that a damaged file no longer gives."""
        self._folder = SpoolFolder(folder)
        self._bytes_max = bytes_max
        self._reserve_bytes = min(RESERVE_BYTES_MAX, bytes_max // RESERVE_SHARE)
        self._log_bytes_max = max(LOG_BYTES_MIN, min(LOG_BYTES_MAX, bytes_max // LOG_SHARE))
        self._retry_s = retry_s
        self._locked_timeout_s = locked_timeout_s
        self._retry_at_s = 0.0
        self._connection: sqlite3.Connection | None = None
        self._next = 1
        self._oldest: int | None = None
        self._newest: int | None = None
        """The last position acknowledged; None before the first opening."""
        self._count = 0
        self._bytes_used = self._bytes_all = 0
        self._unfolded = 0
        """About how much is in the log that is not in the database yet."""
        self._suspected = False
        """The disk failed to write what it was given; see above."""
        self._why = ""
        self._unsure = 0
        """Callbacks that may have been forgotten, by a commit that failed."""

    def open(self) -> None:
        """Take the folder and find what is there. Raises SetupError when it is not ours to use, or SpoolBrokenError."""
        try:
            try:
                self._do(lambda: None, at_start=True)
            except SpoolBrokenError:
                self._retry_at_s = 0  # there may have been no room, and now is
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

    def first(self, count: int, bytes_max: int) -> list[tuple[int, Envelope]]:
        """The oldest, in order of arrival: at most `count`, and no more once they have `bytes_max`."""
        return self._do(lambda: table.first(self._opened(), count, bytes_max))

    def forget(self, positions: Sequence[int]) -> None:
        """Let go of them. Those it does not hold are passed over."""
        try:
            self._do(lambda: self._forget(positions))
        except SpoolBrokenError:
            self._unsure += len(positions)
            self._use_reserve()
            raise
        self._fold_if_due()

    def probe(self) -> None:
        """Write something that changes nothing, durably."""
        self._do(self._probe)

    @property
    def ready(self) -> bool:
        """Whether a callback could be put, as far as is known."""
        usable = self._connection is not None and not self._suspected
        return usable and self.state.trouble is None and self._folder.holds_reserve

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
        self._retry_at_s = time.monotonic() + (self._retry_s if took_s < LONG_S else RETRY_RATIO * took_s)
        self._why = why

    def _suspect(self, why: str) -> None:
        if not self._suspected:
            log.error("the disk did not keep what was written; the spool takes nothing until it is copied", why=why)
        self._suspected = True
        self._folder.suspect(self._newest)

    def _trust(self) -> None:
        self._suspected = False
        self._folder.trust()

    def _not_too_soon(self) -> None:
        if time.monotonic() < self._retry_at_s:
            raise SpoolBrokenError(f"the spool does not work: {self._why}")

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
        self._unfolded += abs(size.bytes_used - self._bytes_used) + table.COMMIT_BYTES
        self._bytes_used, self._bytes_all, self._oldest = size.bytes_used, size.bytes_all, size.oldest
        log_bytes = self._folder.log_bytes
        most = size.bytes_used + max(log_bytes, self._log_bytes_max) + self._reserve_bytes
        self.state = State(self._count, size.bytes_used + log_bytes, most >= self._bytes_max, oldest)

    def _fold_if_due(self) -> None:
        """What was asked is done and stays done, whatever shows now."""
        if self._unfolded > self._log_bytes_max:
            self._unfolded = 0
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
        self._folder.hold_reserve(self._reserve_bytes)
        positions = list(range(self._next, self._next + len(rows)))
        self._next += len(rows)
        with table.transaction(self._opened()) as connection:
            table.insert(connection, positions, rows)
        self._count += len(rows)
        return positions

    def _forget(self, positions: Sequence[int]) -> None:
        self._count -= table.forget(self._opened(), positions)
        if not self._count and self._bytes_all > SHRINK_BYTES:
            self._fold(table.shrink)

    def _probe(self) -> None:
        self._renew()
        self._folder.hold_reserve(self._reserve_bytes)
        table.write_format(self._opened())

    def _renew(self) -> None:
        """See that what is put now is written to blocks that the disk has not failed to write before."""
        if not self._suspected:
            return
        self._not_too_soon()
        renew(self._folder, self._opened())
        self._opened().close()  # not later: this removes a log of that name, and as yet there is none
        self._connection = None
        self._trust()
        self._opened()
        log.warning("the spool was copied into a new file, and works again", callbacks=self._count)

    # Opening it.

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._not_too_soon()
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
        table.set_up(connection, self._log_bytes_max)
        if self._newest is None:
            table.check(connection)
        acknowledged = self._folder.suspected_after() if self._newest is None else self._newest
        if acknowledged is not None and table.extent(connection).newest > acknowledged:
            table.forget_after(connection, acknowledged)
        # So that nothing of a failed commit stays in the log, and the number of the format is in the file itself.
        self._fold(table.fold)
        expected = self.state.callbacks
        self._count, newest = table.extent(connection)
        self._measure(connection)
        self._account(expected)
        self._newest = max(self._newest or 0, newest)
        # Of an empty file the last position is not known; the clock is beyond it.
        self._next = max(self._next, self._newest + 1, time.time_ns() // 1000)
        self._unfolded = 0

    def _account(self, expected: int) -> None:
        """What was found against what was expected."""
        if self._newest is None:
            self.recovered = self._count
            return
        self.recovered += max(0, self._count - expected)
        missing = expected - self._unsure - self._count
        self._unsure = 0
        if missing > 0:
            self.lost += missing
            log.error("callbacks that were kept are missing from the spool", callbacks=missing)

    # Damage.

    def _salvage(self, why: Exception) -> None:
        self._drop()
        found = salvage(self._folder, *self._expected())
        self._trust()
        log.error(
            "the spool's file is damaged; it was set aside, and what can be read of it was taken over",
            why=str(why),
            file=str(found.aside),
            callbacks=found.callbacks,
            kept_as_malformed=found.malformed,
            unreadable_about=found.gaps,
        )

    def _expected(self) -> tuple[int, int]:
        """The least and the greatest position that can be in it; all, as long as nothing is known of it."""
        if self._newest is None:
            return 0, _POSITION_MAX
        return self._newest + 1 if self._oldest is None else self._oldest, self._newest
