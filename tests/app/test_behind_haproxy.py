"""Two receivers behind HAProxy, restarted one after the other as docs/operations.md says: no request fails."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from receiver.embedded.child_process import free_port
from tests.support.auditor import assert_ledger_is_whole
from tests.support.program import CHECKOUT, Load, Program, program
from tests.support.waiting import until

HAPROXY = shutil.which("haproxy") or "/usr/sbin/haproxy"
needs_haproxy = pytest.mark.skipif(
    not Path(HAPROXY).exists(), reason="no HAProxy on this machine (Debian: apt-get install haproxy)"
)
SHIPPED = (CHECKOUT / "packaging" / "haproxy.cfg").read_text("utf-8")


class Proxy:
    """A running HAProxy, and the commands of its socket."""

    def __init__(self, url: str, socket: Path) -> None:
        self.url = url
        self._socket = socket

    async def say(self, command: str) -> str:
        """One command of the recipe; HAProxy's answer."""
        reader, writer = await asyncio.open_unix_connection(str(self._socket))
        writer.write(f"{command}\n".encode())
        await writer.drain()
        said = (await reader.read()).decode().strip()
        writer.close()
        return said

    async def column(self, name: str, server: str) -> str:
        """A figure of `show stat` about one server."""
        head, *rows = (await self.say("show stat")).lstrip("# ").splitlines()
        names = head.split(",")
        row = next(row for row in rows if row.startswith(f"receivers,{server},")).split(",")
        return row[names.index(name)]

    async def until(self, name: str, server: str, value: str) -> None:
        """Wait until a figure is so."""

        async def is_so() -> bool:
            return (await self.column(name, server)).startswith(value)

        await until(is_so)


@asynccontextmanager
async def proxying(folder: Path, ports: tuple[int, int]) -> AsyncIterator[Proxy]:
    """The configuration that is shipped, on free ports and a socket of this test."""
    front, socket = free_port(), folder / "admin.sock"
    config = folder / "haproxy.cfg"
    text = SHIPPED.replace("/run/haproxy/admin.sock", str(socket)).replace("bind :9000", f"bind 127.0.0.1:{front}")
    config.write_text(
        text.replace("127.0.0.1:9011", f"127.0.0.1:{ports[0]}").replace("127.0.0.1:9012", f"127.0.0.1:{ports[1]}")
    )
    process = await asyncio.create_subprocess_exec(HAPROXY, "-db", "-f", str(config))
    try:

        async def listens() -> bool:
            return socket.exists()

        await until(listens)
        yield Proxy(f"http://127.0.0.1:{front}", socket)
    finally:
        process.terminate()
        await process.wait()


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
