"""The query API's way to PostgreSQL: connections of its own that can only read, and only for a while.

The writer's sessions are tuned for its few statements; these let PostgreSQL see the values of each question. What
goes wrong comes out as UnavailableError. This file must not know any statement.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg

from receiver.api.api_errors import UnavailableError
from receiver.config.settings import Settings
from receiver.errors import SettingsError
from receiver.postgres.database import cut_at, do_not_reset
from receiver.postgres.driver_errors import CONNECTION_LOST, UNUSABLE
from receiver.postgres.hosts import Hosts
from receiver.postgres.store import set_json_codec

TROUBLE = (*UNUSABLE, *CONNECTION_LOST)
"""What the driver raises when PostgreSQL cannot be asked."""
SESSION = {
    "application_name": "esc-receiver-query",
    "default_transaction_read_only": "on",
    "jit": "off",
    "plan_cache_mode": "force_custom_plan",
    "enable_seqscan": "off",
}
"""A reading session's settings. Tables are read by indexes, also while they are so small that nobody would mind."""


CUT_AFTER_S = 1.0
"""So much longer than PostgreSQL has, before its silence is taken for a broken connection."""


class Snapshot:
    """One reading transaction: all its questions see the same moment."""

    def __init__(self, connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> None:
        self._connection = connection

    async def rows(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        """All rows."""
        return await self._connection.fetch(sql, *values)

    async def row(self, sql: str, *values: Any) -> asyncpg.Record | None:
        """The first row."""
        return await self._connection.fetchrow(sql, *values)


class Reader:
    """A pool of reading connections, which connects when it is used."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def open(self) -> None:
        """Make the pool. Raises SettingsError for a DSN that is none."""
        settings = self._settings
        session = {**SESSION, "statement_timeout": str(round(settings.query_timeout_s * 1000))}
        # A reader that hangs between two questions would hold back vacuum.
        session["idle_in_transaction_session_timeout"] = session["statement_timeout"]
        try:
            self._pool = await asyncpg.create_pool(
                settings.postgres_dsn, min_size=0, max_size=settings.query_pool_size, init=set_json_codec,
                connect=Hosts(settings.postgres_dsn, settings.postgres_connect_timeout_s).connect,
                server_settings=session, reset=do_not_reset,
            )  # fmt: skip
        except (asyncpg.ClientConfigurationError, ValueError) as error:
            raise SettingsError(f"ESC_RECEIVER_POSTGRES_DSN: {error}") from error

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """One moment of the database. Raises UnavailableError."""
        async with self._connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
            yield Snapshot(connection)

    async def rows(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        """The rows of one question that needs no transaction. Raises UnavailableError."""
        async with self._connection() as connection:
            return await connection.fetch(sql, *values)

    async def row(self, sql: str, *values: Any) -> asyncpg.Record | None:
        """The first of these rows. Raises UnavailableError."""
        rows = await self.rows(sql, *values)
        return rows[0] if rows else None

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy[asyncpg.Record]]:
        """A connection for as long as a question may take; then it is cut, as PostgreSQL ought to have ended it."""
        assert self._pool is not None  # opened
        timeout_s = self._settings.query_timeout_s
        with _ours(timeout_s):
            async with asyncio.timeout(timeout_s):
                connection = await self._pool.acquire()
            with cut_at(asyncio.get_running_loop().time() + timeout_s + CUT_AFTER_S, connection):
                try:
                    yield connection
                finally:
                    await self._pool.release(connection)

    def close(self) -> None:
        """Drop all connections."""
        if self._pool is not None:
            self._pool.terminate()


@contextmanager
def _ours(timeout_s: float) -> Iterator[None]:
    """The driver's errors as ours. A fault of our own, such as a wrong statement, stays what it is."""
    try:
        yield
    except (TimeoutError, asyncpg.QueryCanceledError) as error:
        raise UnavailableError(f"PostgreSQL did not answer within query_timeout_s ({timeout_s:g} s)") from error
    except (asyncpg.SyntaxOrAccessError, asyncpg.DataError) as error:
        if not isinstance(error, asyncpg.UndefinedTableError | asyncpg.UndefinedColumnError):
            raise
        raise UnavailableError("the schema is not up to date yet") from error
    except TROUBLE as error:
        raise UnavailableError("PostgreSQL cannot be asked now") from error
