"""The trial: real servers, the service, the hostile sender and the bystander; what was seen of each input."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from receiver.postgres.migrations import migrate
from tests.hostile.corpus import request
from tests.support.batches import of_deployment
from tests.support.ingress import Answer, answer_from
from tests.support.program import CHECKOUT
from tests.support.samples import SAMPLES
from tests.support.servers import started

LATE_S_MAX = 0.020
"""How late one request may make the loop."""
TRIES_MAX = 3
"""An input is tried again when it made the loop late: a collection of garbage or a checkpoint may fall on it."""
PATIENCE_S = 60
BYSTANDER_PAUSE_S = 0.02
WARM_UP = 100
ORDINARY = "rec-deploy-01-vm-deployed"
SETTINGS = {"port": 0, "body_timeout_s": 1, "keepalive_timeout_s": 2, "log_format": "json", "query_rate_per_s": 10_000}


@dataclass(frozen=True, slots=True)
class Seen:
    """What one input did."""

    answer: Answer | None
    """None: the connection was closed without a word."""
    late_s: float


@dataclass(slots=True)
class Bystander:
    """Posts ordinary callbacks, one after the other, each on a connection of its own."""

    host: str
    port: int
    statuses: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    async def run(self) -> None:
        """Until cancelled."""
        for number in count():
            await self.post(f"bystander-{number}")
            await asyncio.sleep(BYSTANDER_PAUSE_S)

    async def post(self, deployment: str) -> None:
        """One callback."""
        told = of_deployment(SAMPLES[ORDINARY], deployment)
        began_s = time.perf_counter()
        answer = await sent(self.host, self.port, request(told.body, **_fields(told.headers)))
        self.seconds.append(time.perf_counter() - began_s)
        self.statuses.append(answer.status if answer else 0)


@dataclass(slots=True)
class Report:
    """What was seen in all."""

    seen: dict[str, Seen] = field(default_factory=dict)
    quiet: list[float] = field(default_factory=list)
    bystander: Bystander | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    memory_before: int = 0
    memory_most: int = 0
    log: str = ""


@dataclass(slots=True)
class Service:
    """The service's process."""

    process: asyncio.subprocess.Process
    host: str
    port: int

    async def look(self) -> dict[str, Any]:
        """What its watcher has seen since the last time."""
        assert self.process.stdin
        self.process.stdin.write(b"\n")
        return await _line(self.process)


async def tried(folder: Path, inputs: Mapping[str, bytes]) -> Report:
    """Each input once, one after the other, beside the bystander."""
    report = Report()
    async with _service(folder) as service:
        bystander = report.bystander = Bystander(service.host, service.port)
        for number in range(WARM_UP):
            await bystander.post(f"quiet-{number}")
        report.quiet, bystander.seconds = bystander.seconds, []
        memory = psutil.Process(service.process.pid)
        report.memory_before = report.memory_most = _memory(memory)
        tasks = [asyncio.create_task(bystander.run()), asyncio.create_task(_watch(memory, report))]
        for name, data in inputs.items():
            report.seen[name] = await _seen(service, data)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        report.counts = await _at_rest(service)
    report.log = (folder / "log").read_text("utf-8", "replace")
    return report


async def _seen(service: Service, data: bytes) -> Seen:
    best: Seen | None = None
    for _ in range(TRIES_MAX):
        await service.look()
        answer = await sent(service.host, service.port, data)
        late_s = (await service.look())["late_s"]
        best = Seen(answer, late_s if best is None else min(late_s, best.late_s))
        if late_s <= LATE_S_MAX:
            break
    assert best is not None
    return best


async def sent(host: str, port: int, data: bytes) -> Answer | None:
    """The first answer to bytes as they are."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        async with asyncio.timeout(PATIENCE_S):
            with suppress(ConnectionError):  # refused before all was sent: the answer is there already
                writer.write(data)
                await writer.drain()
            return await answer_from(reader)
    except (ConnectionError, asyncio.IncompleteReadError):
        return None
    finally:
        writer.close()


async def _watch(memory: psutil.Process, report: Report) -> None:
    while True:
        report.memory_most = max(report.memory_most, _memory(memory))
        await asyncio.sleep(BYSTANDER_PAUSE_S)


def _memory(process: psutil.Process) -> int:
    """Of the service and its readers of large bodies; pages that they share count once."""
    total: int = process.memory_full_info().pss
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            total += child.memory_full_info().pss
    return total


async def _at_rest(service: Service) -> Mapping[str, int]:
    """The counters when nothing is on its way any more."""
    async with asyncio.timeout(PATIENCE_S):
        while (seen := await service.look())["counts"]["in_flight"]:
            pass
    return dict(seen["counts"])


@asynccontextmanager
async def _service(folder: Path) -> AsyncIterator[Service]:
    async with started(folder) as servers:
        connection = await asyncpg.connect(servers.postgres_dsn)
        await migrate(connection)
        await connection.close()
        where = {"postgres_dsn": servers.postgres_dsn, "nats_url": servers.nats_url, "data_dir": str(folder / "data")}
        with (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.hostile.service", json.dumps(SETTINGS | where), cwd=CHECKOUT,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        host, _, port = (await _line(process))["url"].removeprefix("http://").rpartition(":")
        try:
            yield Service(process, host, int(port))
        finally:
            await _end(process)


async def _line(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout
    async with asyncio.timeout(PATIENCE_S):
        line = await process.stdout.readline()
    found: dict[str, Any] = json.loads(line)
    return found


async def _end(process: asyncio.subprocess.Process) -> None:
    assert process.stdin
    process.stdin.close()
    try:
        async with asyncio.timeout(PATIENCE_S):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()


def _fields(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("-", "_"): value for name, value in headers.items()}


def percentile(seconds: Iterable[float], share: float) -> float:
    """The time within which this share of the answers came."""
    ordered = sorted(seconds)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
