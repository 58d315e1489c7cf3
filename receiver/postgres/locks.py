"""Locks on tables with a time limit, after which one line says who holds them.

On tables rather than advisory ones: whoever may only connect to the database can take an advisory lock whose key he
knows, but no lock of a table. Must not know what is done under a lock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from receiver.postgres.session import Connection

_HOLDERS = """
SELECT a.pid, a.usename, a.application_name, l.relation::regclass::text AS relation, l.mode
FROM pg_locks AS l
JOIN pg_class AS c ON c.oid = l.relation AND c.relnamespace = current_schema()::regnamespace
LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY l.mode = 'AccessExclusiveLock' DESC, c.relname <> $1, a.xact_start
LIMIT 1
"""


class LockHeldError(asyncpg.LockNotAvailableError):
    """Somebody else holds a lock that is needed; the message names him."""


@asynccontextmanager
async def locked(connection: Connection, table: str, mode: str, timeout_s: float) -> AsyncIterator[None]:
    """A transaction that has this lock. Raises LockHeldError when it, or a lock that is asked for inside, is not free
    within `timeout_s`."""
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = {round(timeout_s * 1_000)}")
            await connection.execute(f"LOCK TABLE {table} IN {mode} MODE")
            yield
    except asyncpg.LockNotAvailableError as error:
        raise LockHeldError(await _held(connection, table)) from error


async def _held(connection: Connection, table: str) -> str:
    holder = await connection.fetchrow(_HOLDERS, table)
    if holder is None:
        return f"a lock on {table} was not free, and is now"
    who = holder_words(holder["pid"], holder["usename"], holder["application_name"])
    return f"a lock is held on {holder['relation']} ({holder['mode']}) by {who}"


def holder_words(pid: int | None, role: str | None, application: str | None) -> str:
    """For people: whose session it is, as `pg_stat_activity` tells."""
    return f"process {pid}, role {role}, application {application!r}" if pid else "a prepared transaction"
