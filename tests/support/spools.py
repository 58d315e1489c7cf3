"""Callbacks to spool, spools to put them in, what a crash leaves of one, and programs that can be killed."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from receiver.config.settings import Settings
from receiver.model.envelope import Clock, Envelope, Head
from receiver.model.notification import Channel, Status
from receiver.spool import Spool
from receiver.spool.page_reader import PAGE_BYTES

_CLOCK = Clock()
_FRAME_BYTES = PAGE_BYTES + 24
_LOG_HEADER_BYTES = 32


def envelopes(count: int, *, body_bytes: int = 600) -> list[Envelope]:
    """Callbacks in the order of their arrival, no two alike."""
    return [_envelope(body_bytes) for _ in range(count)]


def _envelope(body_bytes: int) -> Envelope:
    received_at, receipt = _CLOCK.stamp()
    headers = [("Content-Type", "application/xml"), ("esc-transaction-id", str(receipt)), ("esc-status-code", "200")]
    body = (f"<vm><id>{receipt}</id>".encode() * (body_bytes // 40 + 1))[:body_bytes]
    return Envelope.of(
        Head(headers, str(receipt), Status.OK, 200, "OK", ()), receipt=receipt, received_at=received_at, source="lab1",
        channel=Channel.CALLBACK, remote="10.0.0.1", ref=None, body=body, redacted=False,
    )  # fmt: skip


def spool_at(folder: Path, **changed: Any) -> Spool:
    """A spool in this folder; `changed` are settings. It retries at once, so that no test waits."""
    settings: dict[str, Any] = {"spool_dir": folder, "spool_retry_s": 0} | changed
    return Spool(Settings(**settings))


@asynccontextmanager
async def spooling(folder: Path, **changed: Any) -> AsyncIterator[Spool]:
    """The same, open."""
    spool = spool_at(folder, **changed)
    try:
        await spool.open()
        yield spool
    finally:
        await spool.close()


async def content(spool: Spool) -> list[Envelope]:
    """All that is in it; nothing is taken out."""
    return [envelope for _, envelope in await spool.first(2**31)]


async def empty(spool: Spool) -> list[Envelope]:
    """All that was in it, taken out in portions."""
    taken = []
    while found := await spool.first(100):
        await spool.delete(position for position, _ in found)
        taken += [envelope for _, envelope in found]
    return taken


def crash(folder: Path, to: Path) -> Path:
    """What is on the disk of a spool that does nothing just now, as a power cut would leave it."""
    to.mkdir(mode=0o700)
    for file in folder.glob("spool.db*"):
        if not file.name.endswith("-shm"):
            shutil.copy(file, to)
    return to


def commits(folder: Path) -> int:
    """How many transactions the write-ahead log holds."""
    log = (folder / "spool.db-wal").read_bytes()
    frames = range(_LOG_HEADER_BYTES, len(log) - _FRAME_BYTES + 1, _FRAME_BYTES)
    return sum(log[at + 4 : at + 8] != bytes(4) and log[at + 8 : at + 16] == log[16:24] for at in frames)


def bytes_on_disk(folder: Path) -> int:
    """Of all files of a spool but the one in memory."""
    return sum(file.stat().st_size for file in folder.iterdir() if not file.name.endswith("-shm"))


def set_aside(folder: Path) -> list[Path]:
    """The damaged databases that were set aside, or their logs, by the name of the database."""
    return sorted({Path(str(path).removesuffix("-wal")) for path in folder.glob("spool.db.damaged-*")})


async def program(*arguments: str | Path) -> asyncio.subprocess.Process:
    """`tests.support.spool_program` with these arguments, its output to be read."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.spool_program",
        *map(str, arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip - as a command line is read


async def told(process: asyncio.subprocess.Process) -> list[str]:
    """What a program that ended by itself has said; it did end well."""
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode().splitlines()


def receipts(envelopes: Sequence[Envelope]) -> list[str]:
    """Whose they are."""
    return [str(envelope.receipt) for envelope in envelopes]
