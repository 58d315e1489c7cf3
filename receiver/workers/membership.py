"""What a worker has of the supervisor: its place, the sockets it listens on, and the line on which both ask.

Must not know how a worker counts, or how it is; whoever builds it says so (`Member`).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any, Protocol

import structlog
from prometheus_client import CollectorRegistry

from receiver.config.settings import Settings
from receiver.workers.line import Line, LineError
from receiver.workers.readiness import alone
from receiver.workers.tally import Family, Report, registry_of

log = structlog.get_logger()

SUPERVISOR_SHARE = 3
"""Of `readyz_timeout_s`: for what the supervisor says of all workers, whom it asks first."""


class Member(Protocol):
    """The process that is a worker."""

    def report(self) -> Report:
        """What it has counted, in one step."""

    async def readiness(self) -> dict[str, Any]:
        """How it is."""

    def end_session(self, cookie: str) -> None:
        """A session of the board was ended elsewhere."""


class Membership:
    """One worker's. `join`, then `run` until it is to leave or the supervisor has gone."""

    def __init__(
        self,
        number: int,
        workers: int,
        listeners: Sequence[socket.socket],
        end: socket.socket,
        settings: Settings,
        admin_listeners: Sequence[socket.socket] = (),
    ) -> None:
        """`admin_listeners` are those of API, board and metrics, where they are served apart."""
        self.number = number
        self.listeners = listeners
        self.admin_listeners = admin_listeners
        self.spool_folders = [
            settings.spool_folder_of(one) for one in (number, *range(workers + 1, 3 * workers + number + 1))
        ]
        """In the order in which they are tried: while it is replaced, its predecessor still has its own."""
        self._readyz_timeout_s = SUPERVISOR_SHARE * settings.readyz_timeout_s
        self._timeout_s = 3 * settings.ping_timeout_s  # the supervisor asks all workers first
        self._line = Line(
            end,
            {"report": self._report, "readiness": self._readiness, "leave": self._leave, "end_session": self._forget},
        )
        self._member: Member
        self._listening: asyncio.Task[None]
        """To the very end, when this worker tells its last figures."""
        self._leaving = asyncio.Event()

    @property
    def is_first(self) -> bool:
        """Whether it does what one of them does for all."""
        return self.number == 1

    async def join(self, member: Member) -> None:
        """Answer for this process from now on."""
        self._member = member
        await self._line.open()
        self._listening = asyncio.create_task(self._line.run(), name="line")

    async def run(self) -> None:
        """Until the worker is to leave, or has nobody any more to report to."""
        leaving = asyncio.create_task(self._leaving.wait(), name="leaving")
        try:
            await asyncio.wait([self._listening, leaving], return_when=asyncio.FIRST_COMPLETED)
            if not self._leaving.is_set():
                log.error("the supervisor has gone; this worker stops", worker=self.number)
        finally:
            leaving.cancel()

    async def tell_serving(self, url: str, admin_url: str) -> None:
        """It takes connections: for callbacks, and for all else."""
        await self._line.ask("serving", [url, admin_url], timeout_s=self._timeout_s)

    async def tell_ended(self, report: Report) -> None:
        """It has stopped, and will count nothing more."""
        await self._line.ask("ended", report, timeout_s=self._timeout_s)

    async def tell_session_ended(self, cookie: str) -> None:
        """The other workers are to know."""
        await self._line.ask("end_session", cookie, timeout_s=self._timeout_s)

    async def registry(self) -> CollectorRegistry:
        """The figures of all workers. Raises LineError or TimeoutError."""
        families = await self._line.ask("families", timeout_s=self._timeout_s)
        return registry_of(Family(*family) for family in families)

    async def readiness(self) -> dict[str, Any]:
        """How all workers are; how this one is, when the supervisor does not say it."""
        try:
            told: dict[str, Any] = await self._line.ask("readiness", timeout_s=self._readyz_timeout_s)
        except (LineError, TimeoutError):
            return alone(await self._member.readiness(), self.number)
        return told

    # What the supervisor asks.

    async def _report(self, _: Any) -> Report:
        return self._member.report()

    async def _readiness(self, _: Any) -> dict[str, Any]:
        return await self._member.readiness()

    async def _leave(self, _: Any) -> None:
        self._leaving.set()

    async def _forget(self, cookie: str) -> None:
        self._member.end_session(cookie)
