"""What is done to PostgreSQL and to NATS, and how it is undone.

Which, when and how long comes from the plan. Must not know the receivers.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import asyncpg
import psutil
from nats.errors import Error as NatsError

from chaos.plan import Event
from chaos.stage import Stage, connected
from receiver.embedded.child_process import Server

DOWN = (asyncpg.PostgresError, asyncpg.InterfaceError, NatsError, OSError, TimeoutError)
FEED = "ESC"
TABLES = ("callbacks", "deployments", "operations", "vms", "transitions", "outbox", "relay")
SESSIONS = "pg_stat_activity WHERE datname = current_database() AND application_name <> 'chaos'"
END_HALF = f"SELECT pg_terminate_backend(pid) FROM {SESSIONS} AND random() < 0.5"  # noqa: S608 - from above
END_ALL = f"SELECT pg_terminate_backend(pid) FROM {SESSIONS}"  # noqa: S608 - from above
ANY_SESSION = f"SELECT pid FROM {SESSIONS} ORDER BY random() LIMIT 1"  # noqa: S608 - from above
ROW_LOCKS = ("SELECT FROM operations FOR UPDATE", "SELECT FROM deployments FOR UPDATE", "SELECT FROM relay FOR UPDATE")
PARTITIONS = (
    "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = ANY('{callbacks,transitions}'::regclass[])"
)

Strike = Callable[[Stage, Event], Awaitable[None]]


def killer(name: str) -> Strike:
    """Of the server with this name: as `kill -9`, and started again."""

    async def kill(stage: Stage, event: Event) -> None:
        server: Server = getattr(stage.world, name)
        async with stage.world.locks[name]:
            await _kill(stage, server)
            await asyncio.sleep(event.for_s)
            await server.start()

    return kill


async def _kill(stage: Stage, server: Server) -> None:
    for process in stage.world.processes(server)[:1]:
        process.kill()
    await server.ended()


def freezer(name: str) -> Strike:
    """Of the server with this name: stopped for a while, and let go on."""

    async def freeze(stage: Stage, event: Event) -> None:
        server: Server = getattr(stage.world, name)
        async with stage.world.locks[name]:
            stage.world.signal(server, signal.SIGSTOP)
            try:
                await asyncio.sleep(event.for_s)
            finally:
                stage.world.signal(server, signal.SIGCONT)

    return freeze


async def empty_nats(stage: Stage, event: Event) -> None:
    """It comes back without anything that it had acknowledged."""
    server = stage.world.nats
    async with stage.world.locks["nats"]:
        await _kill(stage, server)
        shutil.rmtree(server.folder / "jetstream", ignore_errors=True)
        await asyncio.sleep(event.for_s)
        await server.start()


async def kill_nats_leader(stage: Stage, event: Event) -> None:
    """Of the feed's stream, in a cluster of three; the others elect another."""
    assert stage.cluster is not None  # as planned
    killed = await stage.cluster.kill_leader(FEED)
    if killed is None:
        stage.told.append("kill-nats-leader found no leader")
        return
    await asyncio.sleep(event.for_s)
    await killed.start()


async def fail_over(stage: Stage, event: Event) -> None:
    """The primary is killed, or falls silent; the synchronous standby takes its place."""
    assert stage.pair is not None  # as planned
    await stage.pair.fail_over(silently=bool(event.draw % 2))


async def silent_host(stage: Stage, event: Event) -> None:
    """It is the first in the DSN from the start (`stage`)."""


async def both_down(stage: Stage, event: Event) -> None:
    """PostgreSQL and NATS are killed, and started again."""
    await asyncio.gather(killer("postgres")(stage, event), killer("nats")(stage, event))


async def dark_start(stage: Stage, event: Event) -> None:
    """They were killed before the receiver was started (`darken`)."""
    async with stage.world.locks["postgres"], stage.world.locks["nats"]:
        await asyncio.sleep(event.for_s)
        await stage.world.heal()


async def darken(stage: Stage) -> None:
    """Nothing is there when the receiver starts."""
    for server in (stage.world.postgres, stage.world.nats):
        await _kill(stage, server)


async def crash_postgres(stage: Stage, event: Event) -> None:
    """One session dies as if killed for want of memory: PostgreSQL ends all others, and recovers."""
    async with stage.connection() as connection:
        pid = await connection.fetchval(ANY_SESSION)
        if pid:
            psutil.Process(pid).kill()


async def end_sessions(stage: Stage, event: Event) -> None:
    """Again and again."""
    until_s = asyncio.get_running_loop().time() + event.for_s
    async with stage.connection() as connection:
        while asyncio.get_running_loop().time() < until_s:
            await connection.execute(END_HALF)
            await asyncio.sleep(0.02 * (1 + event.draw % 5))


async def no_connections(stage: Stage, event: Event) -> None:
    """All are taken by others, and the receiver's own are ended."""
    async with AsyncExitStack() as held, stage.connection() as connection:
        try:
            for _ in range(2 * stage.world.connections_max):
                await connection.execute(END_ALL)
                await held.enter_async_context(connected(stage.dsn))
        except asyncpg.TooManyConnectionsError:
            await connection.execute(END_ALL)
        await asyncio.sleep(event.for_s)


async def lock_table(stage: Stage, event: Event) -> None:
    """Somebody has one of our tables to himself."""
    table = TABLES[event.draw % len(TABLES)]
    await _locked(stage, event, f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")


async def lock_rows(stage: Stage, event: Event) -> None:
    """Somebody has all rows of a table to himself."""
    await _locked(stage, event, ROW_LOCKS[event.draw % len(ROW_LOCKS)])


async def _locked(stage: Stage, event: Event, statement: str) -> None:
    async with stage.connection() as connection, connection.transaction():
        await connection.execute(statement)
        await asyncio.sleep(event.for_s)


async def postgres_disk_full(stage: Stage, event: Event) -> None:
    """Also for its log, when so drawn: then it goes down until there is room."""
    world = stage.world
    if not world.postgres_disk.fillable:
        stage.told.append("postgres-disk-full left out: no right to mount a small disk")
        return
    async with world.locks["postgres"]:
        try:
            world.postgres_disk.fill()
            if event.draw % 2:
                await _use_up_log(stage)
            await asyncio.sleep(event.for_s)
        finally:
            world.postgres_disk.free()
            await world.heal_postgres()


async def _use_up_log(stage: Stage) -> None:
    try:
        async with stage.connection() as connection:
            for _ in range(20):
                await connection.execute("SELECT pg_logical_emit_message(false, 'chaos', 'x'), pg_switch_wal()")
    except DOWN as error:
        stage.told.append(f"no room for the log: {error}")


async def no_partitions(stage: Stage, event: Event) -> None:
    """Those that are empty are gone."""
    async with stage.connection() as connection, connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = '1s'; LOCK TABLE callbacks, transitions")
        for (table,) in await connection.fetch(PARTITIONS):
            if not await connection.fetchval(f"SELECT EXISTS (SELECT FROM {table})"):  # noqa: S608 - from the catalogue
                await connection.execute(f"DROP TABLE {table}")
