"""Real services for the tests: one PostgreSQL and one NATS for the session, and a fresh world on them for each test.

A test's database is a clone of a migrated template (tens of milliseconds); its NATS is emptied of streams and buckets.
A test that kills a server starts its own, with `EmbeddedPostgres(tmp_path / …)` or `EmbeddedNats(tmp_path / …)`.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import hypothesis
import nats
import nats.js.errors
import pytest
import pytest_asyncio

from receiver.config.settings import Settings
from receiver.embedded.servers import Embedded
from receiver.observability import logs
from receiver.postgres.migrations import migrate
from tests.support.figures import installed

TEMPLATE = "template_of_tests"

# Machines differ in speed; how long an example takes says nothing about whether it is right.
hypothesis.settings.register_profile("tests", deadline=None, print_blob=True)
hypothesis.settings.load_profile("tests")


@pytest.fixture(autouse=True)
def log_lines() -> None:
    """Those of a test that fails are shown with it, as they look on a terminal."""
    logs.configure(Settings(log_format="text"))


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """pytest's own, passable for `nobody`, as whom PostgreSQL runs where the tests are run by root."""
    if os.geteuid() == 0:
        for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
            folder.chmod(0o711)
    return tmp_path


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def servers() -> AsyncIterator[Embedded]:
    """The session's PostgreSQL and NATS; shared, so not to be stopped by a test."""
    async with Embedded() as servers:
        yield servers


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def administrator(servers: Embedded) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection of the session's own, for making databases."""
    connection = await asyncpg.connect(servers.postgres_dsn)
    yield connection
    await connection.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def template(administrator: asyncpg.Connection[asyncpg.Record], servers: Embedded) -> str:
    """The name of a migrated database that is cloned for each test."""
    await administrator.execute(f"CREATE DATABASE {TEMPLATE}")
    connection = await asyncpg.connect(database_dsn(servers.postgres_dsn, TEMPLATE))
    await migrate(connection)
    await connection.close()
    return TEMPLATE


@pytest.fixture(scope="session")
def database_names() -> Iterator[str]:
    """Names that no other test has."""
    return (f"test_{number}" for number in itertools.count())


@pytest_asyncio.fixture(loop_scope="session")
async def postgres_dsn(
    administrator: asyncpg.Connection[asyncpg.Record], servers: Embedded, template: str, database_names: Iterator[str]
) -> AsyncIterator[str]:
    """A fresh, migrated database."""
    name = next(database_names)
    await administrator.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield database_dsn(servers.postgres_dsn, name)
    await administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest_asyncio.fixture(loop_scope="session")
async def empty_postgres_dsn(
    administrator: asyncpg.Connection[asyncpg.Record], servers: Embedded, database_names: Iterator[str]
) -> AsyncIterator[str]:
    """A fresh database without any table."""
    name = next(database_names)
    await administrator.execute(f"CREATE DATABASE {name}")
    yield database_dsn(servers.postgres_dsn, name)
    await administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def connection(postgres_dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection to the test's database."""
    connection = await asyncpg.connect(postgres_dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def pool(postgres_dsn: str) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
    """A pool on the test's database."""
    async with asyncpg.create_pool(postgres_dsn, min_size=1, max_size=8) as pool:
        yield pool


@pytest_asyncio.fixture(loop_scope="session")
async def nats_url(servers: Embedded) -> AsyncIterator[str]:
    """The session's NATS, without any stream or bucket."""
    yield servers.nats_url
    client = await nats.connect(servers.nats_url)
    jetstream = client.jetstream()
    for stream in await jetstream.streams_info():
        await jetstream.delete_stream(stream.config.name or "")
    await client.close()


@pytest.fixture(scope="session")
def promtool() -> Path:
    """Prometheus's own judge of metrics, rules and expressions."""
    return installed("promtool")


def database_dsn(dsn: str, database: str) -> str:
    """The same server, another database."""
    return urlsplit(dsn)._replace(path=f"/{database}").geturl()
