"""The spool's folder: ours alone, private, and with files that are whole at every moment.

Must not know what is in the files (`table`).
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG

from receiver.errors import SetupError, SpoolInUseError
from receiver.spool.records import UnreadableError

NAME = "spool.db"
_LOCK = "spool.lock"
_OURS = "spool."
_SET_ASIDE = ".damaged-"
_NOT_OURS_AND_HARMLESS = {"lost+found"}
_PARTS = ("", "-wal", "-journal")
_CHUNK_BYTES = 1_048_576


class SpoolFolder:
    """Folder 0700, files 0600, one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / NAME
        self.log = path / f"{NAME}-wal"
        self.draft = path / f"{NAME}.draft"
        """A new database being written; of no use until it is complete."""
        self._complete = path / f"{NAME}.complete"
        self._reserve = path / "spool.reserve"
        self._suspicion = path / "spool.suspected"
        self._lock: int | None = None

    def take(self) -> None:
        """Create and lock it, until `release` or the end of the process. Raises SetupError when another one has it."""
        if self._lock is not None:
            return
        self._refuse_link()
        new = [path for path in (self.path, *self.path.parents) if not path.exists()]
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in new:
            sync(path.parent)
        self._refuse_what_is_not_ours(self.path)
        self._close_to_others()
        for path in self.path.iterdir():
            if path.name.startswith(_OURS) and _SET_ASIDE not in path.name:
                self._refuse_what_is_not_ours(path)
        self._lock = self._locked()

    @property
    def log_bytes(self) -> int:
        """Of the write-ahead log; 0 when there is none."""
        try:
            return self.log.stat().st_size
        except FileNotFoundError:
            return 0

    def release(self) -> None:
        """Unlock it; harmless when it is not locked."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def make_private(self, path: Path) -> None:
        """See that it exists and that nobody else may read it. Not while SQLite has it open: its locks would go."""
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.fchmod(file, 0o600)
        os.close(file)
        sync(self.path)

    @property
    def suspected(self) -> bool:
        """Whether the disk failed to write these files, since the machine was started."""
        return self._suspicion.exists()

    def suspect(self, newest: int | None) -> None:
        """Leave a note for the next process, with the last position that was acknowledged.

        It need not reach the disk: after a start of the machine there is nothing to suspect.
        """
        with suppress(OSError):
            self._suspicion.touch(0o600)
            self._suspicion.write_text("" if newest is None else f"{newest}\n")

    def suspected_after(self) -> int | None:
        """The last position acknowledged before the disk failed, if an earlier process noted it."""
        text = self._suspicion.read_text() if self.suspected else ""
        return int(text) if text.strip().isdigit() else None

    def trust(self) -> None:
        """The files are new: remove the note."""
        self._suspicion.unlink(missing_ok=True)

    @property
    def holds_reserve(self) -> bool:
        """Whether space is set apart."""
        return self._reserve.exists()

    def hold_reserve(self, length: int) -> None:
        """Set so much space apart, for what must go on when the disk is full. Raises OSError when there is none."""
        if self.holds_reserve:
            return
        draft = self._reserve.with_suffix(".draft")
        self.make_private(draft)
        try:
            with draft.open("wb", buffering=0) as file:
                while (missing := length - file.tell()) > 0:
                    file.write(bytes(min(missing, _CHUNK_BYTES)))
                os.fsync(file.fileno())
        except OSError:
            draft.unlink()
            raise
        draft.rename(self._reserve)

    def use_reserve(self) -> None:
        """Free that space."""
        self._reserve.unlink(missing_ok=True)

    def begin_draft(self) -> None:
        """An empty draft."""
        self.drop_draft()
        self.make_private(self.draft)

    def drop_draft(self) -> None:
        """Delete an incomplete draft."""
        self.draft.unlink(missing_ok=True)

    def end_draft(self, *, keep: bool = True) -> Path:
        """The draft is complete and on the disk: it becomes the database.

        What was there is renamed to the name returned, and deleted unless `keep`.
        """
        self.draft.rename(self._complete)
        sync(self.path)
        aside = self.settle()
        if not keep:
            for end in _PARTS:
                Path(f"{aside}{end}").unlink(missing_ok=True)
        return aside

    def settle(self) -> Path:
        """Finish what `end_draft` began, perhaps in an earlier process; where nothing was begun, nothing is done.

        The log is set aside after its database: a database without its log would look whole, and lack rows.
        """
        aside = self.path / f"{NAME}{_SET_ASIDE}{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        if self._complete.exists():
            for end in _PARTS:
                with suppress(FileNotFoundError):
                    (self.path / f"{NAME}{end}").rename(f"{aside}{end}")
            (self.path / f"{NAME}-shm").unlink(missing_ok=True)  # a mere index of the log
            self._complete.rename(self.database)
            sync(self.path)
        return aside

    def _refuse_link(self) -> None:
        if self.path.is_symlink():
            raise SetupError(
                f"spool_dir: {self.path} is a symbolic link; name the folder itself ({self.path.resolve()})"
            )

    def _refuse_what_is_not_ours(self, path: Path) -> None:
        """What others laid here, when they could, might lead what we write elsewhere."""
        try:
            found = path.lstat()
        except FileNotFoundError:  # another receiver, which has the lock, is at work
            return
        if not (S_ISREG(found.st_mode) or path == self.path):
            raise SetupError(f"spool_dir: {path} is no plain file, so it is none of the spool's: remove it")
        if found.st_uid != os.geteuid():
            raise SetupError(
                f"spool_dir: {path} belongs to another user ({found.st_uid}) than this program runs as "
                f"({os.geteuid()}); chown it, or give the spool a folder of its own"
            )

    def _close_to_others(self) -> None:
        if not self.path.stat().st_mode & 0o077:
            return
        for path in self.path.iterdir():
            if not path.name.startswith(_OURS) and path.name not in _NOT_OURS_AND_HARMLESS:
                raise SetupError(
                    f"spool_dir: {self.path} is open to other users and holds other files ({path.name}); "
                    "give the spool a folder of its own"
                )
        self.path.chmod(0o700)

    def _locked(self) -> int:
        """The kernel releases it when the process ends, however it ends; children do not inherit it."""
        lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 20, 0).decode(errors="replace").strip()
            os.close(lock)
            raise SpoolInUseError(
                f"spool_dir: {self.path} is in use by another esc-receiver (process {holder}); each needs its own"
            ) from None
        with suppress(OSError):  # a courtesy, and the disk may be full
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        return lock


def write_again(path: Path) -> None:
    """Write a file over with its own bytes and fsync it: what can be read of it is on the disk then."""
    if not path.exists():
        return
    with path.open("r+b", buffering=0) as file:
        offset = 0
        while chunk := read_at(file.fileno(), _CHUNK_BYTES, offset):
            offset += os.pwrite(file.fileno(), chunk, offset)
        os.fsync(file.fileno())


def read_at(file: int, length: int, offset: int) -> bytes:
    """Part of a file. Raises UnreadableError where the disk does not give it back."""
    try:
        return os.pread(file, length, offset)
    except OSError as error:
        raise UnreadableError(f"the disk does not give it back: {error.strerror}") from error


def sync(path: Path) -> None:
    """Fsync a file, or the names in a folder."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
