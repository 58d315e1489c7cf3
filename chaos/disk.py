"""A small disk of our own that can be filled: a tmpfs, where we may mount one.

Without the right to mount it is an ordinary folder that cannot be filled, and the faults that need it are left out.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_CHUNK = bytes(1_048_576)


class Disk:
    """A folder; `fillable` tells whether it is a disk of its own."""

    def __init__(self, folder: Path, size_mb: int) -> None:
        self.folder = folder
        self.fillable = False
        self._size_mb = size_mb
        self._ballast = folder / "ballast"

    @asynccontextmanager
    async def mounted(self) -> AsyncIterator[Disk]:
        """In place until the end."""
        self.folder.mkdir(parents=True)
        self.folder.chmod(0o711)
        if os.geteuid() == 0:
            options = f"size={self._size_mb}m,mode=711"
            self.fillable = await _done("mount", "-t", "tmpfs", "-o", options, "esc-chaos", str(self.folder))
        try:
            yield self
        finally:
            if self.fillable:
                await _done("umount", "--lazy", str(self.folder))

    def fill(self) -> None:
        """Leave no room."""
        assert self.fillable
        with self._ballast.open("wb", buffering=0) as file:
            for chunk in (_CHUNK, _CHUNK[:4096]):
                while _wrote(file.fileno(), chunk):
                    pass

    def free(self) -> None:
        """Give the room back; harmless when it was not taken."""
        self._ballast.unlink(missing_ok=True)


def _wrote(file: int, chunk: bytes) -> bool:
    try:
        return os.write(file, chunk) == len(chunk)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False


async def _done(*command: str) -> bool:
    try:
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    except FileNotFoundError:
        return False
    return await process.wait() == 0
