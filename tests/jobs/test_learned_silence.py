"""How long a source is usually silent is learned by the hour of the week; what was learned is on `/metrics`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from receiver.config.settings import Settings
from receiver.jobs.entity_counts import EntityCounts
from receiver.observability.metrics import Metrics
from receiver.postgres.database import Database
from tests.jobs.test_learning import NOW, learning
from tests.lifecycle.test_source import OUT
from tests.support.auditor import Connection
from tests.support.field import stored
from tests.support.query_api import running_api


async def looked(connection: Connection, hour: datetime, seconds: float, looks: int) -> None:
    """So many looks within an hour found a message of that age."""
    await connection.execute(
        "INSERT INTO source_silences "
        "SELECT 'default', date_trunc('hour', $1::timestamptz), ceil(ln($2::float8) / ln(1.25)), $3 "
        "ON CONFLICT (source, hour, class) DO UPDATE SET looks = source_silences.looks + $3",
        hour, seconds, looks,
    )  # fmt: skip


async def test_silence_is_learned_by_the_hour_of_the_week(postgres_dsn: str, connection: Connection) -> None:
    """What 99 of 100 looks found at most; of two weeks, of enough looks, and of none that are too old."""
    monday = NOW - timedelta(days=NOW.weekday(), hours=NOW.hour) + timedelta(hours=9) - timedelta(days=7)
    for week in range(2):
        await looked(connection, monday - timedelta(weeks=week), 40, 99)
        await looked(connection, monday - timedelta(weeks=week), 4_000, 1)
        await looked(connection, monday - timedelta(weeks=week, hours=1), 600, 1)
    await looked(connection, monday + timedelta(hours=3), 40, 200)
    await looked(connection, monday - timedelta(weeks=8), 9_000, 500)
    async with learning(postgres_dsn) as (one, _):
        assert await one.run_once()
    ((hour, samples, usual_s, p99_s),) = await connection.fetch(
        "SELECT hour_of_week, samples, usual_s, p99_s FROM learned_silences"
    )
    assert (hour, samples) == (9, 200)
    assert 40 <= usual_s == p99_s < 50
    assert await connection.fetchval("SELECT count(*) FROM source_silences WHERE looks = 500") == 0


async def test_silence_is_measured_by_what_is_usual(postgres_dsn: str, connection: Connection) -> None:
    """By the setting first, then by what was learned of this hour; never by less than the pause between two looks. One
    that is out of service is not missed; one that was heard of before this receiver listened is not looked at."""
    settings = Settings(postgres_dsn=postgres_dsn, counts_interval_s=0.001, silence_usual_s=1_000)
    metrics = Metrics(settings.all_sources)
    database = Database(settings, metrics)
    await database.open()
    counts = EntityCounts(database, settings, metrics)

    async def ratio() -> float | None:
        await counts.run_once()
        return metrics.registry.get_sample_value("esc_receiver_source_silence_ratio", {"source": "default"})

    metrics.activity.kept("default", datetime.now(UTC) - timedelta(seconds=500))
    assert await ratio() == pytest.approx(0.5, rel=0.2)
    assert await connection.fetchval("SELECT count(*) FROM source_silences") == 0
    await connection.execute(
        "INSERT INTO learned_silences SELECT 'default', hour, 50, 1, 50 FROM generate_series(0, 167) AS hour"
    )
    assert await ratio() == pytest.approx(10, rel=0.2)
    async with running_api(postgres_dsn, counts_interval_s=100) as api:
        one = (await api.get("/sources/default")).body
        assert (one["usual_silence_s"], one["silence_ratio"]) == (100, pytest.approx(5, rel=0.2))
    metrics.activity.kept("default", datetime.now(UTC))
    assert (await ratio() or 0) < 1
    assert await connection.fetchval("SELECT sum(looks) FROM source_silences") == 1
    await connection.execute("UPDATE source_activity SET last_message_at = now() - interval '1 hour'")
    await stored(postgres_dsn, [OUT])
    assert await ratio() == 0
    await database.close()


async def test_what_was_learned_of_operations_is_told_as_metrics(postgres_dsn: str, connection: Connection) -> None:
    """Of configured sources, by kind; kinds of resources together, and no more than the limit of the settings."""
    await connection.execute(
        "INSERT INTO learned_durations VALUES ('default', 'deploy', 0, 50, 20, 200, 450),"
        "('default', 'deploy', 4, 50, 1, 1, 1), ('gone', 'deploy', 0, 50, 20, 40, 45),"
        "('default', 'CREATE_NETWORK', 0, 50, 2, 4, 5), ('default', 'CREATE_IMAGE', 0, 50, 9, 9, 9)"
    )
    settings = Settings(postgres_dsn=postgres_dsn, counts_interval_s=0.001)
    metrics = Metrics(settings.all_sources)
    database = Database(settings, metrics)
    await database.open()
    await EntityCounts(database, settings, metrics).run_once()
    await database.close()
    told = {
        (sample.name.removeprefix("esc_receiver_operation_"), *sample.labels.values()): sample.value
        for family in metrics.registry.collect() for sample in family.samples
        if sample.name.removeprefix("esc_receiver_operation_") in ("usual_seconds", "longest_seconds", "limit_seconds")
    }  # fmt: skip
    assert told == {
        ("usual_seconds", "default", "deploy"): 20, ("longest_seconds", "default", "deploy"): 450,
        ("limit_seconds", "default", "deploy"): 600, ("usual_seconds", "default", "resource"): 9,
        ("longest_seconds", "default", "resource"): 9, ("limit_seconds", "default", "resource"): 300,
    }  # fmt: skip
