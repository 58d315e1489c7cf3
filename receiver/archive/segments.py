"""The files of an archive: numbered segments in a folder, each written beside its place and then put there whole.

Must not know what is in a line.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from receiver.errors import ArchiveError, describe

SUFFIX = ".jsonl"
HEADS = "heads.sqlite"
"""Beside the segments: where the chains stand, made again from the segments when it is missing or stale."""
_HALF_MADE = ".part"
LINE_BYTES_MAX = 16 * 1024 * 1024


def segment_path(folder: Path, number: int) -> Path:
    """Where a segment lies."""
    return folder / f"{number:08d}{SUFFIX}"


def segments(folder: Path) -> list[int]:
    """The numbers of the segments that are there. Raises ArchiveError for a folder that cannot be read."""
    try:
        return sorted(int(path.stem) for path in folder.glob(f"*{SUFFIX}") if path.stem.isdecimal())
    except OSError as error:
        raise ArchiveError(f"{folder} cannot be read: {describe(error)}") from error


def lines(path: Path) -> Iterator[bytes]:
    """Those of one segment, with their ends. Raises ArchiveError."""
    try:
        with path.open("rb") as file:
            while line := file.readline(LINE_BYTES_MAX):
                yield line
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read: {describe(error)}") from error


class SegmentWriter:
    """One new segment; used as a context, at whose end it is gone unless it was put in its place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._half_made = path.with_suffix(_HALF_MADE)
        self._digest = hashlib.sha256()

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = self._half_made.open("wb")
        except OSError as error:
            raise ArchiveError(f"{self._path.parent} cannot be written to: {describe(error)}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._half_made.unlink(missing_ok=True)

    @property
    def digest(self) -> str:
        """Of what was written so far."""
        return self._digest.hexdigest()

    def write(self, line: bytes) -> None:
        """One line. Raises ArchiveError, as when the disk is full."""
        try:
            self._file.write(line)
        except OSError as error:
            raise ArchiveError(f"{self._half_made} cannot be written: {describe(error)}") from error
        self._digest.update(line)

    def put_in_place(self) -> None:
        """It is whole and on the disk. Raises ArchiveError."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._half_made.rename(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        except OSError as error:
            raise ArchiveError(f"{self._path} cannot be written: {describe(error)}") from error
