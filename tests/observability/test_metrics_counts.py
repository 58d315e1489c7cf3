"""Gauges of state: right, counted by one receiver for all, and never by a scrape."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import asyncpg
import nats
from prometheus_client import generate_latest

from receiver.config.settings import Settings
from receiver.jobs.entity_counts import EntityCounts
from receiver.jobs.monitors import Monitors, fold
from receiver.observability.metrics import Metrics
from receiver.postgres.database import Database
from receiver.postgres.partitions import Partitions
from receiver.publishing.broker import Broker
from tests.support.batches import letter, of_deployment
from tests.support.figures import samples
from tests.support.query_api import deploy, store
from tests.support.samples import SAMPLES

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@asynccontextmanager
async def counting(dsn: str, **changed: Any) -> AsyncIterator[tuple[EntityCounts, Metrics]]:
    """One receiver's counts."""
    settings = Settings(postgres_dsn=dsn, **changed)
    metrics = Metrics(settings.all_sources, settings=settings)
    database = Database(settings, metrics)
    await database.open()
    try:
        yield EntityCounts(database, settings, metrics), metrics
    finally:
        await database.close()


def shown(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """What a scrape shows and is not zero."""
    return {labels: value for labels, value in samples(metrics.registry, f"esc_receiver_{name}").items() if value}


async def test_gauges_tell_what_the_tables_hold(postgres_dsn: str, connection: Connection) -> None:
    """Deployments and VMs that are not gone, operations under way, and the oldest of these."""
    await store(postgres_dsn, [*deploy("one"), *deploy("two")[:2], *deploy("three")[:1]])
    await connection.execute(
        "UPDATE operations SET transaction_id = transaction_id || id, state = 'OPEN', ended_at = NULL"
    )
    async with counting(postgres_dsn) as (counts, metrics):
        assert await counts.run_once()
    (vms,) = await connection.fetch("SELECT count(*) FILTER (WHERE state = 'ALIVE') AS alive, count(*) AS all FROM vms")
    assert shown(metrics, "vms") == {
        ("default", "ALIVE"): vms["alive"],
        ("default", "INERT"): vms["all"] - vms["alive"],
    }
    assert sum(shown(metrics, "deployments").values()) == 3
    operations = await connection.fetchval("SELECT count(*) FROM operations")
    assert sum(shown(metrics, "operations").values()) == operations
    oldest = await connection.fetchval("SELECT min(first_seen_at) FROM operations")
    assert shown(metrics, "operation_oldest_timestamp_seconds") == {(): oldest.timestamp()}


async def test_vms_that_wait_for_a_person_are_counted(postgres_dsn: str, connection: Connection) -> None:
    """From the message that says so until one says that the recovery began."""
    await store(postgres_dsn, [*deploy("one"), *deploy("two")])
    manual, begun = SAMPLES["rec-recovery-07-manual-needed"], SAMPLES["rec-recovery-01-init"]
    async with counting(postgres_dsn, counts_interval_s=0.001) as (counts, metrics):
        for sample, waiting in ((manual, {("default",): 1}), (begun, {})):
            await store(postgres_dsn, [letter(of_deployment(sample, "one"))])
            await counts.run_once()
            assert shown(metrics, "manual_recovery_vms") == waiting


async def test_one_receiver_counts_for_all(postgres_dsn: str) -> None:
    """A second one reads what the first has counted, and shows the same time."""
    await store(postgres_dsn, deploy("one"))
    async with counting(postgres_dsn) as (first, ours), counting(postgres_dsn) as (second, theirs):
        assert [await first.run_once(), await second.run_once()] == [True, False]
        for name in ("vms", "deployments", "operations", "counted_timestamp_seconds"):
            assert samples(ours.registry, f"esc_receiver_{name}") == samples(theirs.registry, f"esc_receiver_{name}")


async def test_a_scrape_asks_postgresql_nothing_and_is_as_long_with_many_vms(
    postgres_dsn: str, connection: Connection
) -> None:
    """Ten thousand VMs make no line more; and it is answered when PostgreSQL is gone."""
    await store(postgres_dsn, deploy("one"))
    async with counting(postgres_dsn, counts_interval_s=0.01) as (counts, metrics):
        await counts.run_once()
        few = generate_latest(metrics.registry)
        await connection.execute(
            "INSERT INTO vms SELECT (jsonb_populate_record(NULL::vms, to_jsonb(v) || jsonb_build_object("
            "'id', gen_random_uuid(), 'vm_name', 'vm-' || n))).* FROM vms AS v, generate_series(1, 10000) AS n"
        )
        await counts.run_once()
    many = generate_latest(metrics.registry)
    assert few.count(b"\n") == many.count(b"\n")
    assert shown(metrics, "vms") == {("default", "ALIVE"): 10_001}


async def test_counting_uses_the_indexes(postgres_dsn: str, connection: Connection) -> None:
    """Nothing that is gone is looked at, and no table is read whole but the two that have a row for each ESC."""
    async with counting(postgres_dsn) as (counts, _), counts._database.acquire() as writer:
        statement = counts._sql["count"].replace("$1", "'{ACTIVE}'").replace("$2", "'{ALIVE}'")
        rows = await writer.fetch(f"EXPLAIN {statement}")
    assert not [row[0] for row in rows if "Seq Scan" in row[0] and "source" not in row[0]]


async def test_the_surroundings_are_told(postgres_dsn: str, connection: Connection) -> None:
    """How large the database is, from when to when there are partitions, and what the pool does."""
    now = datetime.now(UTC)
    await Partitions(Settings()).make_ahead(connection, now)
    async with counting(postgres_dsn) as (counts, metrics):
        await counts.run_once()
        assert shown(metrics, "postgres_connections") == {("idle",): 1}
    assert shown(metrics, "database_bytes")[()] > 1_000_000
    begin, end = (
        shown(metrics, "partitions_begin_timestamp_seconds"),
        shown(metrics, "partitions_end_timestamp_seconds"),
    )
    for table in ("callbacks", "transitions"):
        assert begin[table,] <= now.timestamp()
        assert end[table,] > (now + timedelta(days=7)).timestamp()


async def test_a_partition_without_bounds_is_passed_over(postgres_dsn: str, connection: Connection) -> None:
    """So is one that is dropped in the moment they are looked at (make chaos, no-partitions): scrapes go on."""
    await connection.execute("CREATE TABLE whatever PARTITION OF callbacks DEFAULT")
    async with counting(postgres_dsn) as (counts, metrics):
        await counts.run_once()
    assert shown(metrics, "partitions_begin_timestamp_seconds") == {}
    assert generate_latest(metrics.registry)


async def test_readers_of_the_stream_are_told_by_the_relay_alone(nats_url: str) -> None:
    """Durable ones by name; a receiver that is not the relay tells none."""
    settings = Settings(nats_url=nats_url)
    metrics = Metrics()
    broker = Broker(settings, metrics)
    watch = Monitors(broker, settings, metrics)
    client = await nats.connect(nats_url)
    jetstream = client.jetstream()
    await jetstream.add_stream(name="ESC", subjects=["esc.v1.>"])
    await jetstream.publish("esc.v1.x", b"1")
    billing = await jetstream.pull_subscribe("esc.v1.>", durable="billing", stream="ESC")
    await watch.measure_stream()
    assert shown(metrics, "consumer_pending_messages") == shown(metrics, "stream_messages") == {}
    metrics.relay_leader.set(1)
    await watch.measure_stream()
    assert shown(metrics, "consumer_pending_messages") == {("billing",): 1}
    assert shown(metrics, "stream_messages") == {(): 1}
    assert shown(metrics, "consumer_acknowledged_timestamp_seconds") == {}
    (message,) = await billing.fetch(1)
    await message.nak()
    (message,) = await billing.fetch(1)
    await watch.measure_stream()
    assert shown(metrics, "consumer_unacknowledged_messages") == {("billing",): 1}
    assert shown(metrics, "consumer_redelivered_messages") == {("billing",): 1}
    await message.ack_sync()
    await watch.measure_stream()
    assert shown(metrics, "consumer_redelivered_messages") == {}
    assert shown(metrics, "consumer_acknowledged_timestamp_seconds")[("billing",)] > 1_600_000_000
    await jetstream.pull_subscribe("esc.v1.>", durable="d" * 200, stream="ESC")
    await watch.measure_stream()
    assert max(len(name) for (name,) in shown(metrics, "consumer_pending_messages")) == 128
    await broker.close()
    await client.close()


def test_readers_beyond_the_cap_are_one() -> None:
    """Those without a name, too; the furthest behind counts."""
    readers = [("", 7), ("", 2), ("a", 1), ("b", 3), ("c", 9)]
    assert fold(readers, 3) == {("(other)",): 9, ("a",): 1, ("b",): 3}
