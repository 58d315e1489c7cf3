"""A session of PostgreSQL, made ready for its use: settings, codecs, and whether it is a session at all.

Settings are made after connecting and read back: a pooler between (PgBouncer) refuses or drops those of a connection's
start, and one that lends PostgreSQL for a transaction at a time keeps none. Must not know what a session is for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TypeAlias

import asyncpg
import orjson

from receiver.postgres.array_containers import ask_concrete_classes
from receiver.postgres.timestamps import from_microseconds, to_microseconds

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

WRITING = {
    "application_name": "esc-receiver",
    "synchronous_commit": "on",
    "default_transaction_isolation": "read committed",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    "enable_material": "off",
    "client_connection_check_interval": "500ms",
}
"""A writing session's settings: durable commits, plans that stay right while the tables grow under them, and an end to
what nobody waits for: a transaction that was given up would hold its locks against the next attempt."""

SHARED = (
    "a pooler lends PostgreSQL for one transaction at a time (PgBouncer: pool_mode = transaction): "
    "set pool_mode = session for this database in pgbouncer.ini, or name PostgreSQL itself in ESC_RECEIVER_POSTGRES_DSN"
)

_SET = "SELECT name, set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS wanted (name, value)"
_READ_BACK = "SELECT name, current_setting(name) FROM unnest($1::text[]) AS wanted (name)"
_BACKEND = "SELECT pg_backend_pid()"


class SessionError(ConnectionError):
    """The connection is not a session as it is needed, so it must not be used."""


async def set_up(connection: Connection, settings: Mapping[str, str]) -> None:
    """Make a new connection ready, or cut it: asyncpg would wait for a broken one to close in order.

    Raises SessionError when a setting is not what was asked for, and asyncpg's errors.
    """
    ask_concrete_classes()
    try:
        await set_codecs(connection)
        wanted = dict(map(tuple, await connection.fetch(_SET, list(settings), list(settings.values()))))
        found = dict(map(tuple, await connection.fetch(_READ_BACK, list(settings))))
    except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError) as error:
        connection.terminate()
        raise SessionError(SHARED) from error
    except BaseException:
        connection.terminate()
        raise
    if wrong := [f"{name} is {found[name]!r}, not {value!r}" for name, value in wanted.items() if found[name] != value]:
        connection.terminate()
        raise SessionError(f"settings were dropped between PostgreSQL and here ({', '.join(wrong)}); {SHARED}")


async def set_codecs(connection: Connection) -> None:
    """Make JSON columns read and write Python values, and times by the quick way, also inside the rows of an array."""
    await connection.set_type_codec(
        "json", schema="pg_catalog", format="binary", encoder=orjson.dumps, decoder=orjson.loads
    )  # fmt: skip
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", format="tuple", encoder=to_microseconds, decoder=from_microseconds
    )


async def require_own(
    connection: asyncpg.Connection[asyncpg.Record],
    connect: Callable[[], Awaitable[asyncpg.Connection[asyncpg.Record]]],
    timeout_s: float,
) -> None:
    """Raise SessionError when what looks like a session is lent to others between its transactions.

    A pooler shows in the process id that it gives to its clients, which is not PostgreSQL's. `connect` opens another
    connection, which then holds a transaction: where PostgreSQL is lent, it is given the process that was ours, or
    (where processes are lent in turns) we are given another.
    """
    before = await connection.fetchval(_BACKEND)
    if before == connection.get_server_pid():
        return
    with suppress(TimeoutError):  # a pooler with nothing left to lend: what we have is then held for us
        async with asyncio.timeout(timeout_s):
            if await _is_lent(connection, before, await connect()):
                raise SessionError(SHARED)


async def _is_lent(
    connection: asyncpg.Connection[asyncpg.Record], before: int, other: asyncpg.Connection[asyncpg.Record]
) -> bool:
    try:
        ours = [before, await connection.fetchval(_BACKEND)]
        async with other.transaction():
            theirs = await other.fetchval(_BACKEND)
            ours.append(await connection.fetchval(_BACKEND))
        return theirs in ours or len(set(ours)) > 1
    except asyncpg.PostgresError:  # statements are forgotten between two transactions, or there are none
        return True
    finally:
        other.terminate()
