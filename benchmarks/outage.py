"""What the service does without PostgreSQL: how fast it spools, what that takes of memory, how fast it drains, and how
an outage is felt by who posts (`felt`).

Beside it, in alternating rounds, the server that does nothing. Each callback that is answered is fsynced. This file
must not know how a result is shown.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import aiohttp

from benchmarks.felt import Felt, feel_freeze, feel_kills
from benchmarks.load import Heard, Load
from benchmarks.stand import Program, ask
from receiver.embedded.servers import EmbeddedNats, EmbeddedPostgres
from tests.support.scrapes import figures

DEPLOYMENTS = 4_000
CONNECTIONS = 128
HELD = 50_000
LIVE_RATE = 500.0
LIVE_SECONDS_MAX = 3_600.0
LIVE_NUMBERS_MAX = 10_000_000
"""More than the numbers of requests beside the drain."""
TIMEOUT_S = 3_600.0
POLL_S = 0.5
SPOOL_BYTES_MAX = 20_000_000_000


@dataclass(slots=True)
class Found:
    """The figures."""

    nothing: list[Heard] = field(default_factory=list)
    spooled: list[Heard] = field(default_factory=list)
    held: int = 0
    """Callbacks in the spool at the end of the outage."""
    bytes_before: int = 0
    """Resident, with all deployments known and the first callback spooled."""
    bytes_held: int = 0
    """Resident, at the end of the outage."""
    spool_bytes: int = 0
    drain_seconds: float = 0.0
    """Until the direct way was taken again, with `live` callbacks coming meanwhile."""
    drained: int = 0
    live: int = 0
    killed: Felt = field(default_factory=Felt)
    frozen: Felt = field(default_factory=Felt)

    @property
    def ratio(self) -> float:
        """Of the rates: spooled and fsynced, to nothing done; the median over the rounds."""
        return median(one.rate / other.rate for one, other in zip(self.spooled, self.nothing, strict=True))

    @property
    def drain_rate(self) -> float:
        """Callbacks per second, from the spool to PostgreSQL."""
        return self.drained / self.drain_seconds


class Outage:
    """One run: PostgreSQL goes, callbacks are held, PostgreSQL comes back."""

    def __init__(self, folder: Path, tell: Callable[[str], None], *, rounds: int, seconds: float, held: int) -> None:
        self._folder = folder
        self._tell = tell
        self._rounds = rounds
        self._seconds = seconds
        self._held = held
        self._found = Found()
        self._next = 0

    async def run(self) -> Found:
        """All of it."""
        async with AsyncExitStack() as undo:
            postgres = await undo.enter_async_context(EmbeddedPostgres(self._folder / "postgres"))
            nats = await undo.enter_async_context(EmbeddedNats(self._folder / "nats"))
            nothing = Program("nothing", ["-m", "benchmarks.nothing", "{port}"], self._folder / "nothing.log")
            await undo.enter_async_context(nothing)
            service = await undo.enter_async_context(self._service(postgres.dsn, nats.url))
            session = await undo.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{service.port}"))
            self._tell("service: warm-up")
            await self._until_direct(session)
            await self._send(service, 32, count=DEPLOYMENTS)
            self._tell("PostgreSQL goes")
            await postgres.stop()
            await self._send(service, 1, count=1)
            self._found.bytes_before = service.resident_bytes
            await self._compared(nothing, service)
            await self._filled(service, session)
            self._tell("PostgreSQL comes back")
            await self._drained(postgres, service, session)
            self._tell("PostgreSQL dies and comes back, and freezes")
            await self._felt(postgres, service, session)
        return self._found

    def _service(self, postgres_dsn: str, nats_url: str) -> Program:
        environment = {
            "ESC_RECEIVER_POSTGRES_DSN": postgres_dsn, "ESC_RECEIVER_NATS_URL": nats_url,
            "ESC_RECEIVER_DATA_DIR": str(self._folder), "ESC_RECEIVER_PORT": "{port}",
            "ESC_RECEIVER_SPOOL_BYTES_MAX": str(SPOOL_BYTES_MAX),
        }  # fmt: skip
        return Program("service", ["-m", "receiver", "serve"], self._folder / "service.log", environment)

    async def _compared(self, nothing: Program, service: Program) -> None:
        for _ in range(self._rounds):
            self._tell("nothing and service in turns")
            self._found.nothing.append(await self._send(nothing, CONNECTIONS, seconds=self._seconds))
            self._found.spooled.append(await self._send(service, CONNECTIONS, seconds=self._seconds))

    async def _filled(self, service: Program, session: aiohttp.ClientSession) -> None:
        self._tell(f"until {self._held:,} are held")
        missing = self._held - int((await scraped(session))["spool_callbacks"])
        if missing > 0:
            await self._send(service, CONNECTIONS, count=missing)
        at_end = await scraped(session)
        self._found.held, self._found.spool_bytes = int(at_end["spool_callbacks"]), int(at_end["spool_bytes"])
        self._found.bytes_held = service.resident_bytes

    async def _drained(self, postgres: EmbeddedPostgres, service: Program, session: aiohttp.ClientSession) -> None:
        await postgres.start()
        load = Load(service.port, 8, DEPLOYMENTS, self._next, LIVE_SECONDS_MAX, rate=LIVE_RATE)
        live = asyncio.create_task(ask("benchmarks.load", load))
        try:
            while (before := (await scraped(session))["drained_total"]) == 0:  # noqa: ASYNC110 - another process
                await asyncio.sleep(POLL_S)
            came, began_s = (await scraped(session))["received_total"], perf_counter()
            await self._until_direct(session)
            self._found.drain_seconds = perf_counter() - began_s
            after = await scraped(session)
            self._found.drained = int(after["drained_total"] - before)
            self._found.live = int(after["received_total"] - came)
        finally:
            live.cancel()
            await asyncio.wait([live])

    async def _felt(self, postgres: EmbeddedPostgres, service: Program, session: aiohttp.ClientSession) -> None:
        calm = partial(self._until_direct, session)
        found, first = self._found, self._next + LIVE_NUMBERS_MAX
        found.killed, first = await feel_kills(service.port, DEPLOYMENTS, first, postgres, calm)
        found.frozen, self._next = await feel_freeze(service.port, DEPLOYMENTS, first, postgres)
        await calm()

    async def _until_direct(self, session: aiohttp.ClientSession) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while (await scraped(session))['mode{mode="direct"}'] != 1:  # noqa: ASYNC110 - another process
                await asyncio.sleep(POLL_S)

    async def _send(self, to: Program, connections: int, *, seconds: float = 0.0, count: int = 0) -> Heard:
        heard = Heard(
            **await ask("benchmarks.load", Load(to.port, connections, DEPLOYMENTS, self._next, seconds, count))
        )
        self._next += heard.answered
        return heard


async def scraped(session: aiohttp.ClientSession) -> Counter[str]:
    """The figures of /metrics."""
    async with session.get("/metrics") as response:
        return figures(await response.text())
