"""What a callback costs in bytes and processor time, and at which rate: `python -m benchmarks.costs --write`.

Bytes are those of simulated traffic, whose callbacks make as many ledger entries as ESC's do: counted on the wires, in
PostgreSQL's log and tables and in the streams, after a warm-up. Processor time and rate are of one, two and three
workers under closed-loop load, with how large the groups were that were committed together and what others took of the
machine meanwhile. `esc-receiver size` reckons with what is written here; the simulation is checked against it.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import click
import nats
import orjson
import psutil

from benchmarks.compare import DEPLOYMENTS, DRAIN_TIMEOUT_S, SERVICE, STREAM, Comparison, Plan
from benchmarks.counted_wire import CountedWire
from benchmarks.load import Heard, Load
from benchmarks.stand import Program, ask, new_database, processor_s, until_empty
from benchmarks.stored import statements
from esc_lab.simulator.command import SimulateOptions, simulate
from receiver.embedded.servers import Embedded

MEASURED = Path(__file__).parents[1] / "receiver" / "cli" / "measured.json"
SEED = 11
LIVES = 150
CONNECTIONS = 128
WORKERS = (1, 2, 3)
ROUNDS = 3
ROUND_S = 3.0
MB = 1_000_000

Figures = dict[str, float]


def service(dsn: str, nats_url: str, folder: Path, workers: int = 1) -> Program:
    """Not yet started."""
    environment = {
        "ESC_RECEIVER_POSTGRES_DSN": dsn,
        "ESC_RECEIVER_NATS_URL": nats_url,
        "ESC_RECEIVER_STREAM_NAME": STREAM,
        "ESC_RECEIVER_DATA_DIR": str(folder),
        "ESC_RECEIVER_PORT": "{port}",
        "ESC_RECEIVER_WORKERS": str(workers),
        "ESC_RECEIVER_LOG_CALLBACKS": "on",
    }
    return Program(SERVICE, ["-m", "receiver", "serve"], folder / "service.log", environment)


class Bytes:
    """What simulated traffic leaves where."""

    def __init__(self, servers: Embedded, folder: Path) -> None:
        self._servers = servers
        self._folder = folder
        self._sql = statements("costs.sql")

    async def measure(self) -> Figures:
        """For one callback."""
        dsn = await new_database(self._servers.postgres_dsn, "bytes")
        async with AsyncExitStack() as stack:
            postgres = await stack.enter_async_context(CountedWire(_port(dsn)).laid())
            broker = await stack.enter_async_context(CountedWire(_port(self._servers.nats_url)).laid())
            through = _through(dsn, postgres.port), _through(self._servers.nats_url, broker.port)
            program = await stack.enter_async_context(service(*through, self._folder))
            http = await stack.enter_async_context(CountedWire(program.port).laid())
            await self._play(http.port, SEED)
            await until_empty(dsn, timeout_s=DRAIN_TIMEOUT_S)
            before = await self._look(dsn, program, http, postgres, broker)
            await self._play(http.port, SEED + 1)
            await until_empty(dsn, timeout_s=DRAIN_TIMEOUT_S)
            after = await self._look(dsn, program, http, postgres, broker)
        grown = {name: after[name] - before[name] for name in before}
        each = {name: value / grown["callbacks"] for name, value in grown.items() if name != "callbacks"}
        return {"callbacks": grown["callbacks"]} | {name: round(value, 6) for name, value in each.items()}

    async def _play(self, port: int, seed: int) -> None:
        options = SimulateOptions(
            target=f"http://127.0.0.1:{port}", seed=seed, deployments=LIVES, rate=0, concurrency=CONNECTIONS
        )
        await simulate(options)

    async def _look(
        self, dsn: str, program: Program, http: CountedWire, postgres: CountedWire, broker: CountedWire
    ) -> Figures:
        connection = await asyncpg.connect(dsn)
        try:
            names = ("wal", "syncs", "counts", "disk")
            rows = {name: (await connection.fetch(self._sql[name]))[0] for name in names}
        finally:
            await connection.close()
        feed, bucket = await self._streams()
        postgres_pid, nats_pid = self._servers.pids
        return {
            "callbacks": rows["counts"]["callbacks"],
            "entries": rows["counts"]["entries"],
            "http_in_bytes": http.there,
            "http_out_bytes": http.back,
            "postgres_in_bytes": postgres.there,
            "postgres_out_bytes": postgres.back,
            "nats_in_bytes": broker.there,
            "nats_out_bytes": broker.back,
            "wal_bytes": rows["wal"]["bytes"],
            "wal_whole_pages": rows["wal"]["whole_pages"],
            "wal_syncs": rows["syncs"]["syncs"],
            **{f"{name}_disk_bytes": value for name, value in rows["disk"].items()},
            "messages": feed.messages,
            "stream_bytes": feed.bytes,
            "bucket_bytes": bucket.bytes,
            "receiver_cpu_us": 1e6 * program.cpu_s,
            "postgres_cpu_us": 1e6 * processor_s(postgres_pid),
            "nats_cpu_us": 1e6 * processor_s(nats_pid),
        }

    async def _streams(self) -> tuple[Any, Any]:
        client = await nats.connect(self._servers.nats_url)
        try:
            return tuple(  # type: ignore[return-value]  # of two
                [(await client.jetstream().stream_info(name)).state for name in (STREAM, "KV_esc-state")]
            )
        finally:
            await client.close()


class Points:
    """Processor time and rate by workers, and how large the groups were."""

    def __init__(self, servers: Embedded, folder: Path) -> None:
        self._servers = servers
        self._folder = folder
        self._next = 0

    async def measure(self, workers: int) -> Figures:
        """The medians of some rounds."""
        dsn = await new_database(self._servers.postgres_dsn, f"points_{workers}")
        async with service(dsn, self._servers.nats_url, self._folder, workers) as program:
            await self._send(program, count=DEPLOYMENTS)
            await until_empty(dsn, timeout_s=DRAIN_TIMEOUT_S)
            rounds = [await self._round(dsn, program) for _ in range(ROUNDS)]
            memory = program.peak_bytes
        found = {name: round(median(one[name] for one in rounds), 6) for name in rounds[0]}
        return {"workers": workers, "connections": CONNECTIONS} | found | {"peak_mb": round(memory / MB)}

    async def _round(self, dsn: str, program: Program) -> Figures:
        pids = (program.pid, *self._servers.pids)
        before, began = [processor_s(pid) for pid in pids], _machine()
        batches, syncs = await _batches(program.port), await _syncs(dsn)
        heard = await self._send(program, seconds=ROUND_S)
        await until_empty(dsn, timeout_s=DRAIN_TIMEOUT_S)
        taken = [processor_s(pid) - was for pid, was in zip(pids, before, strict=True)]
        ours, ended = sum(taken) + heard.cpu_s, _machine()
        groups = [now - was for now, was in zip(await _batches(program.port), batches, strict=True)]
        synced = [now - was for now, was in zip(await _syncs(dsn), syncs, strict=True)]
        receiver, postgres, broker = (1e6 * one / heard.answered for one in taken)
        return {
            "rate": heard.rate,
            "p50_s": heard.p50_s,
            "receiver_us": receiver,
            "postgres_us": postgres,
            "nats_us": broker,
            "load_us": 1e6 * heard.cpu_s / heard.answered,
            "group": groups[0] / max(1, groups[1]),
            "sync_s": synced[1] / max(1, synced[0]),
            "others": max(0.0, ended[0] - began[0] - ours) / (ended[1] - began[1]),
        }

    async def _send(self, program: Program, *, seconds: float = 0.0, count: int = 0) -> Heard:
        load = Load(program.port, CONNECTIONS, DEPLOYMENTS, self._next, seconds, count)
        heard = Heard(**await ask("benchmarks.load", load))
        self._next += heard.answered
        return heard


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def _through(url: str, port: int) -> str:
    return url.replace(f":{_port(url)}", f":{port}")


def _machine() -> tuple[float, float]:
    """What all processors were busy, and were there, in seconds."""
    times = psutil.cpu_times()
    whole = sum(times[:8])
    return whole - times.idle - getattr(times, "iowait", 0.0), whole


async def _batches(port: int) -> tuple[float, float]:
    """Callbacks that were committed, and in how many groups."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        text = await answer.text()
    named = (re.search(rf"(?m)^esc_receiver_batch_callbacks_{end} (\S+)", text) for end in ("sum", "count"))
    callbacks, groups = (float(found[1]) if found else 0.0 for found in named)
    return callbacks, groups


async def _syncs(dsn: str) -> tuple[float, float]:
    connection = await asyncpg.connect(dsn)
    try:
        (row,) = await connection.fetch(statements("costs.sql")["syncs"])
    finally:
        await connection.close()
    return float(row["syncs"]), float(row["seconds"])


@asynccontextmanager
async def stand() -> AsyncIterator[Embedded]:
    """PostgreSQL and NATS of their own, as a stream is one database's; the former telling how long its disk takes."""
    async with Embedded() as servers:
        connection = await asyncpg.connect(servers.postgres_dsn)
        await connection.execute("ALTER SYSTEM SET track_wal_io_timing = on")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()
        yield servers


async def measured() -> Mapping[str, Any]:
    """All of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with stand() as servers:
            found: dict[str, Any] = {"bytes": await Bytes(servers, folder).measure(), "points": []}
        for workers in WORKERS:
            (folder / f"w{workers}").mkdir()
            async with stand() as servers:
                found["points"].append(await Points(servers, folder / f"w{workers}").measure(workers))
        async with Embedded() as servers:
            plan = Plan(rounds=1, seconds=0.5, feed_seconds=1, drained=8_000, connections=(32,), programs=(SERVICE,))
            results = await Comparison(plan, servers, folder, lambda _: None).run()
            found["relay_messages_per_s"] = round(results.drain_rate or 0)
    return found | {"machine": {"processors": os.cpu_count(), "load": [round(one, 1) for one in os.getloadavg()]}}


@click.command()
@click.option("--write", is_flag=True, help="Also write it where `esc-receiver size` finds it.")
def main(*, write: bool) -> None:
    """Measure what a callback costs."""
    text = orjson.dumps(asyncio.run(measured()), option=orjson.OPT_INDENT_2).decode() + "\n"
    click.echo(text, nl=False)
    if write:
        MEASURED.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
