"""Programs that use a spool and come to harm: killed, out of room, or on a disk that fails.

`python -m tests.support.spool_program NAME FOLDER …`. A line on standard output is a fact its reader may build on.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import platform
import resource
import signal
import sqlite3
import struct
import sys
from collections.abc import Callable, Coroutine
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

from receiver.errors import SpoolBrokenError, SpoolFullError
from receiver.model.envelope import Envelope
from receiver.spool import Spool
from receiver.spool.folder import NAME
from tests.support.spools import content, envelopes, receipts, spooling

FIRST_FAILING_FILE = 64
_WRITERS = 12
_SYSCALLS = {
    "x86_64": {"audit": 0xC000003E, "seccomp": 317, "fsync": 74, "fdatasync": 75, "pwrite64": 18, "pread64": 17},
    "aarch64": {"audit": 0xC00000B7, "seccomp": 277, "fsync": 82, "fdatasync": 83, "pwrite64": 68, "pread64": 67},
}


def tell(*words: str) -> None:
    """One line, at once and whole."""
    os.write(1, (" ".join(words) + "\n").encode())


async def work(folder: str) -> None:
    """Put callbacks from many writers at once and take some out again, until killed."""
    async with spooling(Path(folder), spool_bytes_max=4_000_000) as spool:
        tell("open", str(spool.recovered))
        async with asyncio.TaskGroup() as group:
            for number in range(_WRITERS):
                group.create_task(_put_on(spool, 300 + 900 * number))
            group.create_task(_take_on(spool))


async def _put_on(spool: Spool, body_bytes: int) -> None:
    for number in count():
        some = envelopes(1 + number % 3, body_bytes=body_bytes)
        try:
            await spool.put(some)
        except SpoolFullError:
            await asyncio.sleep(0)
        else:
            tell("put", *receipts(some))


async def _take_on(spool: Spool) -> None:
    while True:
        found = (await spool.first(40))[: -1 if spool.depth < 60 else None]
        tell("taking", *receipts([envelope for _, envelope in found]))
        await spool.delete(position for position, _ in found)
        tell("taken")


async def hold(folder: str) -> None:
    """Have the folder until the standard input ends."""
    async with spooling(Path(folder)) as spool:
        await spool.put(envelopes(3))
        tell("open")
        await asyncio.to_thread(sys.stdin.read)


async def lock(folder: str) -> None:
    """Have the file for ourselves until the standard input ends, as a backup program may."""
    with closing(sqlite3.connect(Path(folder) / NAME, isolation_level=None)) as file:
        file.execute("PRAGMA locking_mode = EXCLUSIVE")
        file.execute("BEGIN EXCLUSIVE")
        tell("locked")
        await asyncio.to_thread(sys.stdin.read)


async def limited(folder: str, bytes_max: str) -> None:
    """No file may grow beyond a size; then it may."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(bytes_max), resource.RLIM_INFINITY))
    async with spooling(Path(folder), spool_bytes_max=3_000_000) as spool:
        kept, why = await _until_broken(spool)
        tell("broken", why)
        assert await content(spool) == kept
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await spool.put(after := envelopes(2))
        assert await content(spool) == kept + after
        tell("kept", *receipts(kept + after))


async def _until_broken(spool: Spool) -> tuple[list[Envelope], str]:
    kept: list[Envelope] = []
    while True:
        some = envelopes(5)
        try:
            await spool.put(some)
        except SpoolBrokenError as error:
            return kept, str(error)
        kept += some


async def failing(folder: str, *calls: str) -> None:
    """System calls fail for the files that are open, and for all, until there is room for small file numbers."""
    high = [os.open(os.devnull, os.O_RDONLY) for _ in range(FIRST_FAILING_FILE)]
    async with spooling(Path(folder)) as spool:
        await spool.put(before := envelopes(200, body_bytes=20_000))  # more than SQLite remembers
        fail(*calls)
        for meanwhile in (envelopes(3), envelopes(200)):
            try:
                # What is put is refused, or, where only reading fails, kept although it cannot be read back now.
                await spool.put(meanwhile)
                before += meanwhile
                await spool.first(1)
            except SpoolBrokenError as error:
                tell("broken", str(error))
        for file in high:
            os.close(file)
        await _until_mended(spool)
        await spool.put(after := envelopes(2))
        assert receipts(await content(spool)) == receipts(before + after)
        assert not spool.lost
        assert spool.trouble is None
        tell("kept", *receipts(before + after))


async def refused(folder: str) -> None:
    """Killed when a callback was just refused because its fsync failed."""
    high = [os.open(os.devnull, os.O_RDONLY) for _ in range(FIRST_FAILING_FILE)]
    async with spooling(Path(folder)) as spool:
        await spool.put(before := envelopes(5))
        fail("fsync", "fdatasync")
        try:
            await spool.put(envelopes(3))
        except SpoolBrokenError:
            tell("kept", *receipts(before))
            os.kill(os.getpid(), signal.SIGKILL)
    assert not high


async def _until_mended(spool: Spool) -> None:
    while True:
        try:
            return await spool.ping()
        except SpoolBrokenError:
            await asyncio.sleep(0)


def fail(*calls: str) -> None:
    """From now on the kernel answers EIO to these calls on files with a high number, in all threads (seccomp)."""
    known = _SYSCALLS[platform.machine()]
    jumps = [_instruction(0x20, 0)]
    for left, call in zip(range(len(calls), 0, -1), calls, strict=True):
        jumps.append(_instruction(0x15, known[call], on_true=left - 1, on_false=3 if left == 1 else 0))
    filters = b"".join(
        (
            *jumps,
            _instruction(0x20, 16),
            _instruction(0x35, FIRST_FAILING_FILE, on_true=0, on_false=1),
            _instruction(0x06, 0x00050000 | errno.EIO),
            _instruction(0x06, 0x7FFF0000),
        )
    )
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(filters, len(filters))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(filters) // 8, ctypes.addressof(buffer)))
    libc.prctl(38, 1, 0, 0, 0)
    if libc.syscall(known["seccomp"], 1, 1, program):
        raise OSError(ctypes.get_errno(), "seccomp")


def _instruction(code: int, operand: int, *, on_true: int = 0, on_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, on_true, on_false, operand)


PROGRAMS: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
    "work": work,
    "hold": hold,
    "lock": lock,
    "limited": limited,
    "failing": failing,
    "refused": refused,
}

if __name__ == "__main__":
    asyncio.run(PROGRAMS[sys.argv[1]](*sys.argv[2:]))
