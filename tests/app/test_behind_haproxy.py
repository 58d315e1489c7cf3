"""Two receivers behind HAProxy, restarted one after the other as docs/operations.md says: no request fails."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from receiver.embedded.child_process import free_port
from tests.support.auditor import assert_ledger_is_whole
from tests.support.crew import under_load
from tests.support.program import Load, Program, program
from tests.support.proxy import HAPROXY, proxying

needs_haproxy = pytest.mark.skipif(
    not Path(HAPROXY).exists(), reason="no HAProxy on this machine (Debian: apt-get install haproxy)"
)
RELOADS, SENDERS = 6, 48


async def started(stack: AsyncExitStack, folder: Path, port: int, **settings: object) -> Program:
    """A receiver that keeps callbacks in PostgreSQL; its log is read to its end."""
    running = await stack.enter_async_context(
        program("serve", data_dir=folder, port=port, log_callbacks="off", **settings)
    )
    await running.says('"mode": "direct"')
    return running


@needs_haproxy
async def test_receivers_are_restarted_one_after_the_other_without_a_failed_request(
    postgres_dsn: str, nats_url: str, tmp_path: Path
) -> None:
    """Drain, wait for its last session, stop, start, ready: first one, then the other, under load."""
    ports = (free_port(), free_port())
    where = {"postgres_dsn": postgres_dsn, "nats_url": nats_url, "trusted_proxies": "127.0.0.1"}
    async with AsyncExitStack() as stack:
        receivers = [await started(stack, tmp_path / f"r{n}", port, **where) for n, port in enumerate(ports, 1)]
        proxy = await stack.enter_async_context(proxying(tmp_path, ports))
        for server in ("r1", "r2"):
            await proxy.until("status", server, "UP")
        load = Load(proxy.url)
        sending = asyncio.create_task(load.send(senders=8, enough=100))
        await load.enough.wait()
        for number, server in enumerate(("r1", "r2")):
            await proxy.say(f"set server receivers/{server} state drain")
            await proxy.until("scur", server, "0")
            receivers[number].signal(signal.SIGTERM)
            assert await receivers[number].ended() == 0
            receivers[number] = await started(stack, tmp_path / server, ports[number], **where)
            await proxy.say(f"set server receivers/{server} state ready")
            await proxy.until("status", server, "UP")
        load.stop.set()
        await sending
        assert load.failed == []
        assert load.refused == 0
        async with aiohttp.ClientSession(proxy.url) as session, session.get("/readyz") as answer:
            assert answer.status == 200
    connection = await asyncpg.connect(postgres_dsn)
    stored = {str(row["receipt"]) for row in await connection.fetch("SELECT receipt FROM callbacks")}
    assert load.receipts == stored
    await assert_ledger_is_whole(connection)
    await connection.close()


@needs_haproxy
async def test_a_reload_of_haproxy_fails_no_request(postgres_dsn: str, nats_url: str, tmp_path: Path) -> None:
    """Also not one that is on its way over a connection that the former process keeps."""
    ports = (free_port(), free_port())
    async with AsyncExitStack() as stack:
        where = {"postgres_dsn": postgres_dsn, "nats_url": nats_url, "trusted_proxies": "127.0.0.1"}
        await started(stack, tmp_path / "r1", ports[0], **where)
        proxy = await stack.enter_async_context(proxying(tmp_path, ports))
        await proxy.until("status", "r1", "UP")
        sending = await stack.enter_async_context(under_load(proxy.url, keeping=True, senders=SENDERS))
        for number in range(1, RELOADS + 1):
            await sending.until(number * 3 * SENDERS)
            proxy.reload()
        await sending.until((RELOADS + 1) * 3 * SENDERS)
    assert sending.failed == []
