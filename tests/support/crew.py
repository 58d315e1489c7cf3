"""A supervisor and its workers as they are run, with senders, and what can be asked of all of them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from tests.support.batches import of_deployment
from tests.support.program import PATIENCE_S, Program, facts
from tests.support.samples import SAMPLES
from tests.support.scrapes import figures
from tests.support.waiting import until

KEPT = ("stored", "spooled", "refused", "lost", "in_flight", "unaccounted")
SERIES = {
    "received": "received_total", "recovered": "recovered_total", "stored": "stored_total", "refused": "refused_total",
    "spooled": "spool_callbacks", "lost": "spool_lost_total", "in_flight": "in_flight",
    "unaccounted": "unaccounted_total",
}  # fmt: skip


def adds_up(sums: Mapping[str, int]) -> bool:
    """docs/promises.md#promise-8."""
    return sums["received"] + sums["recovered"] == sum(sums[name] for name in KEPT)


@dataclass(slots=True)
class Crew:
    """A running `serve --workers N`."""

    program: Program
    url: str = ""
    said: list[Mapping[str, Any]] = field(default_factory=list)
    """The facts of every log line so far."""
    _heard: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def listen(self) -> None:
        """To the log, until the program ends."""
        assert self.program.process.stderr
        async for raw in self.program.process.stderr:
            line = raw.decode().rstrip()
            self.program.lines.append(line)
            async with self._heard:
                self.said.append(facts(line))
                self._heard.notify_all()

    async def serves(self) -> None:
        """Wait until it takes connections."""
        self.url = (await self.says("serving"))["url"]

    async def says(self, event: str, times: int = 1) -> Mapping[str, Any]:
        """Wait until it has said so, as often; the facts of that line."""
        async with asyncio.timeout(PATIENCE_S), self._heard:
            await self._heard.wait_for(lambda: len(self.lines(event)) >= times)
        return self.lines(event)[times - 1]

    def lines(self, event: str) -> list[Mapping[str, Any]]:
        """Those with this event."""
        return [line for line in self.said if line.get("event") == event]

    async def readiness(self) -> dict[str, Any]:
        """What whichever worker says of all."""
        async with session() as client, client.get(f"{self.url}/readyz") as answer:
            told: dict[str, Any] = await answer.json()
        return told

    async def pids(self) -> dict[int, int]:
        """The process at each place."""
        workers = (await self.readiness())["workers"]
        return {int(number): worker["process"] for number, worker in workers.items()}

    async def figures(self) -> Counter[str]:
        """What whichever worker shows of all."""
        async with session() as client, client.get(f"{self.url}/metrics") as answer:
            assert answer.status == 200, await answer.text()
            return figures(await answer.text())

    async def sums(self) -> dict[str, int]:
        """What adds up."""
        found = await self.figures()
        return {name: int(found[series]) for name, series in SERIES.items()}

    async def stopped(self) -> Mapping[str, Any]:
        """End it as SIGTERM does; what it said last."""
        self.program.signal(signal.SIGTERM)
        last = await self.says("stopped")
        async with asyncio.timeout(PATIENCE_S):
            assert await self.program.process.wait() == 0
        return last

    async def all_direct(self) -> None:
        """Until every worker keeps callbacks in PostgreSQL."""
        await until(self._is_direct, PATIENCE_S)

    async def _is_direct(self) -> bool:
        workers = (await self.readiness())["workers"].values()
        return all(worker["mode"] == "direct" and worker["ready"] for worker in workers)


def session() -> aiohttp.ClientSession:
    """Each request has a connection of its own, so any worker may get it."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, ssl=False))


@asynccontextmanager
async def crew(folder: Path, workers: int = 2, *arguments: str | Path, **settings: object) -> AsyncIterator[Crew]:
    """One that serves; killed at the end with all its workers when it still runs."""
    async with starting_crew(folder, workers, *arguments, **settings) as found:
        await found.serves()
        yield found


@asynccontextmanager
async def starting_crew(
    folder: Path, workers: int = 2, *arguments: str | Path, **settings: object
) -> AsyncIterator[Crew]:
    """The same, at its very beginning."""
    chosen = {"data_dir": folder, "log_format": "json", "log_callbacks": "off", "worker_report_s": 0.1}
    chosen |= {"readyz_timeout_s": 10} | settings  # a busy machine must not leave workers out
    program = await Program.start("serve", "--port", "0", "--workers", str(workers), *arguments, **chosen)
    found = Crew(program)
    listening = asyncio.create_task(found.listen())
    try:
        yield found
    finally:
        kill_all(program.process.pid)
        await program.process.wait()
        await listening


def kill_all(pid: int) -> None:
    """A process and its children."""
    with suppress(psutil.NoSuchProcess):
        first = psutil.Process(pid)
        for process in (first, *first.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def kill(pid: int) -> None:
    """As `kill -9`."""
    os.kill(pid, signal.SIGKILL)


@dataclass(slots=True)
class Sending:
    """Senders that post without a pause, until `stop` is set; each callback is another deployment's."""

    url: str
    keeping: bool
    """Whether a sender keeps its connection; else it makes one for each callback."""
    receipts: set[str] = field(default_factory=set)
    failed: list[str] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    _number: int = 0

    async def send(self, senders: int, count: int = 0) -> None:
        """With `count`, so many in all."""
        connector = aiohttp.TCPConnector(force_close=not self.keeping, limit=0, ssl=False)
        async with aiohttp.ClientSession(connector=connector) as client:
            await asyncio.gather(*(self._send(client, count) for _ in range(senders)))

    async def _send(self, client: aiohttp.ClientSession, count: int) -> None:
        while not self.stop.is_set() and not (count and self._number >= count):
            self._number += 1
            await self.post(client, f"{'kept' if self.keeping else 'new'}-{self._number}")

    async def post(self, client: aiohttp.ClientSession, name: str) -> None:
        """One callback."""
        sample = of_deployment(SAMPLES["rec-deploy-01-vm-deployed"], name)
        try:
            async with client.post(f"{self.url}/", data=sample.body, headers=dict(sample.headers)) as answer:
                if answer.status in {200, 202}:
                    self.receipts.add(answer.headers["ESC-Receipt-Id"])
                else:
                    self.failed.append(f"{answer.status} {await answer.text()}")
        except aiohttp.ClientError as error:
            self.failed.append(repr(error))

    async def until(self, receipts: int) -> None:
        """Until so many were acknowledged."""
        await until(lambda: _reached(self.receipts, receipts), PATIENCE_S)


async def _reached(receipts: set[str], number: int) -> bool:
    return len(receipts) >= number


@asynccontextmanager
async def under_load(url: str, *, keeping: bool = False, senders: int = 8) -> AsyncIterator[Sending]:
    """Senders for as long as the context lasts."""
    sending = Sending(url, keeping)
    task = asyncio.create_task(sending.send(senders))
    try:
        yield sending
    finally:
        sending.stop.set()
        await task


@asynccontextmanager
async def watched(found: Crew) -> AsyncIterator[list[str]]:
    """What is wrong with /metrics while the context lasts: a counter that falls, or sums that do not add up."""
    wrong: list[str] = []
    stop = asyncio.Event()
    task = asyncio.create_task(_watch(found, wrong, stop))
    try:
        yield wrong
    finally:
        stop.set()
        await task


async def _watch(found: Crew, wrong: list[str], stop: asyncio.Event) -> None:
    last: Counter[str] = Counter()
    while not stop.is_set():
        try:
            now = await found.figures()
        except aiohttp.ClientError:
            continue  # it was killed while it answered
        sums = {name: int(now[series]) for name, series in SERIES.items()}
        if not adds_up(sums):
            wrong.append(f"{sums}")
        counters = [name for name in last if re.search(r"_(total|bucket|count)(\{|$)", name)]
        wrong += [f"{name} fell from {last[name]} to {now[name]}" for name in counters if now[name] < last[name]]
        last = now


def read_json(path: Path) -> Any:
    """A file's content."""
    return json.loads(path.read_text())
