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
- A full disk fails a write before the commit is in the log; the connection stays good. Deleting needs space too, so
  some is set apart (`spool.reserve`), and given up when deleting fails; nothing is put before it is there again.
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
from receiver.spool.folder import SpoolFolder, write_again
from receiver.spool.records import Row, UnreadableError, received_at
from receiver.spool.salvage import inspect, renew, salvage
from receiver.spool.spool_state import DiskQuota, RetryPause, SpoolState, SpoolStatistics

_POSITION_MAX = 2**63 - 1
_MISPLACED = (PermissionError, NotADirectoryError, FileExistsError)

T = TypeVar("T")
log = structlog.get_logger()


class SpoolFile:
    """Every method may raise SpoolBrokenError, and may be called again: what can be repaired is repaired then."""

    def __init__(self, folder: Path, *, bytes_max: int, retry_s: float, locked_timeout_s: float) -> None:
        self.state = SpoolState()
        self.statistics = SpoolStatistics()
        self._folder = SpoolFolder(folder)
        self._quota = DiskQuota(bytes_max)
        self._pause = RetryPause(retry_s)
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
                self._run(lambda: None, at_start=True)
            except SpoolBrokenError:
                self._pause.end()  # there may have been no space, and now is
                self._run(lambda: None, at_start=True)
        except _MISPLACED as error:
            raise SetupError(f"spool_dir: {self._folder.path}: {error.strerror}") from error
        finally:
            if self._connection is None:
                self._folder.release()

    def put(self, rows: Sequence[Row]) -> list[int]:
        """Write them; their positions, when they are on the disk."""
        positions = self._run(lambda: self._put(rows))
        self._newest = positions[-1]
        self._checkpoint_if_due()
        return positions

    def first(self, count: int, bytes_max: int, after: int = -1) -> list[tuple[int, Envelope]]:
        """The oldest behind a position, in order: at most `count`, and no more once they have `bytes_max`."""
        return self._run(lambda: table.first(self._opened(), count, bytes_max, after))

    def delete(self, positions: Sequence[int]) -> None:
        """Delete these; positions it does not hold are passed over."""
        try:
            self._run(lambda: self._delete(positions))
        except SpoolBrokenError:
            self.statistics.note_deletion(positions, is_certain=False)
            self._use_reserve()
            raise
        self.statistics.note_deletion(positions, is_certain=True)
        self._checkpoint_if_due()

    def probe(self) -> None:
        """Write something that changes nothing, durably."""
        self._run(self._probe)

    @property
    def ready(self) -> bool:
        """Whether a callback could be put, as far as is known."""
        usable = self._connection is not None and not self._suspected
        return usable and self.state.trouble is None and self._folder.holds_reserve

    @property
    def known(self) -> bool:
        """Whether it was opened once, so that its content is known."""
        return self._newest is not None

    def close(self) -> None:
        """Leave it to others; what is in it stays."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._checkpoint(table.checkpoint_all)
        if self._connection is not None and not self._suspected:
            self._connection.close()
            self._connection = None
        self._drop()
        self._folder.release()

    # An operation, and its failures.

    def _run(self, work: Callable[[], T], *, at_start: bool = False) -> T:
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
            self._drop()  # it is committed, and will be reported as failed: the next opening takes it back
            raise
        return result

    def _failed(self, error: Exception, took_s: float) -> None:
        name = getattr(error, "sqlite_errorname", None)
        why = f"{error} ({name})" if name else str(error)
        self.state = self.state._replace(trouble=why)
        if table.is_unsynced(error):
            self._suspect(why)
        elif not table.is_temporary(error) and not self._suspected:
            self._drop()
        if self._connection is None:
            self._use_reserve()  # opening needs a little space, too
        self._pause.begin(why, took_s)

    def _suspect(self, why: str) -> None:
        if not self._suspected:
            log.error("the disk did not keep what was written; the spool takes nothing until it is copied", why=why)
        self._suspected = True
        self._folder.suspect(self._newest)

    def _drop(self) -> None:
        """Leave the files as they are, the log too, to the next opening."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                table.close_without_checkpoint(connection, self._folder.database)
            with suppress(sqlite3.Error):
                connection.close()

    def _use_reserve(self) -> None:
        with suppress(OSError):
            self._folder.use_reserve()

    def _measure(self, connection: sqlite3.Connection) -> None:
        size, oldest = table.measure(connection)
        self._quota.measured(size, self._folder.log_bytes)
        self._oldest = oldest and oldest.position
        oldest_at = oldest and received_at(oldest.head)
        self.state = SpoolState(self.statistics.count, self._quota.bytes, self._quota.full, oldest_at)

    def _checkpoint_if_due(self) -> None:
        """The operation before is committed, whatever fails now."""
        if self._quota.is_checkpoint_due:
            self._quota.checkpointed()
            with suppress(sqlite3.Error):
                self._checkpoint(table.checkpoint)

    def _checkpoint(self, checkpoint: Callable[[sqlite3.Connection], None]) -> None:
        """Housekeeping, which may also be done another time; but a failing disk is noted."""
        if self._suspected:
            return
        try:
            checkpoint(self._opened())
        except sqlite3.OperationalError as error:
            if table.is_unsynced(error):
                self._suspect(str(error))
            elif table.is_damage(error):
                raise

    # The operations.

    def _put(self, rows: Sequence[Row]) -> list[int]:
        self._renew()
        self._folder.hold_reserve(self._quota.reserve_bytes)
        positions = list(range(self._next, self._next + len(rows)))
        self._next += len(rows)
        with table.transaction(self._opened()) as connection:
            table.insert(connection, list(zip(positions, rows, strict=True)))
        self.statistics.count += len(rows)
        return positions

    def _delete(self, positions: Sequence[int]) -> None:
        self.statistics.count -= table.delete(self._opened(), positions)
        if not self.statistics.count and self._quota.is_worth_shrinking:
            self._checkpoint(table.shrink)

    def _probe(self) -> None:
        self._renew()
        self._folder.hold_reserve(self._quota.reserve_bytes)
        self._opened().execute(table.WRITE_FORMAT)

    def _renew(self) -> None:
        """After a failed fsync, copy all into a new file: on blocks that the disk has not failed to write."""
        if not self._suspected:
            return
        self._pause.check()
        renew(self._folder, self._opened())
        self._opened().close()  # not later: this removes a log of that name, and as yet there is none
        self._connection = None
        self._suspected = False
        self._folder.trust()
        self._opened()
        log.warning("the spool was copied into a new file, and works again", callbacks=self.statistics.count)

    # Opening it.

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._pause.check()
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
        table.set_up(connection, self._quota.log_bytes_max)
        if self._newest is None:
            table.check(connection)
        acknowledged = self._folder.suspected_after() if self._newest is None else self._newest
        if acknowledged is not None and table.count_rows(connection)[1] > acknowledged:
            table.delete_after(connection, acknowledged)
        # So that nothing of a failed commit stays in the log, and the number of the format is in the file itself.
        self._checkpoint(table.checkpoint_all)
        expected = None if self._newest is None else self.state.callbacks
        self.statistics.count, newest = table.count_rows(connection)
        self._measure(connection)
        self.statistics.note_opening(expected)
        self._newest = max(self._newest or 0, newest)
        # Of an empty file the last position is not known; the clock is beyond it.
        self._next = max(self._next, self._newest + 1, time.time_ns() // 1000)
        self._quota.checkpointed()

    # Damage.

    def _salvage(self, why: Exception) -> None:
        self._drop()
        salvage(self._folder, *self._expected(), str(why))
        self._suspected = False
        self._folder.trust()

    def _expected(self) -> tuple[int, int]:
        """The least and the greatest position that can be in it; all, as long as nothing is known of it."""
        if self._newest is None:
            return 0, _POSITION_MAX
        return self._newest + 1 if self._oldest is None else self._oldest, self._newest
