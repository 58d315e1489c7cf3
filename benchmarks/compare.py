"""The measurements themselves: three programs in rounds that alternate, then the feed of one of them.

This file must not know how a result is shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter

import asyncpg

from benchmarks.delay import Delay, Question
from benchmarks.load import Heard, Load
from benchmarks.stand import Feed, Program, ask, new_database, one_value, processor_s, until_empty
from receiver.embedded.servers import Embedded

NOTHING, ORDINARY, SERVICE = "nothing", "ordinary", "service"
CONNECTIONS = (1, 32, 128)
DEPLOYMENTS = 4_000
"""So many that even a group of 256 callbacks names none twice."""
FEED_RATE = 500.0
"""Where the rate at 128 connections was not measured."""
FEED_PART = 0.4
"""Of that rate, else."""
DRAIN_TIMEOUT_S = 120.0
STREAM = "ESC"
POLL_S = 0.01

COUNTS = "SELECT ARRAY[(SELECT count(*) FROM transitions), (SELECT count(*) FROM callbacks)]"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    rounds: int = 5
    seconds: float = 3.0
    feed_seconds: float = 10.0
    drained: int = 20_000
    connections: Sequence[int] = CONNECTIONS
    workers: int = 1
    """Of the service."""
    programs: Sequence[str] = (NOTHING, ORDINARY, SERVICE)


@dataclass(frozen=True, slots=True)
class Round:
    """One program under load, once."""

    heard: Heard
    backlog: int
    """Messages that its relay had not published when the load ended."""
    cpu_s: float
    """What the program's processes took of the processors, until the backlog was gone."""
    postgres_cpu_s: float = 0.0
    """What PostgreSQL took meanwhile."""
    nats_cpu_s: float = 0.0
    """What NATS took meanwhile."""

    def each_us(self, taken_s: float) -> float:
        """Processor time of one callback, in µs."""
        return 1e6 * taken_s / max(1, self.heard.answered)


@dataclass(slots=True)
class Results:
    """What was found."""

    rounds: dict[tuple[str, int], list[Round]] = field(default_factory=dict)
    """By program and connections."""
    peak_bytes: dict[str, int] = field(default_factory=dict)
    ledger_entries_each: float = 0.0
    """Of the service, for one callback."""
    feed_rate: float = FEED_RATE
    """Callbacks a second while the delay was measured."""
    delay: Delay | None = None
    drain_rate: float | None = None

    def middle(self, program: str, connections: int, of: Callable[[Round], float]) -> float:
        """The median over the rounds."""
        return median(map(of, self.rounds[program, connections]))

    def ratio(self, program: str, other: str, connections: int, of: Callable[[Round], float]) -> float:
        """The median of the rounds' ratios."""
        pairs = zip(self.rounds[program, connections], self.rounds[other, connections], strict=True)
        return median(of(one) / of(another) for one, another in pairs)


class Comparison:
    """One run."""

    def __init__(self, plan: Plan, servers: Embedded, folder: Path, tell: Callable[[str], None]) -> None:
        """`tell` hears of each step when it begins; `folder` is for logs and the like."""
        self._plan = plan
        self._servers = servers
        self._folder = folder
        self._tell = tell
        self._results = Results()
        self._programs: dict[str, Program] = {}
        self._dsn: dict[str, str] = {}
        self._next = 0

    @property
    def steps(self) -> int:
        """How often `tell` will be called."""
        plan = self._plan
        return len(plan.programs) * (1 + plan.rounds * len(plan.connections)) + 2 * (SERVICE in plan.programs)

    async def run(self) -> Results:
        """All of it."""
        async with AsyncExitStack() as programs:
            for name in self._plan.programs:
                self._tell(f"{name}: start and warm-up")
                await programs.enter_async_context(await self._program(name))
                await self._warm_up(name)
            await self._compare()
            if SERVICE in self._plan.programs:
                self._tell("from POST to consumer")
                self._results.delay = await self._delay()
        if SERVICE in self._plan.programs:
            self._tell("publishing what has piled up")
            self._results.drain_rate = await self._drain()
        return self._results

    # The programs.

    async def _program(self, name: str) -> Program:
        """Not yet started."""
        if name != NOTHING and name not in self._dsn:
            self._dsn[name] = await new_database(self._servers.postgres_dsn, name)
        arguments, environment = [f"benchmarks.{name}", "{port}"], {}
        if name == ORDINARY:
            arguments += [self._dsn[name], self._servers.nats_url]
        elif name == SERVICE:
            arguments = ["receiver", "serve"]
            environment = {
                "ESC_RECEIVER_POSTGRES_DSN": self._dsn[name],
                "ESC_RECEIVER_NATS_URL": self._servers.nats_url,
                "ESC_RECEIVER_STREAM_NAME": STREAM,
                "ESC_RECEIVER_DATA_DIR": str(self._folder),
                "ESC_RECEIVER_PORT": "{port}",
                "ESC_RECEIVER_WORKERS": str(self._plan.workers),
            }
        program = self._programs[name] = Program(name, ["-m", *arguments], self._folder / f"{name}.log", environment)
        return program

    async def _warm_up(self, name: str) -> None:
        """One callback for each deployment, so that all are there."""
        await self._send(name, 32, count=DEPLOYMENTS)
        if name == SERVICE:
            await until_empty(self._dsn[name], timeout_s=DRAIN_TIMEOUT_S)

    # The measurements.

    async def _compare(self) -> None:
        plan, results = self._plan, self._results
        before = await self._counts()
        for connections, _, name in product(plan.connections, range(plan.rounds), plan.programs):
            self._tell(f"{name}: {connections} connections")
            results.rounds.setdefault((name, connections), []).append(await self._round(name, connections))
        results.peak_bytes = {name: program.peak_bytes for name, program in self._programs.items()}
        entries, callbacks = (now - then for now, then in zip(await self._counts(), before, strict=True))
        results.ledger_entries_each = entries / max(1, callbacks)

    async def _counts(self) -> list[int]:
        """Ledger entries and callbacks of the service."""
        return list(await one_value(self._dsn[SERVICE], COUNTS)) if SERVICE in self._dsn else [0, 0]

    async def _round(self, name: str, connections: int) -> Round:
        pids = (self._programs[name].pid, *self._servers.pids)
        before_s = [processor_s(pid) for pid in pids]
        heard = await self._send(name, connections, seconds=self._plan.seconds)
        left = await until_empty(self._dsn[name], timeout_s=DRAIN_TIMEOUT_S) if name == SERVICE else 0
        return Round(heard, left, *(processor_s(pid) - was_s for pid, was_s in zip(pids, before_s, strict=True)))

    async def _send(self, name: str, connections: int, *, seconds: float = 0.0, count: int = 0) -> Heard:
        load = Load(self._programs[name].port, connections, DEPLOYMENTS, self._next, seconds, count)
        heard = Heard(**await ask("benchmarks.load", load))
        self._next += heard.answered
        return heard

    async def _delay(self) -> Delay:
        port, seconds = self._programs[SERVICE].port, self._plan.feed_seconds
        rounds = self._results.rounds.get((SERVICE, 128))
        rate = self._results.feed_rate = FEED_PART * median(one.heard.rate for one in rounds) if rounds else FEED_RATE
        question = Question(port, self._servers.nats_url, STREAM, DEPLOYMENTS, self._next, rate, seconds)
        delay = Delay(**await ask("benchmarks.delay", question))
        self._next += delay.messages
        return delay

    async def _drain(self) -> float:
        """Messages per second of a relay that is let go when many wait; from the first one that is published."""
        async with (
            self._lock_held() as release,
            Feed(self._servers.nats_url, STREAM) as feed,
            await self._program(SERVICE),
        ):
            await self._send(SERVICE, 128, count=self._plan.drained)
            before = await feed.length()
            await release()
            while (first := await feed.length()) == before:  # noqa: ASYNC110  # the relay is another process
                await asyncio.sleep(POLL_S)
            began_s = perf_counter()
            await until_empty(self._dsn[SERVICE], timeout_s=DRAIN_TIMEOUT_S)
            return (before + self._plan.drained - first) / (perf_counter() - began_s)

    @asynccontextmanager
    async def _lock_held(self) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Another session is the relay, and does nothing, until what is given is called."""
        connection = await asyncpg.connect(self._dsn[SERVICE])
        try:
            await connection.fetchval("SELECT pg_advisory_lock(lock_key) FROM relay")
            yield connection.close
        finally:
            await connection.close()
