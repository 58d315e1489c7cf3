"""The spool's SQLite file, for one thread: rows in, rows out, and what to do when the disk or the file fails.

Must not know the event loop (`spool`). What holds when something goes wrong:

- COMMIT returns when the write-ahead log is fsynced (`synchronous=FULL`). When it fails, its frames may lie in the
  log all the same. So the connection is dropped, and when the file is opened again, every position above the last
  acknowledged one is deleted before anything else is done. Only if we die before that can a callback that was
  answered 503 be found in the spool at the next start.
- After a failed fsync the kernel takes pages for clean that never reached the disk; reading shows them still, and
  SQLite would append behind them. So at every opening the log is written over with its own bytes and fsynced: what
  SQLite then reads is on the disk. Of the database file nothing is feared: SQLite keeps the log until the pages that
  it copied from there are fsynced.
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
from receiver.spool.folder import SpoolFolder, read_at, write_again
from receiver.spool.pages import is_torn
from receiver.spool.rows import FORMAT, Row, UnreadableError, received_at
from receiver.spool.salvage import salvage

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

_MAGIC = b"SQLite format 3\0"
_POSITION_MAX = 2**63 - 1
_MISPLACED = (PermissionError, NotADirectoryError, FileExistsError)

T = TypeVar("T")
log = structlog.get_logger()


class State(NamedTuple):
    """What is in the file; replaced as a whole, so that another thread may look."""

    callbacks: int = 0
    bytes: int = 0
    """Pages in use, and the log. Free pages inside the file are not counted: they are used before it grows."""
    oldest: datetime | None = None
    trouble: str | None = None
    """Why the last thing asked of it was not done."""


class SpoolFile:
    """Every method may raise SpoolBrokenError, and may be called again: what can be mended is mended then."""

    def __init__(self, folder: Path, *, bytes_max: int, retry_s: float, locked_timeout_s: float) -> None:
        self.reserve_bytes = min(RESERVE_BYTES_MAX, bytes_max // RESERVE_SHARE)
        self.state = State()
        self.recovered = 0
        """Callbacks found in it that this process had not put there, or had taken for forgotten."""
        self.lost = 0
        """Callbacks known to have been in it that a damaged file no longer gives."""
        self._folder = SpoolFolder(folder)
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
        self._bytes_all = 0
        self._unsure = 0
        """Callbacks that may have been forgotten, by a commit that failed."""

    def open(self) -> None:
        """Take the folder and find what is there. Raises SetupError when it is not ours to use, or SpoolBrokenError."""
        try:
            self._do(lambda _: None, at_start=True)
        except _MISPLACED as error:
            raise SetupError(f"spool_dir: {self._folder.path}: {error.strerror}") from error
        finally:
            if self._connection is None:
                self._folder.release()

    def put(self, rows: Sequence[Row]) -> list[int]:
        """Keep them; their positions, when they are on the disk."""
        positions = self._do(lambda connection: self._put(connection, rows))
        self._newest = positions[-1]
        return positions

    def first(self, count: int, bytes_max: int) -> list[tuple[int, Envelope]]:
        """The oldest, in order of arrival: at most `count`, and no more once they have `bytes_max`."""
        return self._do(lambda connection: table.first(connection, count, bytes_max))

    def forget(self, positions: Sequence[int]) -> None:
        """Let go of them. Those it does not hold are passed over."""
        try:
            self._do(lambda connection: self._forget(connection, positions))
        except SpoolBrokenError:
            self._unsure += len(positions)
            with suppress(OSError):
                self._folder.use_reserve()
            raise

    def probe(self) -> None:
        """Write something that changes nothing, durably."""
        self._do(self._probe)

    @property
    def ready(self) -> bool:
        """Whether a callback could be put, as far as is known."""
        return self._connection is not None and self.state.trouble is None and self._folder.holds_reserve

    def close(self) -> None:
        """Leave it to others; what is in it stays."""
        self._drop()
        self._folder.release()

    # Doing something, whatever happens.

    def _do(self, work: Callable[[sqlite3.Connection], T], *, at_start: bool = False) -> T:
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

    def _once(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connection or self._open()
        result = work(connection)
        try:
            self._measure(connection)
        except BaseException:
            self._drop()  # the work is done and will be told to be not; the next opening takes it back
            raise
        return result

    def _failed(self, error: Exception, took_s: float) -> None:
        name = getattr(error, "sqlite_errorname", None)
        self.state = self.state._replace(trouble=f"{error} ({name})" if name else str(error))
        if self._connection is None or not table.is_passing(error):
            self._drop()
            self._retry_at_s = time.monotonic() + (self._retry_s if took_s < LONG_S else RETRY_RATIO * took_s)

    def _drop(self) -> None:
        """Closing may fail too; then the log stays, for the next opening."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _measure(self, connection: sqlite3.Connection) -> None:
        size = table.measure(connection)
        oldest = None if size.oldest_head is None else received_at(size.oldest_head)
        self.state = State(self._count, size.bytes_used + self._folder.log_bytes, oldest)
        self._bytes_all, self._oldest = size.bytes_all, size.oldest

    # What is done.

    def _put(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> list[int]:
        self._folder.hold_reserve(self.reserve_bytes)
        positions = list(range(self._next, self._next + len(rows)))
        self._next += len(rows)
        with table.transaction(connection):
            table.insert(connection, positions, rows)
        self._count += len(rows)
        return positions

    def _forget(self, connection: sqlite3.Connection, positions: Sequence[int]) -> None:
        self._count -= table.forget(connection, positions)
        if not self._count and self._bytes_all > SHRINK_BYTES:
            table.shrink(connection)

    def _probe(self, connection: sqlite3.Connection) -> None:
        self._folder.hold_reserve(self.reserve_bytes)
        table.write_format(connection)

    # Opening it.

    def _open(self) -> sqlite3.Connection:
        if time.monotonic() < self._retry_at_s:
            raise SpoolBrokenError(f"the spool does not work: {self.state.trouble}")
        self._folder.take()
        self._folder.settle()
        _look_at(self._folder)
        write_again(self._folder.log)
        self._folder.make_private(self._folder.database)
        connection = table.connect(self._folder.database, self._locked_timeout_s)
        try:
            self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _set_up(self, connection: sqlite3.Connection) -> None:
        table.set_up(connection, self._log_bytes_max)
        if self._newest is None:
            table.check(connection)
        elif table.extent(connection).newest > self._newest:
            table.forget_after(connection, self._newest)
        # So that nothing of a failed commit stays in the log, and the number of the format is in the file itself.
        table.fold(connection)
        expected = self.state.callbacks
        self._count, newest = table.extent(connection)
        self._measure(connection)
        self._account(expected)
        self._newest = max(self._newest or 0, newest)
        # Of an empty file the last position is not known; the clock is beyond it.
        self._next = max(self._next, self._newest + 1, time.time_ns() // 1000)

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


def _look_at(folder: SpoolFolder) -> None:
    """Before SQLite sees it: it would overwrite what is behind a fault. Raises SetupError or UnreadableError."""
    head = b""
    with suppress(FileNotFoundError), folder.database.open("rb") as file:
        head = read_at(file.fileno(), 64, 0)
    version = int.from_bytes(head[60:64], "big")
    if head.startswith(_MAGIC) and version > FORMAT:
        raise SetupError(
            f"spool_dir: {folder.database} was written by a newer program (format {version}, known here {FORMAT}); "
            "let that one empty it"
        )
    if not head and folder.log_bytes:
        raise UnreadableError("the file is empty or gone, and its log is there")
    if is_torn(folder.log):
        raise UnreadableError("its log is broken in the middle")
