"""Brings the schema up to date: `migrations/NNNN_name.sql`, forward only, in name order, one transaction each.

What was applied is recorded with its checksum, so that a changed file is noticed, and a database that a newer program
has migrated is refused. A lock on the record lets several start at once. This file must not know what the tables mean.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TypeAlias

import asyncpg

from receiver.errors import SchemaDriftError, SchemaTooNewError, SetupError
from receiver.postgres.locks import locked

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

RECORD = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: `name` without its suffix, `checksum` the SHA-256 of its text in hexadecimal."""

    version: int
    name: str
    sql: str
    checksum: str


def known() -> list[Migration]:
    """The migrations this program carries, in the order in which they are applied."""
    named = sorted((file.name.removesuffix(".sql"), file) for file in _folder().iterdir() if file.name.endswith(".sql"))
    return [_read(name, file) for name, file in named]


async def pending(connection: Connection, migrations: Sequence[Migration] | None = None) -> list[Migration]:
    """Those not applied yet. Raises SchemaTooNewError and SchemaDriftError."""
    migrations = known() if migrations is None else migrations
    applied = await _applied(connection)
    newer = sorted(applied.keys() - {migration.version for migration in migrations})
    if newer:
        raise SchemaTooNewError(
            f"the database has migrations that this program does not know ({', '.join(map(str, newer))}): "
            "run the newer program"
        )
    for migration in migrations:
        if applied.get(migration.version, migration.checksum) != migration.checksum:
            raise SchemaDriftError(
                f"migration {migration.name} was applied with another text than this program carries: "
                "a migration must not be changed once it is out"
            )
    return [migration for migration in migrations if migration.version not in applied]


async def migrate(
    connection: Connection, migrations: Sequence[Migration] | None = None, lock_timeout_s: float = 5
) -> list[str]:
    """Apply what is pending and give its names; waits for another that is at it. Raises SetupError, LockHeldError."""
    with suppress(
        asyncpg.UniqueViolationError, asyncpg.DuplicateTableError, asyncpg.DuplicateObjectError
    ):  # another is making it now
        await connection.execute(RECORD)
    names: list[str] = []
    while await pending(connection, migrations):
        async with locked(connection, "schema_migrations", "SHARE ROW EXCLUSIVE", lock_timeout_s):
            for migration in (await pending(connection, migrations))[:1]:  # another may have been quicker
                await _apply(connection, migration)
                names.append(migration.name)
    return names


async def _apply(connection: Connection, migration: Migration) -> None:
    try:
        await connection.execute(migration.sql)
    except asyncpg.LockNotAvailableError:
        raise
    except asyncpg.PostgresError as error:
        raise SetupError(f"migration {migration.name} failed and was undone: {error}") from error
    await connection.execute(
        "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
        migration.version,
        migration.name,
        migration.checksum,
    )


async def _applied(connection: Connection) -> dict[int, str]:
    if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
        return {}
    return {
        row["version"]: row["checksum"]
        for row in await connection.fetch("SELECT version, checksum FROM schema_migrations")
    }


def _folder() -> Traversable:
    """In a wheel the migrations lie in the package, in a checkout beside it."""
    packed = files("receiver") / "migrations"
    return packed if packed.is_dir() else Path(__file__).parents[2] / "migrations"


def _read(name: str, file: Traversable) -> Migration:
    sql = file.read_text(encoding="utf-8")
    return Migration(int(name.partition("_")[0]), name, sql, hashlib.sha256(sql.encode()).hexdigest())
