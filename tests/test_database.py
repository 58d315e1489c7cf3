"""Connections to PostgreSQL that are lent for a time."""

from __future__ import annotations

import asyncio

from receiver.database import Database
from receiver.metrics import Metrics
from receiver.settings import Settings


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
