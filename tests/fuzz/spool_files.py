"""The spool's files after a disk or a hand has changed them: what is read is what was written, or it is told.

Real files, made once by a real spool; each input changes bytes of the database and of its log, or cuts them.
"""

from __future__ import annotations

import atexit
import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from functools import lru_cache
from pathlib import Path

from receiver.errors import SetupError, SpoolBrokenError
from receiver.spool.page_reader import PageReader, is_torn
from receiver.spool.records import Row, UnreadableError, from_head, to_envelope, to_row
from receiver.spool.salvage import BECAUSE
from receiver.spool.spool_file import SpoolFile
from tests.support.spools import envelopes

IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
NAMES = ("spool.db", "spool.db-wal")
FIRST, MORE = 12, 6
CHANGE_BYTES = 4
"""Of an input: two for the place, one for the file and how, one that is written."""


def spool_heads(data: bytes) -> None:
    """A callback's row whose checksum is right, whatever stands in it: read, or told to be unreadable."""
    head, _, body = data.partition(b"\xff")
    with suppress(UnreadableError):
        envelope = from_head(head, body)
        to_row(envelope)


def spool_pages(data: bytes) -> None:
    """What is read past SQLite: no row with a right checksum that was never written, and no other error."""
    rows, files = _original()
    _change(files, data)
    database, log = (_folder() / name for name in NAMES)
    is_torn(log)
    for _, row in PageReader(database, log).rows():
        with suppress(UnreadableError):
            to_envelope(row)
            assert row in rows, "a row that was never written"


def spool(data: bytes) -> None:
    """The whole spool opens such files, and takes and gives callbacks; what it gives was put, or says that it was
    damaged."""
    rows, files = _original()
    _change(files, data)
    file = SpoolFile(_folder(), bytes_max=2**30, retry_s=0, locked_timeout_s=0)
    try:
        with suppress(SetupError, SpoolBrokenError):
            file.open()
            _use(file, rows)
    finally:
        file.close()
        for path in _folder().iterdir():
            path.unlink()


def _use(file: SpoolFile, rows: frozenset[Row]) -> None:
    (new,) = (to_row(one) for one in envelopes(1))
    positions = file.put([new])
    found = file.first(1000, 2**30)
    for _, envelope in found:
        known = to_row(envelope) in rows or to_row(envelope) == new
        assert known or envelope.undecodable_because == BECAUSE, "a callback that was never put"
    assert positions[0] in [position for position, _ in found], "what was put after the damage is not there"
    file.delete([position for position, _ in found])
    assert file.statistics.count == 0, "counts do not add up"


def _change(files: tuple[bytes, ...], data: bytes) -> None:
    changed = [bytearray(content) for content in files]
    for at in range(0, len(data) - CHANGE_BYTES + 1, CHANGE_BYTES):
        place, how, byte = int.from_bytes(data[at : at + 2], "big"), data[at + 2], data[at + 3]
        content = changed[how & 1]
        place = place * (1 + (how >> 4)) % max(len(content), 1)
        if how & 0x0E == 0x0E:
            del content[place:]
        elif content:
            content[place] = byte
    for name, content in zip(NAMES, changed, strict=True):
        (_folder() / name).write_bytes(content)


@lru_cache(1)
def _folder() -> Path:
    """In memory, where there is such a place: each input is fsynced many times."""
    folder = Path(tempfile.mkdtemp(prefix="esc-receiver-fuzz-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@lru_cache(1)
def _original() -> tuple[frozenset[Row], tuple[bytes, ...]]:
    """The rows of a spool, and its files as a killed process would leave them: some rows are in the log alone."""
    rows = [to_row(envelope) for envelope in envelopes(FIRST + MORE, body_bytes=700)]
    rows.append(to_row(envelopes(1, body_bytes=9000)[0]))
    folder = _folder() / "original"
    file = SpoolFile(folder, bytes_max=2**30, retry_s=0, locked_timeout_s=0)
    file.open()
    file.put(rows[:FIRST])
    with closing(sqlite3.connect(folder / NAMES[0])) as other:
        other.execute("PRAGMA wal_checkpoint(FULL)")
        file.put(rows[FIRST:])
        files = tuple((folder / name).read_bytes() for name in NAMES)
    file.close()
    shutil.rmtree(folder)
    return frozenset(rows), files
