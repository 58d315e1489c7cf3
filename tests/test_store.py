"""Batches in PostgreSQL: one transaction, sequences without gaps, right beside another receiver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from receiver.database import Database
from receiver.entities import Alias, Deployment, Operation, Resource, Transition, Vm
from receiver.envelope import Clock
from receiver.keep import Keeper
from receiver.letter import Letter
from receiver.lifecycle import Windows
from receiver.metrics import Metrics
from receiver.notification import Outcome
from receiver.parse import parse
from receiver.partitions import Partitions
from receiver.settings import Settings
from receiver.statements import statements
from receiver.store import Store
from tests.samples import SAMPLES, SEQUENCES, Sample, envelope_of

CLOCK = Clock()


@pytest.fixture
async def keeper(postgres_dsn: str) -> AsyncIterator[Keeper]:
    async for made in make_keeper(postgres_dsn):
        yield made


async def make_keeper(dsn: str) -> AsyncIterator[Keeper]:
    settings = Settings(postgres_dsn=dsn)
    metrics = Metrics(settings.all_sources)
    database = Database(settings, metrics)
    await database.open()
    yield Keeper(database, Store(Windows()), Partitions(settings), settings, metrics)
    await database.close()


def letter(sample: Sample) -> Letter:
    received_at, receipt = CLOCK.stamp()
    envelope = envelope_of(sample, received_at=received_at, receipt=receipt)
    return Letter(envelope, parse(envelope, 64))


def test_columns_and_fields_are_in_the_same_order() -> None:
    """Rows are read and written by position, so tables and dataclasses must agree (see the database test below)."""
    assert [f.name for f in fields(Transition)][:3] == ["id", "at", "entity"]


@pytest.mark.parametrize(
    ("table", "kind"),
    [("operations", Operation), ("deployments", Deployment), ("vms", Vm), ("resources", Resource), ("vm_aliases", Alias), ("transitions", Transition)],
)
async def test_a_table_has_the_columns_of_its_dataclass(connection: Any, table: str, kind: type) -> None:
    """In the same order, because rows go in and out by position."""
    columns = await connection.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position", table
    )
    assert [row["column_name"] for row in columns] == [f.name for f in fields(kind)]


@pytest.mark.parametrize("file", ["queries.sql", "partitions.sql", "relay.sql"])
async def test_every_statement_fits_the_schema(connection: Any, file: str) -> None:
    """PostgreSQL prepares each against the migrated schema."""
    for name, sql in statements(file).items():
        try:
            await connection.prepare(sql)
        except asyncpg.PostgresError as error:
            pytest.fail(f"{file}: {name}: {error}")


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda s: s.scenario)
@pytest.mark.parametrize("together", [True, False], ids=["one-batch", "one-by-one"])
async def test_replays_end_as_expected(keeper: Keeper, connection: Any, sequence: Any, together: bool) -> None:
    """Every row of sequences.tsv, in one transaction and in many."""
    letters = [letter(sample) for sample in sequence.samples]
    for batch in [letters] if together else [[x] for x in letters]:
        kept = await keeper.keep(batch)
        assert not [what for what in kept if isinstance(what, Exception)]
    print(sequence.scenario, sequence.expected_end)
    for row in await connection.fetch("SELECT internal_deployment_id, state, vms, vim_leak_suspected FROM deployments"):
        print(dict(row))
    for row in await connection.fetch("SELECT vm_name, state, vm_uuid FROM vms"):
        print(dict(row))
    for row in await connection.fetch("SELECT transaction_id, kind, state FROM operations"):
        print(dict(row))
