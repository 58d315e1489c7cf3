"""The query API's connections to PostgreSQL: a pool of its own, read-only, each request with a time limit.

The writer's sessions are tuned for its few statements; here PostgreSQL plans with the values of each request. Errors
of the driver become UnavailableError.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import asyncpg

from receiver.api.api_errors import UnavailableError
from receiver.api.row_shapes import sql
from receiver.config.settings import Settings
from receiver.errors import SettingsError
from receiver.postgres.database import cut_at, do_not_reset
from receiver.postgres.driver_errors import UNUSABLE
from receiver.postgres.hosts import Hosts
from receiver.postgres.session import Connection, set_up

SESSION = {
    "application_name": "esc-receiver-query",
    "default_transaction_read_only": "on",
    "jit": "off",
    "plan_cache_mode": "force_custom_plan",
    "enable_seqscan": "off",  # small tables are read by their indexes too
}
CUT_AFTER_S = 1.0
"""How long after its statement timeout a silent PostgreSQL is taken for a broken connection."""


class Statements(ABC):
    """Runs statements, by name those of `api.sql`."""

    _sql: Mapping[str, str]

    @abstractmethod
    async def fetch(self, text: str, *values: Any) -> list[asyncpg.Record]:
        """All rows of an SQL text."""

    async def rows(self, name: str, *values: Any) -> list[asyncpg.Record]:
        """All rows of a named statement."""
        return await self.fetch(self._sql[name], *values)

    async def row(self, name: str, *values: Any) -> asyncpg.Record | None:
        """The first of these rows."""
        rows = await self.rows(name, *values)
        return rows[0] if rows else None


class Snapshot(Statements):
    """A transaction: all its statements see the same moment."""

    def __init__(self, connection: Connection, sql: Mapping[str, str]) -> None:
        self._connection = connection
        self._sql = sql

    async def fetch(self, text: str, *values: Any) -> list[asyncpg.Record]:
        """All rows of an SQL text."""
        return await self._connection.fetch(text, *values)


class Reader(Statements):
    """The pool. All methods that read raise UnavailableError."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sql = sql()
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def open(self) -> None:
        """Make the pool; it connects when it is used. Raises SettingsError for a DSN that is none."""
        settings = self._settings
        session = {**SESSION, "statement_timeout": str(round(settings.query_timeout_s * 1000))}
        # A reader that hangs between two statements would hold back vacuum.
        session["idle_in_transaction_session_timeout"] = session["statement_timeout"]
        try:
            self._pool = await asyncpg.create_pool(
                settings.postgres_dsn, min_size=0, max_size=settings.query_pool_size,
                init=partial(set_up, settings=session),
                connect=Hosts(settings.postgres_dsn, settings.postgres_connect_timeout_s).connect,
                reset=do_not_reset,
            )  # fmt: skip
        except (asyncpg.ClientConfigurationError, ValueError) as error:
            raise SettingsError(f"ESC_RECEIVER_POSTGRES_DSN: {error}") from error

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """One moment of the database."""
        async with self._connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
            yield Snapshot(connection, self._sql)

    async def fetch(self, text: str, *values: Any) -> list[asyncpg.Record]:
        """All rows of an SQL text that needs no transaction."""
        async with self._connection() as connection:
            return await connection.fetch(text, *values)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy[asyncpg.Record]]:
        """A connection for as long as a request may take; then it is cut, as PostgreSQL ought to have ended it."""
        assert self._pool is not None  # opened
        timeout_s = self._settings.query_timeout_s
        with _driver_errors(timeout_s):
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
def _driver_errors(timeout_s: float) -> Iterator[None]:
    """Raises UnavailableError for the driver's errors, but not for faults of our own such as a wrong statement."""
    try:
        yield
    except (TimeoutError, asyncpg.QueryCanceledError) as error:
        raise UnavailableError(f"PostgreSQL did not answer within query_timeout_s ({timeout_s:g} s)") from error
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as error:
        raise UnavailableError("the schema is not up to date yet") from error
    except (asyncpg.SyntaxOrAccessError, asyncpg.DataError):
        raise
    except UNUSABLE as error:
        raise UnavailableError("PostgreSQL cannot be asked now") from error
