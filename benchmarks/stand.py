"""What a run stands on: programs as child processes, databases, and what can be read off them from outside.

This file must not know what is measured.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import asyncpg
import nats
import orjson
import psutil

from receiver.embedded.child_process import free_port, listens
from receiver.errors import SetupError

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.02


class Program:
    """A Python program of its own that serves on a port; used as a context."""

    def __init__(self, name: str, arguments: list[str], log: Path, environment: dict[str, str] | None = None) -> None:
        """`{port}` in an argument or a variable is where it is to serve."""
        self.port = free_port()
        self._name = name
        self._arguments = [argument.format(port=self.port) for argument in arguments]
        self._environment = {name: value.format(port=self.port) for name, value in (environment or {}).items()}
        self._log = log
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *self._arguments, stdout=log, stderr=log, env=os.environ | self._environment
            )
        async with asyncio.timeout(START_TIMEOUT_S):
            while not listens(self.port):
                if self._process.returncode is not None:
                    raise SetupError(f"{self._name} did not start: {self._log.read_text()[-2000:]}")
                await asyncio.sleep(POLL_S)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def cpu_s(self) -> float:
        """What it has taken of the processors, with its children."""
        return processor_s(self.pid)

    @property
    def resident_bytes(self) -> int:
        """The memory it has resident now."""
        return int(psutil.Process(self.pid).memory_info().rss)

    @property
    def peak_bytes(self) -> int:
        """The most memory it ever had resident, with its children; where the kernel keeps no such mark, what it is now.

        What they share (the program's own pages) counts for each.
        """
        first = psutil.Process(self.pid)
        return sum(_peak_bytes(one) for one in (first, *first.children(recursive=True)))


def _peak_bytes(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        return int(process.memory_info().rss)
    return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))


async def ask(module: str, question: object) -> dict[str, Any]:
    """Run a module of ours in a process of its own with `question`; its answer."""
    command = (sys.executable, "-m", module, orjson.dumps(question).decode())
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        answer, _ = await process.communicate()
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        raise
    if process.returncode:
        raise SetupError(f"{module} failed")
    found: dict[str, Any] = orjson.loads(answer)
    return found


async def new_database(server_dsn: str, name: str) -> str:
    """An empty database on the server; its DSN."""
    connection = await asyncpg.connect(server_dsn)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return urlsplit(server_dsn)._replace(path=f"/{name}").geturl()


async def one_value(dsn: str, sql: str) -> Any:
    """The one value that a statement gives."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def until_empty(dsn: str, *, timeout_s: float) -> int:
    """Wait until the relay has published everything; how much was left at first."""
    connection = await asyncpg.connect(dsn)
    try:
        left = first = await connection.fetchval("SELECT count(*) FROM outbox")
        async with asyncio.timeout(timeout_s):
            while left:
                await asyncio.sleep(POLL_S)
                left = await connection.fetchval("SELECT count(*) FROM outbox")
        return int(first)
    finally:
        await connection.close()


def processor_s(pid: int) -> float:
    """What a process has taken of the processors, with its children, those that have ended too."""
    process = psutil.Process(pid)
    taken_s = sum(process.cpu_times()[:4])
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            taken_s += sum(child.cpu_times()[:4])
    return float(taken_s)


class Feed:
    """How far the feed's stream has come; used as a context."""

    def __init__(self, nats_url: str, stream: str) -> None:
        self._nats_url = nats_url
        self._stream = stream

    async def __aenter__(self) -> Self:
        self._client = await nats.connect(self._nats_url)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def length(self) -> int:
        """The sequence of its last message."""
        info = await self._client.jetstream().stream_info(self._stream)
        return int(info.state.last_seq)
