"""One worker as the supervisor sees it: a process, the line to it, and what it said last.

Must not know other workers.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Any, NamedTuple, Self

import orjson
import structlog

from receiver.workers.line import Answer, Line, LineError
from receiver.workers.tally import Report, read_report

log = structlog.get_logger()


class State(StrEnum):
    """Of a worker."""

    STARTING = "starting"
    SERVING = "serving"
    LEAVING = "leaving"
    """It is replaced, and answers for the last time."""


class Command(NamedTuple):
    """How a worker is started: what it needs beyond that is written to its standard input."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    settings: Mapping[str, str]
    """What the supervisor knows better than file and environment."""


class WorkerProcess:
    """From its start to its end; made by `spawn`."""

    def __init__(self, number: int, process: asyncio.subprocess.Process, end: socket.socket) -> None:
        self.number = number
        self.state = State.STARTING
        self.last: Report | None = None
        """What it said last; None before it said anything."""
        self.told_end = False
        """Whether that was said at its end."""
        self.url = ""
        self.admin_url = ""
        """Where API, board and metrics are."""
        self._process = process
        self._end = end
        self._serving = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None
        self._line: Line

    @classmethod
    async def spawn(cls, number: int, command: Command, listeners: Sequence[socket.socket], **given: Any) -> Self:
        """Start one; `given` is what else it is told of its place. It serves when `until_serving` says so."""
        ours, theirs = socket.socketpair()
        files = [one.fileno() for one in listeners]
        told = {"number": number, "listen": files, "line": theirs.fileno(), "settings": dict(command.settings), **given}
        passed = (*files, theirs.fileno(), *(given[name] for name in ("log_lock",) if name in given))
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *command.arguments,
                stdin=asyncio.subprocess.PIPE,
                env=dict(command.environment),
                pass_fds=passed,
                start_new_session=True,  # the terminal's Ctrl-C is the supervisor's to hear
            )
        assert process.stdin is not None
        with suppress(ConnectionError):
            process.stdin.write(orjson.dumps(told))
            process.stdin.close()
        return cls(number, process, ours)

    async def connect(self, answers: Mapping[str, Answer]) -> None:
        """Hear it; `answers` are the supervisor's, besides what it says of itself."""
        self._line = Line(self._end, {**answers, "serving": self._tell_serving, "ended": self._tell_ended})
        await self._line.open()
        self._listening = asyncio.create_task(self._line.run(), name=f"line of worker {self.number}")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def until_serving(self, timeout_s: float) -> bool:
        """Whether it takes connections within this time."""
        serving = asyncio.create_task(self._serving.wait())
        ended = asyncio.create_task(self._process.wait())
        await asyncio.wait([serving, ended], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        serving.cancel()
        ended.cancel()
        return self._serving.is_set()

    @property
    def was_killed(self) -> bool:
        """By a signal, rather than ended by itself."""
        return (self._process.returncode or 0) < 0

    async def ended(self) -> int:
        """Wait for its end, and for the last it said; its exit status."""
        status = await self._process.wait()
        if self._listening:
            await asyncio.wait([self._listening])
        return status

    async def report(self, timeout_s: float) -> None:
        """Ask for its figures. Raises LineError or TimeoutError."""
        report = read_report(await self._line.ask("report", timeout_s=timeout_s))
        if not self.told_end:
            self.last = report

    async def ask(self, name: str, given: Any = None, *, timeout_s: float) -> Any:
        """Ask it something. Raises LineError or TimeoutError."""
        return await self._line.ask(name, given, timeout_s=timeout_s)

    async def leave(self, timeout_s: float) -> None:
        """Have it answer for the last time, and end; kill it when it has not ended in time."""
        self.state = State.LEAVING
        with suppress(LineError, TimeoutError):
            await self._line.ask("leave", timeout_s=timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                await self.ended()
        except TimeoutError:
            log.error("a worker did not end; it is killed", worker=self.number)  # noqa: TRY400 - one line says it
            self.signal(signal.SIGKILL)
            await self.ended()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; harmless when it has ended."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def _tell_serving(self, urls: Sequence[str]) -> None:
        self.url, self.admin_url = urls
        self.state = State.SERVING
        self._serving.set()

    async def _tell_ended(self, report: Any) -> None:
        self.last, self.told_end = read_report(report), True
