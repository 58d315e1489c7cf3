"""`python -m benchmarks.past`: what a look at the past (`?at=`) takes, in a ledger of a million entries.

Each question is asked through the query API at moments drawn from the whole of the past. Nobody posts meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter

import aiohttp
import asyncpg
import click

from benchmarks.connection import percentile
from benchmarks.stand import new_database
from benchmarks.stored import statements
from benchmarks.windows import API, service
from receiver.config.settings import Settings
from receiver.embedded.servers import Embedded
from receiver.postgres.migrations import migrate
from receiver.postgres.partitions import Partitions

DAYS = 120
ENTRIES = 1_000_000
QUESTIONS = {
    "vms": "/vms?limit=100",
    "vms of a state": "/vms?state=ALIVE",
    "vms of a rare state": "/vms?state=ERROR&limit=100",
    "vms of a deployment": "/vms?deployment=dep-{n}",
    "vms, with their number": "/vms?state=ALIVE&total=true",
    "deployments": "/deployments?current=true",
    "deployments of a state": "/deployments?state=ERROR",
    "deployments of a tenant": "/deployments?tenant=tenant-7&total=true",
    "operations, newest": "/operations?order=newest",
    "operations by key": "/operations",
    "operations in flight": "/operations?state=OPEN",
    "a vm": "/vms/lab{source}/vm-{vm}",
    "a deployment": "/deployments/lab{source}/dep-{n}",
    "stats": "/stats",
}


async def fill(dsn: str, entries: int) -> None:
    """Put the past in."""
    connection = await asyncpg.connect(dsn)
    try:
        await migrate(connection)
        now = datetime.now(UTC)
        await Partitions(Settings()).ensure(connection, [now - timedelta(days=day) for day in range(DAYS + 32)])
        await connection.execute("SET synchronous_commit = off")
        text = statements("past.sql")["fill"].replace("$1", str(entries)).replace("$2", str(DAYS))
        await connection.execute(text)
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def measured(entries: int, turns: int) -> dict[str, list[float]]:
    """Seconds that answers took, by question."""
    with tempfile.TemporaryDirectory(prefix="esc-receiver-bench-") as folder:
        async with Embedded() as servers:
            dsn = await new_database(servers.postgres_dsn, "past")
            await fill(dsn, entries)
            async with service(dsn, servers.nats_url, Path(folder)) as program:
                await _until_counted(dsn)
                return await _asked(f"http://127.0.0.1:{program.port}", entries, turns)


async def _until_counted(dsn: str) -> None:
    """The days that are over have been counted by the receiver."""
    connection = await asyncpg.connect(dsn)
    try:
        async with asyncio.timeout(600):
            while True:
                if await connection.fetchval("SELECT EXISTS (SELECT FROM counts_by_day)"):
                    return
                await asyncio.sleep(0.5)
    finally:
        await connection.close()


async def _asked(url: str, entries: int, turns: int) -> dict[str, list[float]]:
    drawn = random.Random(7)  # noqa: S311 - repeatable
    took: defaultdict[str, list[float]] = defaultdict(list)
    async with aiohttp.ClientSession(url) as client:
        for turn in range(turns + 2):
            for name, path in QUESTIONS.items():
                at = datetime.now(UTC) - timedelta(days=DAYS * drawn.random())
                n = drawn.randrange(entries // 100)
                asked = path.format(n=n, source=n % 3, vm=6 * n)
                begun_s = perf_counter()
                async with client.get(
                    f"{API}{asked}{'&' if '?' in asked else '?'}at={at:%Y-%m-%dT%H:%M:%SZ}"
                ) as answer:
                    await answer.read()
                    assert answer.status in (200, 404), await answer.text()
                if turn > 1:  # connections are made
                    took[name].append(perf_counter() - begun_s)
    return took


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--entries", default=ENTRIES, show_default=True, help="Ledger entries stored.")
@click.option("--turns", default=200, show_default=True, help="How often each question is asked.")
def main(*, entries: int, turns: int) -> None:
    """Measure looks at the past.

    \b
    Example:
      python -m benchmarks.past --entries 100000 --turns 50
    """
    for name, seconds in asyncio.run(measured(entries, turns)).items():
        ascending = sorted(seconds)
        p50, p99 = (1e3 * percentile(ascending, share) for share in (0.5, 0.99))
        click.echo(f"{name:28} p50 {p50:7.1f} ms   p99 {p99:7.1f} ms   slowest {1e3 * ascending[-1]:7.1f} ms")
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    click.echo(f"{os.cpu_count()} processors; load averages {load}")


if __name__ == "__main__":
    main()
