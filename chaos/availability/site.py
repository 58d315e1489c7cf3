"""All of it, running: etcd, PostgreSQL under Patroni, the cluster of nats-servers, two receivers, HAProxy.

Settings are the service's own defaults, but for what says where things are and how often they are kept. Must not know
what is done to them.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg

from chaos.availability.etcd import members
from chaos.availability.patroni import PostgresCluster
from chaos.cluster import NODES, Cluster
from chaos.plan import Plan
from chaos.process import Receiver
from chaos.stage import Connection, connected
from receiver.embedded.child_process import free_port
from tests.support.proxy import Proxy, proxying

DATABASE = "esc"
PROBE_DATABASE = "postgres"
FEED = "ESC"
RECEIVERS = 2
WORKERS = 2
OUTBOX_FEW = 100
"""Less than this waits in passing, with traffic running."""
DOWN = (asyncpg.PostgresError, asyncpg.InterfaceError, aiohttp.ClientError, OSError, TimeoutError)


class Site:
    """Made whole by `running`."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder
        self.plan = plan
        self.etcd = members(folder)
        self.nats = Cluster(folder / "nats")
        self.postgres: PostgresCluster
        self.receivers: list[Receiver] = []
        self.proxy: Proxy
        self.session: aiohttp.ClientSession
        self.taken: list[str] = []
        self.out_of_order: set[str] = set()

    @property
    def dsn(self) -> str:
        """Of whoever writes, past the receivers."""
        return self.postgres.dsn(DATABASE)

    @property
    def nats_url(self) -> str:
        """Of one node: of the streams, for the auditor."""
        return self.nats.nodes[0].url

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """To the database of whoever writes."""
        async with connected(self.dsn) as connection:
            yield connection

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Site]:
        """With all its parts, each of which is killed in the end."""
        async with AsyncExitStack() as undo:
            self.session = await undo.enter_async_context(aiohttp.ClientSession())
            for member in self.etcd:
                undo.push_async_callback(member.stop)
            await asyncio.gather(*(member.start() for member in self.etcd))
            self.postgres = PostgresCluster(self.folder, [member.address for member in self.etcd])
            for node in self.postgres.nodes:
                undo.push_async_callback(node.kill)
            await self.postgres.start()
            async with connected(self.postgres.dsn(PROBE_DATABASE)) as connection:
                await connection.execute(f"CREATE DATABASE {DATABASE}")
            await undo.enter_async_context(self.nats.running())
            self.receivers = [self._receiver(number) for number in range(1, RECEIVERS + 1)]
            for receiver in self.receivers:
                undo.push_async_callback(receiver.kill)
                await receiver.start()
            first, second = (receiver.port for receiver in self.receivers)
            self.proxy = await undo.enter_async_context(proxying(self.folder, (first, second)))
            yield self

    def thaw(self) -> None:
        """Whatever is frozen goes on."""
        for node in self.postgres.nodes:
            node.signal_all(signal.SIGCONT)
        for server in self.nats.nodes:
            self.nats.signal(server, signal.SIGCONT)

    async def faults(self) -> list[str]:
        """What is not as it should be just now, with traffic running."""
        found: list[str] = []
        if not await self.postgres.is_whole(self.session):
            found.append("PostgreSQL is not whole")
        standing = await self.nats.standing(FEED)
        followers = [peer for peer in standing.replicas or () if peer.current and not peer.offline]
        if not standing.leader or len(followers) < NODES - 1:
            found.append("the stream is not whole")
        for receiver in self.receivers:
            found += await self._faults_of(receiver)
        try:
            async with self.connection() as connection:
                waiting = await connection.fetchval("SELECT count(*) FROM outbox")
        except DOWN as error:
            return [*found, f"PostgreSQL: {error}"]
        return found + ([f"{waiting} messages wait in the outbox"] if waiting > OUTBOX_FEW else [])

    async def _faults_of(self, receiver: Receiver) -> list[str]:
        try:
            figures = await receiver.metrics(self.session)
        except DOWN as error:
            return [f"{receiver.name}: {error!r}"]
        if figures['mode{mode="direct"}'] != 1 or figures["spool_callbacks"]:
            return [f"{receiver.name}: {figures['spool_callbacks']} callbacks in the spool"]
        return []

    def _receiver(self, number: int) -> Receiver:
        settings = {
            "postgres_dsn": self.dsn, "nats_url": self.nats.url, "stream_replicas": NODES, "kv_replicas": NODES,
            "workers": WORKERS, "trusted_proxies": "127.0.0.1", "log_callbacks": "off",
        }  # fmt: skip
        name = f"receiver-{number}"
        return Receiver(name, self.folder / name, free_port(), settings)
