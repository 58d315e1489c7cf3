"""How an outage of PostgreSQL is felt by who posts: each answer's time, from the kill on, or from the freeze.

Callbacks are sent at a steady rate, whether answers come or not. Must not know how a result is shown.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter

import aiohttp
import psutil

from benchmarks.connection import percentile
from benchmarks.traffic import Traffic
from receiver.embedded.servers import EmbeddedPostgres

RATE = 200.0
AWAY_S = 2.0
FROZEN_S = 6.0
CALM_S = 2.0
KILLS = 3
CONNECTIONS = 400
"""Fewer than one address may have (`connections_per_address_max`)."""


@dataclass(slots=True)
class Felt:
    """Of one outage, or of several alike; seconds."""

    before_s: list[float] = field(default_factory=list)
    """Each answer before the outage."""
    answers: int = 0
    refused: int = 0
    """Answers other than 2xx."""
    slowest_s: float = 0.0
    """From the beginning of the outage until two seconds after its end."""
    spooled_s: list[float] = field(default_factory=list)
    """Each answer 202 to what was sent while callbacks went into the spool: since the first such answer."""
    first_after_s: float = 0.0
    """The first callback that was sent after PostgreSQL's return; the slowest of several outages."""

    @property
    def before_p99_s(self) -> float:
        """What a calm service takes on this machine now."""
        return percentile(sorted(self.before_s), 0.99) if self.before_s else 0.0

    @property
    def spooled_p99_s(self) -> float:
        """Of these, all but the slowest hundredth."""
        return percentile(sorted(self.spooled_s), 0.99) if self.spooled_s else 0.0


@dataclass(slots=True)
class _Sender:
    """Sends callbacks, each in a task of its own."""

    session: aiohttp.ClientSession
    traffic: Traffic
    number: int
    felt: Felt
    begun: bool = False
    """Whether the outage has."""
    spooling_since_s: float = float("inf")
    """When the first answer 202 came."""
    away: bool = True
    """Until PostgreSQL returns."""
    returned_at_s: float = float("inf")
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> None:
        due_s = perf_counter()
        while True:
            task = asyncio.create_task(self._post(self.number))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            self.number += 1
            due_s += 1 / RATE
            await asyncio.sleep(max(0.0, due_s - perf_counter()))

    def returns(self) -> None:
        """PostgreSQL is there again."""
        self.away, self.returned_at_s = False, perf_counter()

    async def settle(self) -> None:
        """Until all are answered."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _post(self, number: int) -> None:
        headers, body = _parts(self.traffic.request(number))
        sent_s, before = perf_counter(), not self.begun
        async with self.session.post("/esc/default/callback", data=body, headers=headers) as answer:
            await answer.read()
        took_s, felt = perf_counter() - sent_s, self.felt
        if before and not self.begun:
            felt.before_s.append(took_s)
            return
        felt.answers += 1
        felt.refused += answer.status >= 300
        felt.slowest_s = max(felt.slowest_s, took_s)
        if answer.status == 202 and self.away:
            self.spooling_since_s = min(self.spooling_since_s, perf_counter())
            if sent_s >= self.spooling_since_s:
                felt.spooled_s.append(took_s)
        if sent_s >= self.returned_at_s:
            self.returned_at_s = float("inf")
            felt.first_after_s = max(felt.first_after_s, took_s)


async def feel_kills(
    port: int, deployments: int, first: int, postgres: EmbeddedPostgres, calm: Callable[[], Awaitable[None]]
) -> tuple[Felt, int]:
    """PostgreSQL dies and comes back, three times; what was felt, and the number of the next callback."""
    felt, number = Felt(), first
    for _ in range(KILLS):
        async with _sending(port, deployments, number, felt) as sender:
            for process in _processes(postgres):
                process.kill()
            await asyncio.sleep(AWAY_S)
            await postgres.start()
            sender.returns()
            await asyncio.sleep(CALM_S)
        number = sender.number
        await calm()
    return felt, number


async def feel_freeze(port: int, deployments: int, first: int, postgres: EmbeddedPostgres) -> tuple[Felt, int]:
    """PostgreSQL says nothing for a while, and goes on; the same."""
    felt = Felt()
    async with _sending(port, deployments, first, felt) as sender:
        processes = _processes(postgres)
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(FROZEN_S)
        for process in processes:
            process.send_signal(signal.SIGCONT)
        sender.returns()
        await asyncio.sleep(CALM_S)
    return felt, sender.number


@asynccontextmanager
async def _sending(port: int, deployments: int, first: int, felt: Felt) -> AsyncIterator[_Sender]:
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", connector=connector) as session:
        sender = _Sender(session, Traffic(deployments), first, felt)
        running = asyncio.create_task(sender.run())
        await asyncio.sleep(CALM_S)
        sender.begun = True
        try:
            yield sender
        finally:
            running.cancel()
            await asyncio.wait([running])
            await sender.settle()


def _parts(request: bytes) -> tuple[dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    fields = (line.partition(": ") for line in head.decode().split("\r\n")[1:])
    return {name: value for name, _, value in fields if name.startswith("ESC-")}, body


def _processes(postgres: EmbeddedPostgres) -> list[psutil.Process]:
    server = psutil.Process(postgres.pid)
    return [server, *server.children(recursive=True)]
