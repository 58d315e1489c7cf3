"""`python -m benchmarks.windows`: what the query API costs and takes, with a long past in the database.

Two measurements, each in one run on one receiver:

- every list and every single thing, asked at 50 a second while 500 callbacks a second are kept: how long answers take,
  from when they were due;
- what 1,000 waits and 200 readers of the feed cost those who post: rounds of closed load with and without them, in
  turns; the figure is the median of the rounds' ratios. Readers follow a deployment each, or, apart, failures only.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import tempfile
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import aiohttp
import click
import orjson
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.connection import percentile
from benchmarks.load import Heard, Load
from benchmarks.stand import Program, ask, new_database, until_empty
from benchmarks.stored import ENTRIES_OF_A_VM, VMS, Stored, fill, receipts
from receiver.embedded.servers import Embedded

API = "/api/v1"
QUESTIONS_PER_S = 50.0
CALLBACKS_PER_S = 500.0
WAITS, READERS = 1_000, 200
DEPLOYMENTS = 4_000
"""That callbacks are posted about; the stored ones are others."""
P99_WANTED_S = 0.030
COST_WANTED = 0.10
STREAM = "ESC"


@dataclass(slots=True)
class Found:
    """What was measured."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """How long answers took, by question."""
    wrong: Counter[str] = field(default_factory=Counter)
    """Answers other than 200, by question and status."""
    posted: Heard | None = None
    """The callbacks beside the questions."""
    ratios: dict[str, list[float]] = field(default_factory=dict)
    """By kind of reader: rate of callbacks with them and the waits, of the rate without."""
    plain_rate: float = 0.0
    waits_bytes: int = 0
    """Memory that grew when they all had come."""


class Questions:
    """Every list and every single thing, with other values each time."""

    def __init__(self, stored: Stored, known: list[str]) -> None:
        self._stored = stored
        self._known = known
        self._random = random.Random(7)  # noqa: S311 - repeatable

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Name and path, for ever."""
        for name in cycle(QUESTIONS):
            yield name, QUESTIONS[name](self._values())

    def _values(self) -> dict[str, Any]:
        vm = self._random.randrange(self._stored.vms)
        deployment, turn = vm // 10, 1 + self._random.randrange(ENTRIES_OF_A_VM)
        return {
            "vm": vm, "deployment": deployment, "source": f"lab{deployment % 3}", "tenant": deployment % 50,
            "operation": f"tx-{deployment}-{turn}", "receipt": self._random.choice(self._known),
        }  # fmt: skip


Ask = Callable[[dict[str, Any]], str]
QUESTIONS: dict[str, Ask] = {
    "deployments": lambda v: f"/deployments?current=true&cursor=lab1~dep-{v['deployment']}~1",
    "deployments of a state": lambda _: "/deployments?state=ERROR",
    "deployments of a tenant": lambda v: f"/deployments?tenant=tenant-{v['tenant']}",
    "vms": lambda _: "/vms?limit=100",
    "vms of a state": lambda _: "/vms?state=ERROR",
    "vms of a deployment": lambda v: f"/vms?deployment=dep-{v['deployment']}",
    "vms of a tenant": lambda v: f"/vms?tenant=tenant-{v['tenant']}",
    "resources": lambda v: f"/resources?kind=network&deployment=dep-{v['deployment']}",
    "operations, newest": lambda _: "/operations?order=newest",
    "operations in flight": lambda _: "/operations?state=OPEN",
    "operations of a deployment": lambda v: f"/operations?deployment=dep-{v['deployment']}",
    "callbacks, newest": lambda _: "/callbacks?order=newest",
    "callbacks of a deployment": lambda v: f"/callbacks?deployment=dep-{v['deployment']}&order=newest",
    "callbacks of a transaction": lambda v: f"/callbacks?transaction_id={v['operation']}",
    "quarantine": lambda _: "/callbacks?outcome=malformed&outcome=unclassified&order=newest",
    "ledger, newest": lambda _: "/transitions?order=newest",
    "ledger of a deployment": lambda v: f"/transitions?deployment=dep-{v['deployment']}",
    "ledger of an operation": lambda v: f"/transitions?operation={v['operation']}",
    "ledger, failures": lambda _: "/transitions?entity=vm&state=ERROR&order=newest",
    "deployment": lambda v: f"/deployments/{v['source']}/dep-{v['deployment']}",
    "vm": lambda v: f"/vms/{v['source']}/vm-{v['vm']}",
    "operation": lambda v: f"/operations/{v['source']}/{v['operation']}",
    "callback": lambda v: f"/callbacks/{v['receipt']}",
    "raw bytes": lambda v: f"/callbacks/{v['receipt']}/raw",
    "explain": lambda v: f"/explain/{v['source']}/vm-{v['vm']}",
    "stats": lambda _: "/stats",
}


class Windows:
    """One run."""

    def __init__(self, program: Program, dsn: str, stored: Stored) -> None:
        self.found = Found()
        self._program = program
        self._dsn = dsn
        self._stored = stored
        self._next = 0

    async def warm_up(self) -> None:
        """One callback for each deployment that is posted about."""
        await self._post(32, count=DEPLOYMENTS)

    async def questions(self, seconds: float) -> None:
        """Ask at a fixed rate while callbacks come at another."""
        questions = iter(Questions(self._stored, await receipts(self._dsn)))
        await self._ask_all(questions, len(QUESTIONS) * 2 / QUESTIONS_PER_S)  # connections and plans are made
        self.found.seconds.clear()
        posting = asyncio.create_task(self._post(16, seconds=seconds, rate=CALLBACKS_PER_S))
        gc.disable()  # a pause of ours is none of the receiver's
        await self._ask_all(questions, seconds)
        gc.enable()
        self.found.posted = await posting

    async def cost(self, rounds: int, seconds: float) -> None:
        """Post as fast as answers come, with and without those who wait and read."""
        plain: list[float] = []
        for kind, query in READING.items():
            ratios = self.found.ratios[kind] = []
            for _ in range(rounds):
                without = await self._round(seconds)
                async with self._waiting(), self._reading(query):
                    ratios.append(await self._round(seconds) / without)
                await self._until("esc_receiver_waits", 0)
                await self._until("esc_receiver_feed_readers", 0)
                plain.append(without)
        self.found.plain_rate = median(plain)

    async def _round(self, seconds: float) -> float:
        heard = await self._post(128, seconds=seconds)
        await until_empty(self._dsn, timeout_s=120)
        return heard.rate

    async def _post(self, connections: int, *, seconds: float = 0.0, count: int = 0, rate: float = 0.0) -> Heard:
        load = Load(self._program.port, connections, DEPLOYMENTS, self._next, seconds, count, rate)
        heard = Heard(**await ask("benchmarks.load", load))
        self._next += heard.answered + connections
        return heard

    async def _ask_all(self, questions: Iterator[tuple[str, str]], seconds: float) -> None:
        began_s = perf_counter()
        async with aiohttp.ClientSession(self._url) as client, asyncio.TaskGroup() as group:
            for number in range(round(seconds * QUESTIONS_PER_S)):
                due_s = began_s + number / QUESTIONS_PER_S
                await asyncio.sleep(max(0.0, due_s - perf_counter()))
                group.create_task(self._ask(client, *next(questions), due_s))

    async def _ask(self, client: aiohttp.ClientSession, name: str, path: str, due_s: float) -> None:
        async with client.get(API + path) as answer:
            await answer.read()
            if answer.status != 200:
                self.found.wrong[f"{name} {answer.status}"] += 1
        self.found.seconds[name].append(perf_counter() - due_s)

    @asynccontextmanager
    async def _waiting(self) -> AsyncIterator[None]:
        """So many requests for operations that nobody has heard of."""
        before = resident_bytes(self._program.pid)
        async with _asking(self._url, [f"{API}/operations/default/never-{n}?wait=300" for n in range(WAITS)]):
            await self._until("esc_receiver_waits", WAITS)
            self.found.waits_bytes = max(self.found.waits_bytes, resident_bytes(self._program.pid) - before)
            yield

    @asynccontextmanager
    async def _reading(self, query: Callable[[int], str]) -> AsyncIterator[None]:
        async with _asking(self._url, [f"{API}/feed?{query(n)}" for n in range(READERS)]):
            await self._until("esc_receiver_feed_readers", READERS)
            yield

    async def _until(self, gauge: str, many: int) -> None:
        async with aiohttp.ClientSession(self._url) as client, asyncio.timeout(60):
            while True:
                async with client.get("/metrics") as answer:
                    if f"\n{gauge} {many}.0\n" in await answer.text():
                        return
                await asyncio.sleep(0.05)

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._program.port}"


READING: dict[str, Callable[[int], str]] = {
    "failures only": lambda _: "entity=vm&change=error",
    "a deployment each": lambda n: f"deployment=bench{n:06d}",
}
"""What the readers of the feed ask for, by number."""


@asynccontextmanager
async def _asking(url: str, paths: list[str]) -> AsyncIterator[None]:
    """Requests whose answers are read and thrown away, until left."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(url, connector=connector, timeout=timeout) as client:

        async def one(path: str) -> None:
            async with client.get(path) as answer:
                async for _ in answer.content.iter_any():
                    pass

        tasks = [asyncio.create_task(one(path)) for path in paths]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def resident_bytes(pid: int) -> int:
    """Memory of a process now."""
    return int(psutil.Process(pid).memory_info().rss)


def service(dsn: str, nats_url: str, folder: Path) -> Program:
    """The receiver; its rate limit would take this one client for a flood."""
    environment = {
        "ESC_RECEIVER_POSTGRES_DSN": dsn,
        "ESC_RECEIVER_NATS_URL": nats_url,
        "ESC_RECEIVER_STREAM_NAME": STREAM,
        "ESC_RECEIVER_DATA_DIR": str(folder),
        "ESC_RECEIVER_PORT": "{port}",
        "ESC_RECEIVER_QUERY_RATE_PER_S": "100000",
        "ESC_RECEIVER_FEED_HEARTBEAT_S": "1",  # so that readers who have left are noticed before the next round
    }
    return Program("service", ["-m", "receiver", "serve"], folder / "service.log", environment)


async def measured(stored: Stored, seconds: float, rounds: int, tell: Callable[[str], None]) -> Found:
    """All of it."""
    with tempfile.TemporaryDirectory(prefix="esc-receiver-bench-") as folder:
        tell("PostgreSQL and NATS")
        async with Embedded() as servers:
            dsn = await new_database(servers.postgres_dsn, "windows")
            tell(f"{stored.transitions:,} ledger entries of {stored.vms:,} VMs")
            await fill(dsn, stored)
            async with service(dsn, servers.nats_url, Path(folder)) as program:
                run = Windows(program, dsn, stored)
                await run.warm_up()
                tell("questions beside callbacks")
                await run.questions(seconds)
                tell("waits and readers")
                await run.cost(rounds, min(seconds, 5.0))
                return run.found


def tables(found: Found) -> Iterator[Table]:
    """For people."""
    table = Table(title=f"Answers at {QUESTIONS_PER_S:g}/s beside {CALLBACKS_PER_S:g} callbacks/s")
    for heading in ("question", "answers", "p50 ms", "p99 ms", "slowest ms"):
        table.add_column(heading, justify="left" if heading == "question" else "right")
    for name, seconds in found.seconds.items():
        table.add_row(name, str(len(seconds)), *(f"{1e3 * value:.1f}" for value in _spread(seconds)))
    together = [value for seconds in found.seconds.values() for value in seconds]
    table.add_section()
    table.add_row("all", str(len(together)), *(f"{1e3 * value:.1f}" for value in _spread(together)))
    yield table
    yield _costs(found, percentile(sorted(together), 0.99))


def _spread(seconds: list[float]) -> tuple[float, float, float]:
    ascending = sorted(seconds)
    return percentile(ascending, 0.5), percentile(ascending, 0.99), ascending[-1]


def _costs(found: Found, p99_s: float) -> Table:
    table = Table("target", "wanted", "found", "")
    reached = {True: "reached", False: "missed"}
    table.add_row(
        "p99 of all answers, ms", f"≤ {1e3 * P99_WANTED_S:g}", f"{1e3 * p99_s:.1f}", reached[p99_s <= P99_WANTED_S]
    )
    for kind, ratios in found.ratios.items():
        cost = 1 - median(ratios)
        what = f"{WAITS:,} waits and {READERS} readers of {kind} cost"
        table.add_row(what, f"≤ {COST_WANTED:.0%}", f"{cost:.1%}", reached[cost <= COST_WANTED])
    table.add_row("memory of a wait, kB", "", f"{found.waits_bytes / WAITS / 1e3:.1f}", "")
    if posted := found.posted:
        table.add_row(
            "callbacks beside the questions, a second · p99",
            "",
            f"{posted.rate:,.0f} · {1e3 * posted.p99_s:.1f} ms",
            "",
        )
    told = ", ".join(f"{many} {name}" for name, many in found.wrong.items()) or "0"
    table.add_row("answers other than 200", "0", told, reached[not found.wrong])
    table.caption = f"Callbacks without anybody who waits or reads: {found.plain_rate:,.0f}/s."
    return table


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--vms", default=VMS, show_default=True, help="VMs stored; each has ten ledger entries.")
@click.option("--seconds", default=60.0, show_default=True, help="Length of the questions' round.")
@click.option("--rounds", default=3, show_default=True, help="Rounds of posting for each kind of reader.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def main(*, vms: int, seconds: float, rounds: int, as_json: bool) -> None:
    """Measure the query API on a database with a long past.

    \b
    Examples:
      python -m benchmarks.windows
      python -m benchmarks.windows --vms 10000 --seconds 10 --rounds 1
    """
    console = Console(stderr=True)
    found = asyncio.run(measured(Stored(vms), seconds, rounds, lambda step: console.print(f"… {step}")))
    if as_json:
        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        return
    for table in tables(found):
        Console().print(table)
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    Console().print(f"{os.cpu_count()} processors; load averages {load} (above their number: others were at work)")


if __name__ == "__main__":
    main()
