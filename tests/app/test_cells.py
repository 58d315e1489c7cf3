"""Two cells behind HAProxy, one feed: a source is moved from one to the other while it sends (docs/cells.md#move)."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
from click.testing import CliRunner, Result

from esc_lab.simulator import SimulateOptions, Summary, simulate
from receiver.cli.main import main
from receiver.embedded.servers import EmbeddedNats
from receiver.errors import SetupError
from tests.app.test_behind_haproxy import needs_haproxy
from tests.app.test_rolling_upgrade import serving
from tests.support import feed
from tests.support.auditor import Connection, in_postgres, is_empty
from tests.support.program import CHECKOUT
from tests.support.proxy import Proxy, proxying
from tests.support.waiting import until

SHIPPED = (CHECKOUT / "packaging" / "haproxy-cells.cfg").read_text("utf-8")
FILE = """
[cells.cell-a]
sources = ["lab1", "lab3"]
[cells.cell-b]
sources = ["lab2"]
"""
BEFORE = 60
SWITCH = "echo 'set map {map} lab3 cell-b' | {python} {program} {socket}"
TELL = """
import socket, sys
proxy = socket.socket(socket.AF_UNIX)
proxy.connect(sys.argv[1])
proxy.sendall(sys.stdin.buffer.read())
proxy.recv(1000)
"""


def settings(cell: str, dsn: str, nats_url: str, file: Path) -> dict[str, Any]:
    """As docs/cells.md says."""
    return {
        "postgres_dsn": dsn, "nats_url": nats_url, "cell": cell, "cells_file": file, "stream_name": f"ESC-{cell}",
        "subject_prefix": f"esc.{cell}.v1", "kv_bucket": f"esc-state-{cell}", "trusted_proxies": "127.0.0.1",
        "sources": json.dumps({"lab1": {}, "lab2": {}, "lab3": {}}), "log_callbacks": "off", "relay_takeover_s": 0.2,
    }  # fmt: skip


async def run(*arguments: str, **environment: str) -> Result:
    """A command, in a thread of its own as it runs a loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, main, ["cells", *arguments], env=environment)


async def number(connection: Connection) -> int:
    """Of callbacks kept there."""
    found: int = await connection.fetchval("SELECT count(*) FROM callbacks WHERE source = 'lab3'")
    return found


@needs_haproxy
async def test_a_source_moves_while_it_sends(postgres_dsn: str, empty_postgres_dsn: str, tmp_path: Path) -> None:
    """Each callback is in one of the two, its numbers go on, the feed has each once, and states are the true ones."""
    file, places = tmp_path / "cells.toml", tmp_path / "cells.map"
    file.write_text(FILE)
    (tmp_path / "tell.py").write_text(TELL)
    async with AsyncExitStack() as stack:
        nats = await stack.enter_async_context(EmbeddedNats(tmp_path / "nats"))
        ports = []
        for cell, dsn in (("cell-a", postgres_dsn), ("cell-b", empty_postgres_dsn)):
            own = settings(cell, dsn, nats.url, file)
            _, url = await stack.enter_async_context(serving(sys.executable, CHECKOUT, tmp_path / cell, **own))
            ports.append(urlsplit(url).port or 0)
        here, there = [await asyncpg.connect(dsn) for dsn in (postgres_dsn, empty_postgres_dsn)]
        for connection in (here, there):
            stack.push_async_callback(connection.close)
        await until(lambda: _applied(nats, file, places))
        shipped = SHIPPED.replace("/etc/haproxy/cells.map", str(places))
        proxy = await stack.enter_async_context(proxying(tmp_path, (ports[0], ports[1]), shipped))
        await until(lambda: _both_up(proxy))
        sending = asyncio.create_task(_traffic(proxy.url))
        await until(lambda: _has(here, BEFORE))
        switch = SWITCH.format(
            map=places, python=sys.executable, program=tmp_path / "tell.py", socket=tmp_path / "admin.sock"
        )
        moved = await run("move", "lab3", "--from", postgres_dsn, "--to", empty_postgres_dsn, "--switch", switch)
        assert moved.exit_code == 0, (moved.output, moved.exception)
        summary = await sending
        assert not summary.surprises
        assert summary.audit_log is not None
        receipts = {one.receipt for one in summary.audit_log.receipts}
        await until(lambda: _all_kept(here, there, len(receipts)))
        for connection in (here, there):
            await until(lambda: is_empty(connection))  # noqa: B023 - awaited at once
        stored = [
            str(row["receipt"]) for one in (here, there) for row in await one.fetch("SELECT receipt FROM callbacks")
        ]
        assert len(stored) == len(set(stored))
        assert set(stored) == receipts
        assert await number(there) > 0
        await _assert_feed(nats, here, there)
        actual = await in_postgres(there)
        actual.pop("outcomes")
        assert summary.audit_log.expected.check({**actual, "outcomes": await _outcomes(here, there)}) == []
        again = await run("move", "lab3", "--from", postgres_dsn, "--to", empty_postgres_dsn, "--switch", "true")
        assert isinstance(again.exception, SystemExit | SetupError)
        assert "the other cell has operations of source lab3 already" in f"{again.output}{again.exception}"


async def _traffic(url: str) -> Summary:
    return await simulate(
        SimulateOptions(
            target=url, sources=("lab3",), seed=3, deployments=6, operations=6, rate=40.0, keep_audit_log=True
        )
    )


async def _applied(nats: EmbeddedNats, file: Path, places: Path) -> bool:
    done = await run("apply", str(file), "--map", str(places), ESC_RECEIVER_NATS_URL=nats.url)
    return done.exit_code in {0, 1} and places.exists()


async def _both_up(proxy: Proxy) -> bool:
    said = await proxy.say("show stat")
    return all(f",{'UP'}" in line for line in said.splitlines() if line.startswith(("cell-a,r1,", "cell-b,r1,")))


async def _has(connection: Connection, least: int) -> bool:
    return await number(connection) >= least


async def _all_kept(here: Connection, there: Connection, all_of_them: int) -> bool:
    return await number(here) + await number(there) >= all_of_them


async def _outcomes(here: Connection, there: Connection) -> dict[str, int]:
    outcomes: dict[str, int] = defaultdict(int)
    for connection in (here, there):
        for outcome, times in (await in_postgres(connection))["outcomes"].items():
            outcomes[outcome] += times
    return dict(outcomes)


async def _assert_feed(nats: EmbeddedNats, here: Connection, there: Connection) -> None:
    """Every ledger entry of both once, and of each entity in the order 1, 2, 3 …"""
    ledger = {row["id"]: row for one in (here, there) for row in await one.fetch("SELECT * FROM transitions")}

    async def is_whole() -> bool:
        return len(await feed.stored(nats.url)) >= len(ledger)

    await until(is_whole)
    messages = await feed.stored(nats.url)
    assert [one.id for one in messages if one.id not in ledger] == []
    assert len(messages) == len(ledger)
    numbers: dict[UUID, list[int]] = defaultdict(list)
    for message in messages:
        assert message.subject.startswith("esc.v1.")
        numbers[ledger[message.id]["entity_id"]].append(message.event["sequence"])
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())
