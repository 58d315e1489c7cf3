"""What a run happens on: PostgreSQL, NATS, the wires to them, a fresh database, and the receivers.

The servers outlive a run (to make them takes seconds); a database and the streams do not.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import asyncpg
import nats
import psutil

from chaos.cluster import NODES, Cluster
from chaos.disk import Disk
from chaos.pair import Pair
from chaos.plan import Plan
from chaos.process import Receiver
from chaos.wire import Wire
from receiver.embedded.child_process import Server, free_port
from receiver.embedded.servers import EmbeddedNats, EmbeddedPostgres
from receiver.postgres.migrations import migrate

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

TEMPLATE = "template_of_chaos"
CONNECTIONS_MAX = 20
"""Of PostgreSQL, for each worker of a receiver."""
POSTGRES_OPTIONS = {
    "superuser_reserved_connections": "0",
    "max_wal_size": "128MB",
    "shared_buffers": "32MB",
}
POSTGRES_DISK_MB = 640
SPOOL_DISK_MB = 24
PATIENCE_S = 30.0
QUICK: Mapping[str, object] = {
    "commit_timeout_s": 1, "postgres_connect_timeout_s": 1, "commit_retry_s": 0.05, "drain_retry_s": 0.1,
    "drain_retry_max_s": 0.3, "spool_retry_s": 0.1, "nats_connect_timeout_s": 1, "publish_timeout_s": 1,
    "relay_takeover_s": 0.3, "relay_sweep_s": 0.5, "stream_duplicate_window_s": 1, "stop_timeout_s": 5,
    "ping_timeout_s": 1, "partition_lock_timeout_s": 0.5, "clock_ahead_max_s": 1_000_000, "log_flush_timeout_s": 20,
}  # fmt: skip
"""A run takes seconds, so what takes seconds by default must be quicker in it."""


class World:
    """The servers, for one run after the other."""

    def __init__(self, folder: Path, workers: int = 1) -> None:
        self.folder = folder
        self.connections_max = workers * CONNECTIONS_MAX
        self.postgres_disk = Disk(folder / "postgres-disk", POSTGRES_DISK_MB)
        options = POSTGRES_OPTIONS | {"max_connections": str(self.connections_max)}
        self.postgres = EmbeddedPostgres(self.postgres_disk.folder / "postgres", options=options)
        self.nats = EmbeddedNats(folder / "nats")
        self.locks: dict[str, asyncio.Lock] = {"postgres": asyncio.Lock(), "nats": asyncio.Lock()}
        """For whoever changes whether a server runs."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[World]:
        """With a migrated database to be cloned."""
        async with AsyncExitStack() as undo:
            await undo.enter_async_context(self.postgres_disk.mounted())
            await undo.enter_async_context(self.postgres)
            await undo.enter_async_context(self.nats)
            undo.push_async_callback(self.heal)
            async with self.administrator() as connection:
                await connection.execute(f"CREATE DATABASE {TEMPLATE}")
            async with connected(database_dsn(self.postgres.dsn, TEMPLATE)) as connection:
                await migrate(connection)
            yield self

    @asynccontextmanager
    async def administrator(self) -> AsyncIterator[Connection]:
        """A connection past all wires."""
        async with connected(self.postgres.dsn) as connection:
            yield connection

    def processes(self, server: Server) -> list[psutil.Process]:
        """A server's processes, the first one first."""
        with suppress(psutil.NoSuchProcess):
            first = psutil.Process(server.pid)
            return [first, *first.children(recursive=True)]
        return []

    def signal(self, server: Server, number: signal.Signals) -> None:
        """To all of its processes."""
        for process in self.processes(server):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    async def heal(self) -> None:
        """Both servers run and answer."""
        await self.heal_postgres()
        self.signal(self.nats, signal.SIGCONT)
        if self._has_ended(self.nats):
            await self.nats.start()

    async def heal_postgres(self) -> None:
        """It has room, runs and answers."""
        self.postgres_disk.free()
        self.signal(self.postgres, signal.SIGCONT)
        async with asyncio.timeout(PATIENCE_S):
            while not await self._postgres_answers():
                if self._has_ended(self.postgres):
                    await self.postgres.start()
                await asyncio.sleep(0.05)

    def _has_ended(self, server: Server) -> bool:
        processes = self.processes(server)
        return not processes or processes[0].status() == psutil.STATUS_ZOMBIE

    async def _postgres_answers(self) -> bool:
        try:
            async with self.administrator() as connection:
                return bool(await connection.fetchval("SELECT NOT pg_is_in_recovery()"))
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            return False


class Stage:
    """One run's database, wires and receivers."""

    def __init__(self, world: World, plan: Plan, folder: Path) -> None:
        self.world = world
        self.plan = plan
        self.folder = folder
        self.database = f"seed_{plan.seed}"
        self.to_postgres = Wire(lambda: world.postgres.port)
        self.to_nats = Wire(lambda: world.nats.port)
        self.spool_disks = [
            Disk(folder / f"spool-{number}", plan.workers * SPOOL_DISK_MB) for number in range(plan.receivers)
        ]
        self.silent_host = Wire(lambda: world.postgres.port)
        """One that takes connections and says nothing, named before PostgreSQL."""
        self.pair = Pair(folder / "pair") if plan.has("fail-over") else None
        self.cluster = Cluster(folder / "cluster") if plan.has("kill-nats-leader") else None
        self.receivers: list[Receiver] = []
        self.other: Receiver | None = None
        """With a database of its own, on the same NATS."""
        self.told: list[str] = []
        """What was done, and when."""
        self.taken: list[str] = []
        """Ids of messages that a strike took out of the stream."""
        self.out_of_order: set[str] = set()
        """Of those, what comes late because nobody could know at once that it was gone."""

    @property
    def dsn(self) -> str:
        """Of the run's database, past all wires."""
        return self.pair.dsn if self.pair else database_dsn(self.world.postgres.dsn, self.database)

    @property
    def nats_url(self) -> str:
        """Of the run's streams, past all wires."""
        return self.cluster.nodes[0].url if self.cluster else self.world.nats.url

    @asynccontextmanager
    async def set(self) -> AsyncIterator[Stage]:
        """All but the receivers, which are not started yet; in the end nothing is left of it."""
        async with AsyncExitStack() as undo:
            async with self.world.administrator() as connection:
                await connection.execute(f"DROP DATABASE IF EXISTS {self.database} WITH (FORCE)")
                await connection.execute(f"CREATE DATABASE {self.database} TEMPLATE {TEMPLATE}")
                if self.plan.has("two-databases"):
                    await connection.execute(f"DROP DATABASE IF EXISTS {self.database}_other WITH (FORCE)")
                    await connection.execute(f"CREATE DATABASE {self.database}_other TEMPLATE {TEMPLATE}")
                    async with connected(database_dsn(self.world.postgres.dsn, f"{self.database}_other")) as other:
                        await other.execute("UPDATE relay SET database_id = gen_random_uuid()")  # it is no copy
            undo.push_async_callback(self._strike)
            if self.pair:
                await undo.enter_async_context(self.pair.running())
            if self.cluster:
                await undo.enter_async_context(self.cluster.running())
            for disk in self.spool_disks:
                await undo.enter_async_context(disk.mounted())
            for wire in (self.to_postgres, self.to_nats, self.silent_host):
                await undo.enter_async_context(wire.laid())
            self.silent_host.stall()
            self.receivers = [self._receiver(number) for number in range(self.plan.receivers)]
            if self.plan.has("two-databases"):
                self.other = self._other()
            for receiver in filter(None, (*self.receivers, self.other)):
                undo.push_async_callback(receiver.kill)
            yield self

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """To the run's database, past all wires."""
        async with connected(self.dsn) as connection:
            yield connection

    async def heal(self) -> None:
        """Everything that runs, runs again."""
        for wire in (self.to_postgres, self.to_nats):
            wire.mend()
        for disk in self.spool_disks:
            disk.free()
        await self.world.heal()
        if self.cluster:
            await self.cluster.heal()
        for receiver in self.receivers:
            if receiver.running:
                receiver.signal_all(signal.SIGCONT)
            else:
                await receiver.start()

    def _receiver(self, number: int) -> Receiver:
        copies = NODES if self.cluster else 1
        settings = {
            "postgres_dsn": self._dsn_to_use(), "nats_url": self._nats_url_to_use(), "stream_replicas": copies,
            "kv_replicas": copies, "spool_dir": self.spool_disks[number].folder / "spool",
        } | dict(QUICK) | dict(self.plan.settings)  # fmt: skip
        name, own_clock = f"receiver-{number}", self.plan.has("clock-back")
        return Receiver(name, self.folder / name, free_port(), settings, own_clock=own_clock)

    def _other(self) -> Receiver:
        """It has the same stream, or the same subjects."""
        apart = {"stream_name": "OTHER", "kv_bucket": "other"} if self.plan.seed % 2 else {}
        folder = self.folder / "other"
        settings = {
            "postgres_dsn": database_dsn(self.world.postgres.dsn, f"{self.database}_other"),
            "nats_url": self.world.nats.url, "spool_dir": folder / "spool",
        } | dict(QUICK) | apart  # fmt: skip
        return Receiver("other", folder, free_port(), settings)

    def _dsn_to_use(self) -> str:
        """A receiver's: through the wire, or of both of a pair."""
        if self.pair:
            return self.pair.both
        hosts = f"127.0.0.1:{self.to_postgres.port}"
        if self.plan.has("silent-host"):
            hosts = f"127.0.0.1:{self.silent_host.port},{hosts}"
        return self.dsn.replace(f"127.0.0.1:{self.world.postgres.port}/", f"{hosts}/")

    def _nats_url_to_use(self) -> str:
        if self.cluster:
            return self.cluster.url
        return self.world.nats.url.replace(f":{self.world.nats.port}", f":{self.to_nats.port}")

    async def _strike(self) -> None:
        await self.world.heal()
        async with self.world.administrator() as connection:
            await connection.execute(f"DROP DATABASE {self.database} WITH (FORCE)")
            await connection.execute(f"DROP DATABASE IF EXISTS {self.database}_other WITH (FORCE)")
        client = await nats.connect(self.world.nats.url)
        jetstream = client.jetstream()
        for stream in await jetstream.streams_info():
            await jetstream.delete_stream(stream.config.name or "")
        await client.close()


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Connection]:
    """A connection for a short while."""
    connection = await asyncpg.connect(dsn, timeout=5, server_settings={"application_name": "chaos"})
    try:
        yield connection
    finally:
        connection.terminate()


def database_dsn(dsn: str, database: str) -> str:
    """The same server, another database."""
    return urlsplit(dsn)._replace(path=f"/{database}").geturl()
