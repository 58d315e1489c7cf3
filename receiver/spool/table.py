"""The spool's table and its statements, on a connection that is handed in.

Must not know what to do when one fails (`spool_file`), only what kind of failure it is.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import orjson

from receiver.errors import SetupError
from receiver.model.envelope import Envelope
from receiver.postgres.statements import statements
from receiver.spool.page_reader import PAGE_BYTES
from receiver.spool.records import FORMAT, Row, UnreadableError, to_envelope

ROWS_AT_ONCE = 256
"""Rows in one INSERT. Each statement releases the interpreter's lock, and may wait long to get it again."""

COMMIT_BYTES = 4 * PAGE_BYTES
"""About what a commit writes to the log besides the pages that it fills or empties."""

_SETTINGS = (
    f"page_size = {PAGE_BYTES}",
    "synchronous = FULL",
    "wal_autocheckpoint = 0",  # we begin them ourselves, to see how they end
    "fullfsync = ON",  # macOS: else an fsync ends in the drive's own memory
    "secure_delete = ON",  # what is forgotten is gone, and no salvage brings it back
    "cell_size_check = ON",
    "trusted_schema = OFF",
    "temp_store = MEMORY",
)
_DRAFT_SETTINGS = (f"page_size = {PAGE_BYTES}", "journal_mode = OFF", "synchronous = OFF")
"""A draft that is not complete is thrown away, so nothing of it need be safe."""

_DAMAGED = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
}
_TEMPORARY = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_UNSYNCED = {sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC}
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_PRIMARY = 0xFF
"""What SQLite's extended codes have in common with the plain one."""

SQL = statements("spool/spool.sql")
WRITE_FORMAT = f"PRAGMA user_version = {FORMAT}"
"""Also a write that changes nothing."""


class FileSize(NamedTuple):
    """Bytes of the file: of the pages in use, and of all."""

    bytes_used: int = 0
    bytes_all: int = 0


class OldestRow(NamedTuple):
    """The oldest callback of the file."""

    position: int
    head: bytes


def connect(path: Path, locked_timeout_s: float) -> sqlite3.Connection:
    """A connection for one thread, each statement a transaction of its own."""
    connection = sqlite3.connect(path, timeout=locked_timeout_s, isolation_level=None, cached_statements=ROWS_AT_ONCE)
    # A damaged head is to be found by its checksum rather than by the driver.
    connection.text_factory = bytes
    return connection


def close_without_checkpoint(connection: sqlite3.Connection, path: Path) -> None:
    """Close it without the last checkpoint, which a connection that cannot write does not begin."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=0, uri=True)) as last:
        with suppress(sqlite3.Error):  # it may be damaged; what counts is that it is open
            last.execute("PRAGMA schema_version").fetchone()
        connection.close()


def set_up(connection: sqlite3.Connection, log_bytes_max: int) -> None:
    """Make the connection durable and the table exist; a longer log is cut when it is begun anew.

    Raises SetupError where that is impossible.
    """
    for setting in (*_SETTINGS, f"journal_size_limit = {log_bytes_max}"):
        connection.execute(f"PRAGMA {setting}")
    if connection.execute("PRAGMA journal_mode = WAL").fetchone() != (b"wal",):
        raise SetupError("spool_dir: SQLite cannot keep a write-ahead log on this file system")
    if connection.execute("PRAGMA user_version").fetchone() == (0,):
        create(connection)


def set_up_draft(connection: sqlite3.Connection) -> None:
    """Make the connection quick and the table exist."""
    for setting in _DRAFT_SETTINGS:
        connection.execute(f"PRAGMA {setting}")
    create(connection)


def create(connection: sqlite3.Connection) -> None:
    """The table, its view, and the number of its format."""
    with transaction(connection):
        connection.execute(SQL["create_callbacks"])
        connection.execute(SQL["create_readable"])
        connection.execute(WRITE_FORMAT)


def check(connection: sqlite3.Connection) -> None:
    """Read every page, though not every row. Raises UnreadableError."""
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != b"ok":
        raise UnreadableError(found.decode(errors="replace"))


def count_rows(connection: sqlite3.Connection) -> tuple[int, int]:
    """How many rows there are, and the greatest position, or 0."""
    count, newest = connection.execute(SQL["count_rows"]).fetchone()
    return count, newest or 0


def measure(connection: sqlite3.Connection) -> tuple[FileSize, OldestRow | None]:
    """How large the file is, and what is the oldest in it."""
    used, pages, oldest, head = connection.execute(SQL["measure"]).fetchone()
    return FileSize(used * PAGE_BYTES, pages * PAGE_BYTES), None if oldest is None else OldestRow(oldest, head)


def gaps(connection: sqlite3.Connection) -> int:
    """How many positions are missing between others."""
    return int(connection.execute(SQL["gaps"]).fetchone()[0])


def first(connection: sqlite3.Connection, count: int, bytes_max: int, after: int) -> list[tuple[int, Envelope]]:
    """The oldest behind a position, until they are `count` or have `bytes_max`. Raises UnreadableError."""
    found = []
    length = 0
    with closing(connection.execute(SQL["first"], (after, count))) as rows:
        for position, *columns in rows:
            row = Row(*columns)
            found.append((position, to_envelope(row)))
            length += len(row.head) + len(row.body)
            if length >= bytes_max:
                break
    return found


def insert(connection: sqlite3.Connection, rows: Sequence[tuple[int, Row]], verb: str = "INSERT") -> None:
    """Write rows at their positions; many of them in one statement."""
    for start in range(0, len(rows), ROWS_AT_ONCE):
        chunk = rows[start : start + ROWS_AT_ONCE]
        values = [value for position, row in chunk for value in (position, row.checksum, row.head.decode(), row.body)]
        connection.execute(_insert_statement(verb, len(chunk)), values)


@cache
def _insert_statement(verb: str, rows: int) -> str:
    places = ", ".join(["(?, ?, ?, ?)"] * rows)
    return f"{verb} INTO callbacks (position, checksum, head, body) VALUES {places}"


def every_row(connection: sqlite3.Connection) -> Iterator[tuple[int, Row]]:
    """All, with their positions. Raises UnreadableError."""
    with closing(connection.execute(SQL["every_row"])) as rows:
        for position, *columns in rows:
            row = Row(*columns)
            to_envelope(row)
            yield position, row


def delete(connection: sqlite3.Connection, positions: Sequence[int]) -> int:
    """Delete rows; how many there were."""
    return connection.execute(SQL["delete"], (orjson.dumps(positions).decode(),)).rowcount


def delete_after(connection: sqlite3.Connection, position: int) -> None:
    """Delete every later row."""
    connection.execute(SQL["delete_after"], (position,))


def checkpoint_all(connection: sqlite3.Connection) -> None:
    """Copy the log into the database and empty it."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def checkpoint(connection: sqlite3.Connection) -> None:
    """Copy the log into the database, so that the next commit begins the log anew."""
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


def shrink(connection: sqlite3.Connection) -> None:
    """Give the space of an emptied file back."""
    connection.execute("VACUUM")
    checkpoint_all(connection)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All or nothing, durable at the end."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.rollback()
        raise


def is_temporary(error: Exception) -> bool:
    """A full disk or a locked file: nothing was committed, and the connection can be used on."""
    return _code(error) & _PRIMARY in _TEMPORARY or (isinstance(error, OSError) and error.errno in _NO_SPACE)


def is_unsynced(error: Exception) -> bool:
    """An fsync failed: the disk may not have what was written."""
    return _code(error) in _UNSYNCED or (isinstance(error, OSError) and error.errno == errno.EIO)


def is_damage(error: Exception) -> bool:
    """The file is damaged."""
    return isinstance(error, UnreadableError) or not _DAMAGED.isdisjoint((_code(error), _code(error) & _PRIMARY))


def _code(error: Exception) -> int:
    return int(getattr(error, "sqlite_errorcode", 0))
