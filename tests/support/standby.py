"""A synchronous streaming standby beside an embedded PostgreSQL, for whoever fails over to it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from pwd import struct_passwd

import asyncpg

from receiver.embedded.child_process import Child, free_port, listens
from receiver.embedded.servers import EmbeddedPostgres, _account, _give, _within_reach, bundled_postgres

IN_SYNC = "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')"
PATIENCE_S = 30


async def demand_standby(connection: asyncpg.Connection[asyncpg.Record], name: str) -> None:
    """From now on every commit waits for the standby of this name; none waits when it is empty."""
    await connection.execute("SET synchronous_commit = local")
    await connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
    await connection.execute("SELECT pg_reload_conf()")


@asynccontextmanager
async def standby_of(primary: EmbeddedPostgres, folder: Path) -> AsyncIterator[int]:
    """A streaming standby named `standby`; its port."""
    folder.mkdir(mode=0o711)
    account = _account(folder)
    programs = _within_reach(bundled_postgres(), folder, account)
    data, port = folder / "data", free_port()
    data.mkdir(mode=0o700)
    _give(data, account)
    source = f"{primary.dsn}?application_name=standby"
    command: list[str | Path] = [programs / "pg_basebackup", "-D", data, "-d", source, "-R", "-c", "fast"]
    assert await (await Child.spawn(command, log=folder / "log", account=account)).ended() == 0
    server = await started(programs, data, port, account)
    try:
        yield port
    finally:
        await server.stop(patience_s=PATIENCE_S)
        shutil.rmtree(data)


async def started(programs: Path, data: Path, port: int, account: struct_passwd | None) -> Child:
    """PostgreSQL on an existing folder."""
    options = (f"--port={port}", "--listen_addresses=127.0.0.1", "--unix_socket_directories=")
    server = await Child.spawn([programs / "postgres", "-D", data, *options], log=data.parent / "log", account=account)
    assert await server.until(partial(listens, port), timeout_s=PATIENCE_S), server.failure_line()
    return server
