"""The schema is brought up to date once, in order, and only by a program that knows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TypeAlias

import asyncpg
import pytest

from receiver.embedded.servers import EmbeddedPostgres
from receiver.errors import SchemaDriftError, SchemaTooNewError, SetupError
from receiver.postgres.migrations import Migration, known, migrate, pending

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

CATALOGUE = """
SELECT 'column', table_name::text, column_name::text, data_type || ' ' || is_nullable
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname::text, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
UNION ALL
SELECT 'index', tablename::text, indexname::text, indexdef FROM pg_indexes WHERE schemaname = 'public'
ORDER BY 1, 2, 3
"""


@pytest.fixture
async def empty(empty_postgres_dsn: str) -> AsyncIterator[Connection]:
    """A connection to a database without tables."""
    connection = await asyncpg.connect(empty_postgres_dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def older_postgres(tmp_path: Path) -> AsyncIterator[Connection]:
    """The machine's own PostgreSQL, of the oldest version that is there."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not programs:
        pytest.skip("no PostgreSQL of this machine's own in /usr/lib/postgresql (Debian: apt install postgresql)")
    async with EmbeddedPostgres(tmp_path / "postgres", programs=programs[0].parent) as server:
        connection = await asyncpg.connect(server.dsn)
        yield connection
        await connection.close()


async def test_an_empty_database_is_brought_up_to_date_in_order(empty: Connection) -> None:
    """All migrations are applied in the order of their numbers, and recorded with their checksums."""
    expected = [migration.name for migration in known()]
    assert expected == sorted(expected)
    assert await migrate(empty) == expected
    rows = await empty.fetch("SELECT name, checksum FROM schema_migrations ORDER BY version")
    assert [tuple(row) for row in rows] == [(migration.name, migration.checksum) for migration in known()]


async def test_no_two_migrations_have_one_number() -> None:
    """Versions rise from 1; a number that was given to a branch which did not need it stays free."""
    versions = [migration.version for migration in known()]
    assert versions == sorted(set(versions))
    assert versions[0] == 1


async def test_migrating_again_changes_nothing(connection: Connection) -> None:
    """A database that is up to date is left as it is."""
    before = await connection.fetch(CATALOGUE)
    assert await migrate(connection) == []
    assert await connection.fetch(CATALOGUE) == before


async def test_only_what_is_new_is_applied(empty: Connection) -> None:
    """A database of an older program gets the migrations it lacks."""
    assert await migrate(empty, known()[:1]) == [known()[0].name]
    assert await migrate(empty) == [migration.name for migration in known()[1:]]


async def test_what_is_pending_can_be_seen_without_being_applied(empty: Connection) -> None:
    """A dry run gives the SQL, and leaves not even a record behind."""
    assert await pending(empty) == known()
    assert await empty.fetch(CATALOGUE) == []
    await migrate(empty)
    assert await pending(empty) == []


async def test_two_at_once_apply_each_migration_once(empty_postgres_dsn: str) -> None:
    """Of several programs that start together one applies a migration, and the others wait and find it applied."""
    connections = [await asyncpg.connect(empty_postgres_dsn) for _ in range(4)]
    results = await asyncio.gather(*(migrate(connection) for connection in connections))
    for connection in connections:
        await connection.close()
    assert sorted(chain(*results)) == [migration.name for migration in known()]


async def test_a_database_of_a_newer_program_is_refused(connection: Connection) -> None:
    """An old program does not touch a schema that it does not know."""
    newest = known()[-1].version + 1
    await connection.execute("INSERT INTO schema_migrations VALUES ($1, 'from_the_future', 'x')", newest)
    with pytest.raises(SchemaTooNewError, match=str(newest)):
        await migrate(connection)
    with pytest.raises(SchemaTooNewError, match=str(newest)):
        await pending(connection)


async def test_a_migration_that_was_changed_is_noticed(connection: Connection) -> None:
    """A migration whose text is not the one that was applied is named, and nothing is applied."""
    changed = [replace(known()[0], checksum="0" * 64), *known()[1:]]
    with pytest.raises(SchemaDriftError, match=known()[0].name):
        await migrate(connection, changed)


async def test_a_migration_that_fails_leaves_nothing_of_itself(empty: Connection) -> None:
    """Those before it stay, it is undone whole, its name is told, and the lock is free again."""
    broken = Migration(known()[-1].version + 1, "9999_broken", "CREATE TABLE half_made (); SELECT no_such_column", "x")
    with pytest.raises(SetupError, match=r"9999_broken.*no_such_column"):
        await migrate(empty, [*known(), broken])
    assert await empty.fetchval("SELECT count(*) FROM schema_migrations") == len(known())
    assert await empty.fetchval("SELECT to_regclass('half_made')") is None
    assert await migrate(empty) == []


async def test_the_schema_is_the_same_on_an_older_postgresql(
    older_postgres: Connection, connection: Connection
) -> None:
    """Every migration can be applied on PostgreSQL 15, and makes there what it makes on the embedded one."""
    assert await migrate(older_postgres) == [migration.name for migration in known()]
    assert await older_postgres.fetch(CATALOGUE) == await connection.fetch(CATALOGUE)
