"""Real services for the tests: one PostgreSQL and one NATS for each process, and a fresh world on them for each test.

A test's database is a clone of a migrated template (tens of milliseconds); its NATS is emptied of streams and buckets.
A test that kills a server starts its own, with `EmbeddedPostgres(tmp_path / …)` or `EmbeddedNats(tmp_path / …)`.
What tests write lies in memory where that has room for it; TMPDIR, or `--basetemp`, chooses another place.
Whatever hypothesis draws is the same in every run; `make random` draws anew.
"""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import asyncpg
import hypothesis
import nats
import nats.js.errors
import pytest
import pytest_asyncio

from receiver.config.settings import Settings
from receiver.observability import logs
from receiver.postgres.migrations import migrate
from tests.support.figures import installed
from tests.support.servers import Servers, database_dsn, memory, passable, started

TEMPLATE = "template_of_tests"
LONG = {"packaging", "workers", "app", "lab", "chaos", "hostile", "dashboards", "client"}

# jsonschema builds 38 grammars of this for the format `iri`, five seconds at each import. No schema of ours does; that
# of CycloneDX has, and is applied by a program of its own (tools/sbom.py).
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

# Machines differ in speed; how long an example takes says nothing about whether it is right.
hypothesis.settings.register_profile("tests", deadline=None, print_blob=True, derandomize=True, database=None)
hypothesis.settings.register_profile("random", deadline=None, print_blob=True, derandomize=False)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "tests"))


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give this run a temporary folder of its own, removed at its end; `--basetemp` names one that is kept.

    pytest closes the one that its runs share to others each time it is started, also to `nobody`, as whom PostgreSQL
    runs where root runs the tests: another run would end the servers of this one.

    A script that runs the tests in its background has them ignore Ctrl-C, and so would the programs that they start.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.option.basetemp is None:
        config.option.basetemp = tempfile.mkdtemp(prefix="esc-receiver-tests-", dir=memory())
        config.add_cleanup(partial(shutil.rmtree, config.option.basetemp, ignore_errors=True))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Rooms with long tests come first, so that at the end no process is left alone with one."""
    items.sort(key=lambda item: item.path.parent.name not in LONG)


def pytest_xdist_auto_num_workers() -> int:
    """Two more than there are cores: tests spend much of their time waiting for servers and programs."""
    return len(os.sched_getaffinity(0)) + 2 if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pytest_collection_finish() -> None:
    """What there is now lives to the end: to look through it for garbage takes a seventh of a process's time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def log_settings() -> Settings:
    """Of log lines as they look on a terminal."""
    return Settings(log_format="text")


@pytest.fixture(autouse=True)
def log_lines(log_settings: Settings) -> None:
    """Those of a test that fails are shown with it."""
    logs.configure(log_settings)


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """pytest's own, passable for `nobody`, as whom PostgreSQL runs where the tests are run by root."""
    return passable(tmp_path)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    """The session's PostgreSQL and NATS; shared, so not to be stopped by a test."""
    async with started(passable(tmp_path_factory.mktemp("servers"))) as servers:
        yield servers


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def administrator(servers: Servers) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection of the session's own, for making databases."""
    connection = await asyncpg.connect(servers.postgres_dsn)
    yield connection
    await connection.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def template(administrator: asyncpg.Connection[asyncpg.Record], servers: Servers) -> str:
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
    administrator: asyncpg.Connection[asyncpg.Record], servers: Servers, template: str, database_names: Iterator[str]
) -> AsyncIterator[str]:
    """A fresh, migrated database."""
    name = next(database_names)
    await administrator.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    yield database_dsn(servers.postgres_dsn, name)
    await administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest_asyncio.fixture(loop_scope="session")
async def empty_postgres_dsn(
    administrator: asyncpg.Connection[asyncpg.Record], servers: Servers, database_names: Iterator[str]
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
async def nats_url(servers: Servers) -> AsyncIterator[str]:
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
