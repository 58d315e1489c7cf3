"""Rows of a damaged spool, read page by page past SQLite, which reads nothing behind a broken page.

Every image of a table's leaf page is read, in the database file and in its write-ahead log, whether anything still
points at it or not; a row counts when its checksum is right. So a broken header, root or log loses nothing but the
rows on the broken pages themselves, and rows may come back that were deleted a moment before. Must not know what is
done with them (`salvage`). The formats: https://sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from receiver.spool.records import Row

PAGE_BYTES = 4096
"""Of every spool file; given explicitly when one is made."""

_LOCAL_MAX = PAGE_BYTES - 35
_LOCAL_MIN = (PAGE_BYTES - 12) * 32 // 255 - 23
_PAYLOAD_BYTES_MAX = 2**31 - 1
_TABLE_LEAF = 0x0D
_LOG_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24
_FRAME_BYTES = _FRAME_HEADER_BYTES + PAGE_BYTES
_LOG_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}
_COLUMNS = 4

ReadPage = Callable[[int], bytes]
"""A page by its number; empty when there is none or it cannot be read."""


class Frame(NamedTuple):
    """One page in the write-ahead log."""

    offset: int
    header: bytes

    @property
    def page(self) -> int:
        """Its number in the database."""
        return int.from_bytes(self.header[:4], "big")

    @property
    def commits(self) -> bool:
        """Whether it is the last of a transaction."""
        return self.header[4:8] != bytes(4)

    @property
    def salts(self) -> bytes:
        """The same in all frames since the log was last begun anew."""
        return self.header[8:16]


def is_torn(log: Path) -> bool:
    """Whether committed frames lie behind a frame that does not match its checksum.

    SQLite takes such a log to end there, without an error. A writer that was killed leaves no such log; a machine that
    lost power may, when it wrote the last, unfinished transaction in another order: then nothing is lost either way.
    """
    with _opened(log) as file:
        header, frames = file.read(_LOG_HEADER_BYTES) or b"", _frames(file.fileno())
        if not frames:
            return False
        order = _LOG_MAGIC.get(int.from_bytes(header[:4], "big"))
        if order is None or header[24:] != (so_far := _sum(order, header[:24], bytes(8))):
            return True
        for number, frame in enumerate(frames):
            so_far = _sum(order, frame.header[:8] + _read(file.fileno(), frame.offset, PAGE_BYTES), so_far)
            if frame.salts != header[16:24] or frame.header[16:] != so_far:
                return any(later.commits and later.salts == header[16:24] for later in frames[number + 1 :])
    return False


class PageReader:
    """All pages of a spool that nobody has open."""

    def __init__(self, database: Path, log: Path) -> None:
        self.read = 0
        """How many were asked for."""
        self.refused = 0
        """How many of these the disk did not give back."""
        self._paths = (database, log)

    def rows(self) -> Iterator[tuple[int, Row]]:
        """Every row that can be decoded, with its position, in no order; the same one may come often.

        The caller has to check the checksum.
        """
        database_path, log_path = self._paths
        with _opened(database_path) as database, _opened(log_path) as log:
            yield from self._rows(database.fileno(), log.fileno())

    def _rows(self, database: int, log: int) -> Iterator[tuple[int, Row]]:
        def in_database(number: int) -> bytes:
            return self._page(database, (number - 1) * PAGE_BYTES)

        def in_log_first(frames: list[Frame]) -> ReadPage:
            at = {frame.page: frame.offset for frame in frames}
            return lambda number: self._page(log, at[number]) if number in at else in_database(number)

        frames, salts = _frames(log), _read(log, 16, 8)
        # Behind the frames of now may lie some from before the log was begun anew; they are in the database, if it is.
        now = [frame for frame in frames if frame.salts == salts]
        views = (in_log_first(now), in_database, in_log_first(frames)) if frames else (in_database,)
        for frame in frames:
            yield from _rows(self._page(log, frame.offset), views)
        for number in range(2, os.fstat(database).st_size // PAGE_BYTES + 1):  # the first holds the schema
            yield from _rows(in_database(number), views)

    def _page(self, file: int, offset: int) -> bytes:
        page = _read(file, offset, PAGE_BYTES)
        self.read += 1
        self.refused += not page
        return page


def _opened(path: Path) -> FileIO:
    """A file that is gone has no pages."""
    return FileIO(path if path.exists() else os.devnull)


def _frames(log: int) -> list[Frame]:
    count = (os.fstat(log).st_size - _LOG_HEADER_BYTES) // _FRAME_BYTES
    offsets = (_LOG_HEADER_BYTES + number * _FRAME_BYTES for number in range(count))
    frames = (Frame(at + _FRAME_HEADER_BYTES, _read(log, at, _FRAME_HEADER_BYTES)) for at in offsets)
    return [frame for frame in frames if frame.page]


def _sum(order: str, content: bytes, so_far: bytes) -> bytes:
    """SQLite's running checksum of a log."""
    first, second = struct.unpack(">II", so_far)
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return struct.pack(">II", first, second)


def _rows(page: bytes, views: tuple[ReadPage, ...]) -> Iterator[tuple[int, Row]]:
    """The rows of a leaf page; where a row is continued on other pages, as each of the views has them."""
    if len(page) < PAGE_BYTES or page[0] != _TABLE_LEAF:
        return
    count = min(int.from_bytes(page[3:5], "big"), PAGE_BYTES // 4)
    for pointer in range(8, 8 + 2 * count, 2):
        for view in views:
            with suppress(ValueError, IndexError):  # what is not consistent is no row
                yield _row(page, int.from_bytes(page[pointer : pointer + 2], "big"), view)


def _row(page: bytes, at: int, view: ReadPage) -> tuple[int, Row]:
    length, at = _varint(page, at)
    position, at = _varint(page, at)
    if length > _PAYLOAD_BYTES_MAX:
        raise ValueError("longer than any row")
    local = _local_bytes(length)
    payload = page[at : at + local]
    if local < length:
        payload += _overflow(view, int.from_bytes(page[at + local : at + local + 4], "big"), length - local)
    if len(payload) != length:
        raise ValueError("its end is missing")
    return position, _record(payload)


def _local_bytes(length: int) -> int:
    """How much of a payload lies on the leaf page itself."""
    if length <= _LOCAL_MAX:
        return length
    rest = _LOCAL_MIN + (length - _LOCAL_MIN) % (PAGE_BYTES - 4)
    return rest if rest <= _LOCAL_MAX else _LOCAL_MIN


def _overflow(view: ReadPage, number: int, length: int) -> bytes:
    parts = []
    while length > 0 and number and (page := view(number)):
        parts.append(page[4 : 4 + length])
        length -= len(parts[-1])
        number = int.from_bytes(page[:4], "big")
    return b"".join(parts)


def _record(payload: bytes) -> Row:
    """The columns of `callbacks`; the first is the position, which a record leaves empty."""
    header_bytes, at = _varint(payload, 0)
    kinds: list[int] = []
    while at < header_bytes and len(kinds) <= _COLUMNS:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    if len(kinds) != _COLUMNS or kinds[0] or kinds[2] < 13 or not kinds[2] % 2 or kinds[3] < 12 or kinds[3] % 2:
        raise ValueError("no row of this table")
    number_bytes = _INTEGER_BYTES.get(kinds[1], -1)
    head_at = at + number_bytes
    body_at = head_at + (kinds[2] - 13) // 2
    if number_bytes < 0 or body_at + (kinds[3] - 12) // 2 != len(payload):
        raise ValueError("no row of this table")
    number = int.from_bytes(payload[at:head_at], "big") if number_bytes else kinds[1] - 8
    return Row(number, payload[head_at:body_at], payload[body_at:])


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for offset in range(at, at + 8):
        byte = content[offset]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, offset + 1
    return value << 8 | content[at + 8], at + 9


def _read(file: int, offset: int, length: int) -> bytes:
    """Empty where the disk does not give it back."""
    try:
        content = os.pread(file, length, offset)
    except OSError:
        return b""
    return content if len(content) == length else b""
