"""Connections to PostgreSQL that are lent for a time."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from receiver.config.settings import Settings
from receiver.observability.metrics import Metrics
from receiver.postgres.database import Database, cut_at
from receiver.postgres.driver_errors import CONNECTION_LOST


async def test_whoever_is_cancelled_hears_it_though_the_connection_broke(postgres_dsn: str) -> None:
    """asyncpg tells of the rollback that failed; taken for a broken connection, it would be tried again for ever."""
    database = Database(Settings(postgres_dsn=postgres_dsn), Metrics())
    await database.open()
    sleeping, connections = asyncio.Event(), []

    async def work() -> None:
        async with database.acquire() as connection, connection.transaction():
            connections.append(connection)
            sleeping.set()
            await connection.execute("SELECT pg_sleep(60)")

    task = asyncio.create_task(work())
    await sleeping.wait()
    task.cancel()
    connections[0].terminate()
    await asyncio.wait([task])
    assert task.cancelled()
    await database.close()


async def test_what_a_receiver_has_locked_is_let_go_when_nothing_is_heard_of_it(postgres_dsn: str) -> None:
    """It may be frozen, or its machine gone without a word; others must not wait for it for ever."""
    database = Database(Settings(postgres_dsn=postgres_dsn, postgres_silence_s=0.2), Metrics())
    await database.open()

    async def wait_for_the_silent_one() -> None:
        async with database.acquire() as silent, silent.transaction():
            await silent.fetchval("SELECT pg_advisory_xact_lock(1)")
            async with database.acquire() as other:
                await other.fetchval("SELECT pg_advisory_lock(1)")
                await other.fetchval("SELECT pg_advisory_unlock(1)")
            await silent.fetchval("SELECT 1")

    with pytest.raises(CONNECTION_LOST):
        await wait_for_the_silent_one()
    await database.close()


async def test_time_that_is_over_while_a_connection_goes_back_is_no_error(
    pool: asyncpg.Pool[asyncpg.Record],
) -> None:
    """It may be another's by then, so it is left alone."""
    loop, faults = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: faults.append(context))
    connection = await pool.acquire()
    with cut_at(loop.time() + 1, connection):
        await pool.release(connection)
        await asyncio.sleep(1.1)
    assert faults == []
    async with pool.acquire() as again:
        assert await again.fetchval("SELECT 1") == 1


async def test_what_was_given_up_ends_at_postgresql_too(postgres_dsn: str, connection: asyncpg.Connection[Any]) -> None:
    """A transaction that nobody waits for must not hold its locks against all attempts after it."""
    database = Database(Settings(postgres_dsn=postgres_dsn), Metrics())
    await database.open()
    with pytest.raises(TimeoutError):
        async with database.acquire(timeout_s=0.2) as given_up, given_up.transaction():
            await given_up.execute("SELECT pg_advisory_xact_lock(1), pg_sleep(600)")
    await connection.execute("SET lock_timeout = '30s'")
    await connection.execute("SELECT pg_advisory_lock(1)")
    await database.close()
