"""What each fault does, and how it is undone. Which, when and how long comes from the plan.

A fault may find its victim already down by another one: then there is nothing to do, and `told` says so.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

import aiohttp
import asyncpg
import psutil

from chaos.patience import until
from chaos.plan import Event
from chaos.process import Receiver
from chaos.stage import CONNECTIONS_MAX, Stage, connected
from chaos.wire import Wire
from receiver.child import Server

DOWN = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
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


async def strike(stage: Stage, event: Event, session: aiohttp.ClientSession) -> None:
    """Wait for its time, do it, undo it."""
    await asyncio.sleep(event.at_s)
    stage.told.append(str(event))
    try:
        await STRIKES[event.fault](stage, event)
    except DOWN as error:
        stage.told.append(f"{event.fault} found it down: {type(error).__name__}")


# The receiver.


def _victim(stage: Stage, event: Event) -> Receiver:
    return stage.receivers[event.draw % len(stage.receivers)]


async def _kill_receiver(stage: Stage, event: Event) -> None:
    receiver = _victim(stage, event)
    async with receiver.lock:
        await receiver.kill()
        await asyncio.sleep(event.for_s / 4)
        await receiver.start()


async def _kill_draining(stage: Stage, event: Event) -> None:
    """As soon as it takes callbacks from its spool."""
    receiver = _victim(stage, event)
    async with aiohttp.ClientSession() as session:
        try:
            await until(partial(_is_draining, receiver, session), stage.plan.duration_s)
        except TimeoutError:
            stage.told.append("kill-draining saw no draining")
    await _kill_receiver(stage, event)


async def _is_draining(receiver: Receiver, session: aiohttp.ClientSession) -> bool:
    try:
        return (await receiver.metrics(session, 0.5))["mode_draining"] == 1
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


async def _freeze_receiver(stage: Stage, event: Event) -> None:
    receiver = _victim(stage, event)
    async with receiver.lock:
        receiver.signal(signal.SIGSTOP)
        await asyncio.sleep(event.for_s)
        receiver.signal(signal.SIGCONT)


async def _term_receiver(stage: Stage, event: Event) -> None:
    receiver = _victim(stage, event)
    async with receiver.lock:
        await receiver.stop()
        await receiver.start()


async def _one_of_two_killed(stage: Stage, event: Event) -> None:
    """It does not come back before the end."""
    receiver = stage.receivers[1]
    async with receiver.lock:
        await receiver.kill()
        await asyncio.sleep(event.for_s)


# PostgreSQL and NATS.


def _killer(name: str) -> Strike:
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


def _freezer(name: str) -> Strike:
    async def freeze(stage: Stage, event: Event) -> None:
        server: Server = getattr(stage.world, name)
        async with stage.world.locks[name]:
            stage.world.signal(server, signal.SIGSTOP)
            try:
                await asyncio.sleep(event.for_s)
            finally:
                stage.world.signal(server, signal.SIGCONT)

    return freeze


async def _empty_nats(stage: Stage, event: Event) -> None:
    """It comes back without anything that it had acknowledged."""
    server = stage.world.nats
    async with stage.world.locks["nats"]:
        await _kill(stage, server)
        shutil.rmtree(server.folder / "jetstream", ignore_errors=True)
        await asyncio.sleep(event.for_s)
        await server.start()


async def _both_down(stage: Stage, event: Event) -> None:
    await asyncio.gather(_killer("postgres")(stage, event), _killer("nats")(stage, event))


async def _dark_start(stage: Stage, event: Event) -> None:
    """They were killed before the receiver was started (`darken`)."""
    async with stage.world.locks["postgres"], stage.world.locks["nats"]:
        await asyncio.sleep(event.for_s)
        await stage.world.heal()


async def darken(stage: Stage) -> None:
    """Nothing is there when the receiver starts."""
    for server in (stage.world.postgres, stage.world.nats):
        await _kill(stage, server)


async def _crash_postgres(stage: Stage, event: Event) -> None:
    """One session dies as if killed for want of memory: PostgreSQL ends all others, and recovers."""
    async with stage.connection() as connection:
        pid = await connection.fetchval(ANY_SESSION)
        if pid:
            psutil.Process(pid).kill()


async def _end_sessions(stage: Stage, event: Event) -> None:
    """Again and again."""
    until_s = asyncio.get_running_loop().time() + event.for_s
    async with stage.connection() as connection:
        while asyncio.get_running_loop().time() < until_s:
            await connection.execute(END_HALF)
            await asyncio.sleep(0.02 * (1 + event.draw % 5))


async def _no_connections(stage: Stage, event: Event) -> None:
    """All are taken by others, and the receiver's own are ended."""
    async with AsyncExitStack() as held, stage.connection() as connection:
        try:
            for _ in range(2 * CONNECTIONS_MAX):
                await connection.execute(END_ALL)
                await held.enter_async_context(connected(stage.dsn))
        except asyncpg.TooManyConnectionsError:
            await connection.execute(END_ALL)
        await asyncio.sleep(event.for_s)


async def _lock_table(stage: Stage, event: Event) -> None:
    table = TABLES[event.draw % len(TABLES)]
    await _locked(stage, event, f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")


async def _lock_rows(stage: Stage, event: Event) -> None:
    await _locked(stage, event, ROW_LOCKS[event.draw % len(ROW_LOCKS)])


async def _locked(stage: Stage, event: Event, statement: str) -> None:
    async with stage.connection() as connection, connection.transaction():
        await connection.execute(statement)
        await asyncio.sleep(event.for_s)


async def _postgres_disk_full(stage: Stage, event: Event) -> None:
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


async def _no_partitions(stage: Stage, event: Event) -> None:
    """Those that are empty are gone."""
    async with stage.connection() as connection, connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = '1s'; LOCK TABLE callbacks, transitions")
        for (table,) in await connection.fetch(PARTITIONS):
            if not await connection.fetchval(f"SELECT EXISTS (SELECT FROM {table})"):  # noqa: S608 - from the catalogue
                await connection.execute(f"DROP TABLE {table}")


# The wires.


def _on_wire(name: str, act: Callable[[Wire, Event], None], *, lasting: bool) -> Strike:
    async def do(stage: Stage, event: Event) -> None:
        wire: Wire = getattr(stage, name)
        act(wire, event)
        if lasting:
            await asyncio.sleep(event.for_s)
            wire.mend()

    return do


def _tear(wire: Wire, event: Event) -> None:
    wire.tear(event.draw % 20_000)


# The spool.


async def _spool_full(stage: Stage, event: Event) -> None:
    """Its ceiling is low from the start (`plan`)."""


async def _spool_disk_full(stage: Stage, event: Event) -> None:
    disk = stage.spool_disks[event.draw % len(stage.spool_disks)]
    if not disk.fillable:
        stage.told.append("spool-disk-full left out: no right to mount a small disk")
        return
    disk.fill()
    await asyncio.sleep(event.for_s)
    disk.free()


STRIKES: dict[str, Strike] = {
    "kill-receiver": _kill_receiver,
    "kill-draining": _kill_draining,
    "freeze-receiver": _freeze_receiver,
    "term-receiver": _term_receiver,
    "one-of-two-killed": _one_of_two_killed,
    "kill-postgres": _killer("postgres"),
    "crash-postgres": _crash_postgres,
    "freeze-postgres": _freezer("postgres"),
    "end-sessions": _end_sessions,
    "no-connections": _no_connections,
    "lock-table": _lock_table,
    "lock-rows": _lock_rows,
    "postgres-disk-full": _postgres_disk_full,
    "no-partitions": _no_partitions,
    "kill-nats": _killer("nats"),
    "empty-nats": _empty_nats,
    "freeze-nats": _freezer("nats"),
    "both-down": _both_down,
    "dark-start": _dark_start,
    "cut-postgres": _on_wire("to_postgres", lambda wire, _: wire.cut(), lasting=False),
    "tear-postgres": _on_wire("to_postgres", _tear, lasting=False),
    "stall-postgres": _on_wire("to_postgres", lambda wire, _: wire.stall(), lasting=True),
    "cut-nats": _on_wire("to_nats", lambda wire, _: wire.cut(), lasting=False),
    "tear-nats": _on_wire("to_nats", _tear, lasting=False),
    "stall-nats": _on_wire("to_nats", lambda wire, _: wire.stall(), lasting=True),
    "spool-full": _spool_full,
    "spool-disk-full": _spool_disk_full,
}
