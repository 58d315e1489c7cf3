"""Connections to PostgreSQL: a pool that may be opened before PostgreSQL is there, and the schema on it.

Every borrower of a connection has a time limit; then the connection is cut. Cancelling the statement instead would ask
PostgreSQL and wait for its answer: for ever, when it is frozen or the network to it is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial

import asyncpg
import stamina
import structlog

from receiver.config.settings import Settings
from receiver.errors import SettingsError, SetupError, describe
from receiver.observability.metrics import Metrics
from receiver.observability.trouble_log import TroubleLog
from receiver.postgres.driver_errors import UNUSABLE
from receiver.postgres.hosts import Hosts
from receiver.postgres.migrations import migrate, pending
from receiver.postgres.partitions import Partitions
from receiver.postgres.session import WRITING, Connection, require_own, set_up
from receiver.postgres.tls_of_dsn import check_files

PAUSE_FIRST_S, PAUSE_LAST_S = 0.4, 5.0

log = structlog.get_logger()


class Database:
    """The receiver's way to PostgreSQL."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._hosts = Hosts(settings.postgres_dsn, settings.postgres_connect_timeout_s)
        self._session = WRITING | {"idle_in_transaction_session_timeout": f"{settings.postgres_silence_s * 1000:.0f}"}
        self._trouble = TroubleLog(
            "PostgreSQL cannot be used yet; trying on (ESC_RECEIVER_POSTGRES_DSN)", each_reason=False
        )
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self.ready = True
        """False until the schema is known to be as this program needs it."""

    async def open(self) -> None:
        """Make the pool; it connects when it is used. Raises SettingsError for files of TLS that cannot be used."""
        check_files(self._settings.postgres_dsn)
        settings = self._settings
        self._pool = await asyncpg.create_pool(
            settings.postgres_dsn, min_size=0, max_size=settings.postgres_pool_size,
            init=partial(set_up, settings=self._session), connect=self._hosts.connect, reset=do_not_reset,
        )  # fmt: skip

    @asynccontextmanager
    async def acquire(self, timeout_s: float | None = None) -> AsyncIterator[Connection]:
        """A connection of the pool for `timeout_s`, else `commit_timeout_s`. Raises what `CONNECTION_LOST` lists.

        Whatever fails on a connection that was cut is a TimeoutError: asyncpg may stumble over its own remains then.
        """
        assert self._pool is not None  # opened
        until_s = _deadline_s(self._settings.commit_timeout_s if timeout_s is None else timeout_s)
        async with asyncio.timeout_at(until_s):
            connection = await self._pool.acquire()
        with cut_at(until_s, connection):
            try:
                yield connection
            finally:
                await self._pool.release(connection)

    @asynccontextmanager
    async def dedicated(self, timeout_s: float) -> AsyncIterator[Connection]:
        """The same, but newly opened: the pool may hold a dead one, which would use up a long time limit."""
        until_s = _deadline_s(timeout_s)
        connection = await self._hosts.connect()
        with cut_at(until_s, connection):
            try:
                await set_up(connection, self._session)
                yield connection
            finally:
                connection.terminate()

    async def connect(self) -> asyncpg.Connection[asyncpg.Record]:
        """A connection apart from the pool, for a lock that is held as long as the connection lives."""
        return await connect(self._settings)

    def connections(self) -> dict[tuple[str, ...], float]:
        """How many of the pool are in use, and how many are idle."""
        size, idle = (self._pool.get_size(), self._pool.get_idle_size()) if self._pool else (0, 0)
        return {("used",): size - idle, ("idle",): idle}

    async def ping(self) -> None:
        """Raises SetupError when PostgreSQL does not answer, or not with the schema that is needed."""
        try:
            async with self.acquire(self._settings.ping_timeout_s) as connection:
                await connection.fetchval("SELECT 1")
        except UNUSABLE as error:
            self._metrics.postgres_up.set(0)
            raise SetupError(f"PostgreSQL cannot be reached: {describe(error)}") from error
        self._metrics.postgres_up.set(1)
        if not self.ready:
            raise SetupError(self._trouble.why or "the schema is not up to date yet")

    async def prepare(self, partitions: Partitions) -> None:
        """Bring the schema up to date and make its partitions, as soon as PostgreSQL answers.

        Raises SchemaTooNewError, SchemaDriftError, SettingsError for a DSN that is none, and SetupError when the
        schema is old and `migrate` is off.
        """
        self.ready = False
        async for attempt in stamina.retry_context(
            on=self._is_unusable, attempts=None, timeout=None, wait_initial=PAUSE_FIRST_S, wait_max=PAUSE_LAST_S,
            wait_jitter=0,
        ):  # fmt: skip
            with attempt:
                await self._prepare(partitions)
        self._trouble.clear()
        self.ready = True
        self._metrics.postgres_up.set(1)
        log.info("PostgreSQL is ready")

    def _is_unusable(self, error: Exception) -> bool:
        if not isinstance(error, UNUSABLE):
            return False
        self._trouble.report(describe(error))
        return True

    async def _prepare(self, partitions: Partitions) -> None:
        connection = await self.connect()
        try:
            if self._settings.migrate:
                for name in await migrate(connection, lock_timeout_s=self._settings.postgres_lock_timeout_s):
                    log.info("migration applied", name=name)
            elif old := await pending(connection):
                raise SetupError(
                    f"the schema lacks {old[0].name}: run `esc-receiver migrate`, or set ESC_RECEIVER_MIGRATE=on"
                )
            await partitions.make_ahead(connection, datetime.now(UTC))
        finally:
            await connection.close()

    async def close(self) -> None:
        """Drop all connections; whoever still used one had his time to stop."""
        if self._pool is not None:
            self._pool.terminate()


async def connect(settings: Settings) -> asyncpg.Connection[asyncpg.Record]:
    """A connection that is a session of its own. Raises SettingsError for a DSN that is none, and `UNUSABLE` errors."""
    timeout_s = settings.postgres_connect_timeout_s
    hosts = Hosts(settings.postgres_dsn, timeout_s)
    try:
        connection = await hosts.connect()
    except asyncpg.ClientConfigurationError as error:
        raise SettingsError(f"ESC_RECEIVER_POSTGRES_DSN: {error}") from error
    except ValueError:  # without its text, which may be a part of the password
        raise SettingsError(
            "ESC_RECEIVER_POSTGRES_DSN: no PostgreSQL URL can be read in it; "
            "are special characters of the password percent-encoded?"
        ) from None
    with cut_at(_deadline_s(timeout_s), connection):
        try:
            await require_own(connection, hosts.connect, timeout_s / 2)
        except BaseException:
            connection.terminate()
            raise
    return connection


def _deadline_s(timeout_s: float) -> float:
    return asyncio.get_running_loop().time() + timeout_s


@contextmanager
def cut_at(until_s: float, connection: Connection) -> Iterator[None]:
    """Cut the connection at a time of the loop's clock; whatever fails on it from then on is a TimeoutError."""
    loop = asyncio.get_running_loop()
    cut = loop.call_at(until_s, _terminate, connection)
    try:
        yield
    except Exception as error:
        task = asyncio.current_task()
        if task and task.cancelling():  # a rollback that failed must not hide that
            raise asyncio.CancelledError from error
        if loop.time() >= until_s:
            raise TimeoutError("the time for it was over") from error
        raise
    finally:
        cut.cancel()


def _terminate(connection: Connection) -> None:
    with suppress(asyncpg.InterfaceError):  # it is on its way back into the pool, and no longer ours to cut
        connection.terminate()


async def do_not_reset(connection: object) -> None:
    """For a pool: a transaction is all that a borrower leaves on a connection, and asyncpg rolls that back itself. Its
    usual clean-up would be one more round trip before each answer."""
