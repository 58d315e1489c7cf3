"""One receiver as a process of its own, which can be killed, frozen, stopped and started again.

Each of its lives is remembered with how it ended and, where it could still say so, with its counts.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Any

import aiohttp
import orjson
import psutil

from chaos.clock import Clock
from chaos.launcher import ReceiverProcess, fork_receiver, spawn_receiver
from tests.support.scrapes import figures
from tests.support.waiting import until

START_TIMEOUT_S = 30.0
END_TIMEOUT_S = 20.0
KEPT = ("stored", "spooled", "in_flight", "refused", "lost")


class ReceiverFailedError(Exception):
    """It did something that nobody asked of it."""


@dataclass(slots=True)
class Life:
    """From one start to the next end."""

    log_offset: int
    status: int | None = None
    """None: it still lives."""
    sums: dict[str, int] = field(default_factory=dict)
    """What it said at its end; empty when it was killed."""


def adds_up(sums: Mapping[str, int]) -> bool:
    """docs/promises.md#promise-8."""
    return sums["received"] + sums["recovered"] == sum(sums[name] for name in KEPT) + sums.get("unaccounted", 0)


class Receiver:
    """`python -m receiver serve` on one port and one folder, through all its lives."""

    def __init__(
        self, name: str, folder: Path, port: int, settings: Mapping[str, object], *, own_clock: bool = False
    ) -> None:
        self.name = name
        self.clock = Clock(folder / "clock")
        self._own_clock = own_clock and self.clock.settable
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.lives: list[Life] = []
        self.lock = asyncio.Lock()
        """For whoever changes whether it runs."""
        self._log = folder / "log"
        self.port = port
        given = {"host": "127.0.0.1", "port": port, "data_dir": folder, "log_format": "json"} | dict(settings)
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("PG", "ESC_RECEIVER_"))
        } | {f"ESC_RECEIVER_{name.upper()}": str(value) for name, value in given.items()}
        self._process: ReceiverProcess | None = None

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.exitcode is None

    async def start(self) -> None:
        """Begin a life; returns when it serves. Raises ReceiverFailedError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.lives and self.lives[-1].status is None:
            await self._ended()  # it was not us who ended it
        self.lives.append(Life(self._log.stat().st_size if self._log.exists() else 0))
        if self._own_clock:
            self._process = spawn_receiver(self._log, self._environment | self.clock.environment())
        else:
            self._process = fork_receiver(self._log, self._environment)
        await until(self._serves, START_TIMEOUT_S)

    async def kill(self) -> None:
        """As `kill -9` of all its processes; harmless when it has ended."""
        if self.running:
            self.signal_all(signal.SIGKILL)
            await self._ended()

    async def stop(self) -> Life:
        """As SIGTERM, and wait for its end. Raises ReceiverFailedError when it does not end well."""
        life = self.lives[-1]
        self.signal(signal.SIGTERM)
        try:
            await self._ended()
        except TimeoutError:
            self.signal(signal.SIGUSR1)
            await asyncio.sleep(1)
            await self.kill()
            raise ReceiverFailedError(f"{self.name} did not end in {END_TIMEOUT_S} s after SIGTERM") from None
        if life.status != 0 or not life.sums:
            raise ReceiverFailedError(f"{self.name} ended with {life.status} after SIGTERM: {self.last_words()}")
        return life

    def signal(self, number: signal.Signals) -> None:
        """Send it one."""
        assert self._process is not None
        assert self._process.pid is not None
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    def signal_all(self, number: Signals) -> None:
        """Send it to the workers, too."""
        workers = self.workers()
        self.signal(number)  # first, lest it starts others
        for worker in workers:
            with suppress(psutil.NoSuchProcess):
                worker.send_signal(number)

    def workers(self) -> list[psutil.Process]:
        """Its processes besides the first."""
        assert self._process is not None
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self._process.pid).children()
        return []

    @property
    def lost_a_worker(self) -> bool:
        """Whether one died, also while it left, so that not all it did was counted."""
        return any(str(line.get("event", "")).startswith("a worker has died") for line in self.log_lines())

    async def metrics(self, session: aiohttp.ClientSession, timeout_s: float = 2.0) -> Counter[str]:
        """Its figures, by name with and without labels."""
        async with session.get(f"{self.url}/metrics", timeout=aiohttp.ClientTimeout(total=timeout_s)) as response:
            text = await response.text()
        return figures(text)

    def log_lines(self) -> list[dict[str, Any]]:
        """Of all lives."""
        return _read(self._log.read_bytes())

    def last_words(self) -> str:
        """The end of the log."""
        return " | ".join(self._log.read_text(errors="replace").splitlines()[-4:])

    async def _ended(self) -> None:
        assert self._process is not None
        life = self.lives[-1]
        await until(self._has_ended, END_TIMEOUT_S)
        life.status = self._process.exitcode
        for line in _read(self._log.read_bytes()[life.log_offset :]):
            if line.get("event") == "stopped":
                life.sums = {name: line[name] for name in ("received", "recovered", *KEPT)}
                life.sums["unaccounted"] = line.get("unaccounted", 0)  # which only workers tell

    async def _has_ended(self) -> bool:
        return not self.running

    async def _serves(self) -> bool:
        if not self.running:
            raise ReceiverFailedError(f"{self.name} did not start: {self.last_words()}")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True


def sums_of(metrics: Counter[str]) -> dict[str, int]:
    """What must add up."""
    found = {name: metrics[f"{name}_total"] for name in ("received", "recovered", "stored", "refused")}
    now = {"spooled": metrics["spool_callbacks"], "in_flight": metrics["in_flight"]}
    return found | now | {"lost": metrics["spool_lost_total"], "unaccounted": metrics["unaccounted_total"]}


def _read(log: bytes) -> list[dict[str, Any]]:
    """The lines that are JSON; the rest are warnings of Python's own, or a traceback."""
    lines: Sequence[bytes] = log.splitlines()
    return [orjson.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"}")]
