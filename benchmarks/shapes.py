"""The service under traffic of another shape: all of it on one deployment, and on a database with a long past.

Each beside the ordinary shape, in rounds that alternate. This file must not know how a result is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import asyncpg

from benchmarks.compare import DEPLOYMENTS, DRAIN_TIMEOUT_S, Round
from benchmarks.load import Heard, Load
from benchmarks.stand import Program, ask, new_database, processor_s, until_empty
from benchmarks.stored import statements
from receiver.embedded.servers import Embedded, EmbeddedNats

SPREAD, ONE, EMPTY, FILLED = "spread", "one deployment", "empty", "filled"
CONNECTIONS = 128
VMS, OPERATIONS = 100, 200
"""Of the one deployment."""
STORED = 10_000_000
"""Callbacks, and ledger entries."""
PORTION = 100_000


@dataclass(slots=True)
class Shapes:
    """The rounds of each shape."""

    rounds: dict[str, list[Round]] = field(default_factory=dict)
    stored: int = 0

    def rate_ratio(self, shape: str, other: str) -> float:
        """Of the rates; the median within the rounds."""
        return median(a.heard.rate / b.heard.rate for a, b in self._pairs(shape, other))

    def cost_ratio(self, shape: str, other: str) -> float:
        """Of the processor time of a callback, the service's and PostgreSQL's together."""
        return median(cost_us(a) / cost_us(b) for a, b in self._pairs(shape, other))

    def _pairs(self, shape: str, other: str) -> list[tuple[Round, Round]]:
        return list(zip(self.rounds[shape], self.rounds[other], strict=True))


def cost_us(one: Round) -> float:
    """Processor time of a callback."""
    return one.each_us(one.cpu_s + one.postgres_cpu_s)


class Runs:
    """Two services side by side, of which one is under load at a time."""

    def __init__(self, folder: Path, servers: Embedded, tell: Callable[[str], None]) -> None:
        self._folder = folder
        self._servers = servers
        self._tell = tell
        self._dsn: dict[str, str] = {}
        self._programs: dict[str, Program] = {}
        self._nats: dict[str, EmbeddedNats] = {}
        self._next = 0

    async def one_deployment(self, rounds: int, seconds: float) -> Shapes:
        """All traffic on one deployment beside traffic on thousands, to one service."""
        async with AsyncExitStack() as undo:
            await self._start(undo, SPREAD)
            found = Shapes()
            for shape in (SPREAD, ONE) * rounds:
                self._tell(shape)
                found.rounds.setdefault(shape, []).append(await self._round(SPREAD, seconds, is_one=shape == ONE))
            return found

    async def filled(self, rounds: int, seconds: float, stored: int) -> Shapes:
        """A service on a database that has `stored` callbacks and ledger entries beside one on an empty database."""
        async with AsyncExitStack() as undo:
            for name in (EMPTY, FILLED):
                await self._start(undo, name)
            await self._fill(stored)
            found = Shapes(stored=stored)
            for name in (EMPTY, FILLED) * rounds:
                self._tell(name)
                found.rounds.setdefault(name, []).append(await self._round(name, seconds))
            return found

    async def _start(self, undo: AsyncExitStack, name: str) -> None:
        self._tell(f"{name}: start and warm-up")
        self._dsn[name] = await new_database(self._servers.postgres_dsn, name)
        nats = await undo.enter_async_context(EmbeddedNats(self._folder / f"nats-{name}"))
        self._nats[name] = nats
        environment = {
            "ESC_RECEIVER_POSTGRES_DSN": self._dsn[name], "ESC_RECEIVER_NATS_URL": nats.url,
            "ESC_RECEIVER_DATA_DIR": str(self._folder / name), "ESC_RECEIVER_PORT": "{port}",
        }  # fmt: skip
        program = Program(name, ["-m", "receiver", "serve"], self._folder / f"{name}.log", environment)
        self._programs[name] = await undo.enter_async_context(program)
        await self._send(name, count=DEPLOYMENTS)
        await until_empty(self._dsn[name], timeout_s=DRAIN_TIMEOUT_S)

    async def _fill(self, stored: int) -> None:
        sql = statements("filled.sql")
        connection = await asyncpg.connect(self._dsn[FILLED])
        now = datetime.now(UTC)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)  # all of it beside the new rows
        step = (now - midnight) / stored
        try:
            for first in range(0, stored, PORTION):
                self._tell(f"filled: {first:,} of {stored:,} stored")
                for name in ("callbacks", "transitions"):
                    await connection.execute(sql[name], first, min(PORTION, stored - first), midnight, step)
            await connection.execute("VACUUM ANALYZE")
        finally:
            await connection.close()

    async def _round(self, name: str, seconds: float, *, is_one: bool = False) -> Round:
        pids = (self._programs[name].pid, self._servers.pids[0], self._nats[name].pid)
        before_s = [processor_s(pid) for pid in pids]
        heard = await self._send(name, seconds=seconds, is_one=is_one)
        left = await until_empty(self._dsn[name], timeout_s=DRAIN_TIMEOUT_S)
        return Round(heard, left, *(processor_s(pid) - was_s for pid, was_s in zip(pids, before_s, strict=True)))

    async def _send(self, name: str, *, seconds: float = 0.0, count: int = 0, is_one: bool = False) -> Heard:
        shape = (1, VMS, OPERATIONS) if is_one else (DEPLOYMENTS, 0, 0)
        deployments, vms, operations = shape
        port = self._programs[name].port
        load = Load(port, CONNECTIONS, deployments, self._next, seconds, count, vms=vms, operations=operations)
        heard = Heard(**await ask("benchmarks.load", load))
        self._next += heard.answered
        return heard
