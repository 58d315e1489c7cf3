"""How long operations take is learned from those that succeeded; limits of silence get shorter by it, never longer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from receiver.config.settings import Settings
from receiver.jobs.learning import Learning, learned_durations
from receiver.lifecycle.learned import ANY_NUMBER, LearnedDuration, LearnedDurations, size_class
from receiver.lifecycle.overdue import Limits
from receiver.observability.metrics import Metrics
from receiver.postgres.batch_writer import BatchWriter
from receiver.postgres.database import Database
from tests.jobs.test_overdue_scan import ALIVE, CLOSING, DEPLOYED, states, watching
from tests.support.auditor import Connection
from tests.support.batches import decisions, keeping, letter, of_deployment

NOW = datetime.now(UTC)
WINDOW_S = {"reorder_window_s": 10}


@asynccontextmanager
async def learning(dsn: str, **changed: Any) -> AsyncIterator[tuple[Learning, Settings]]:
    """What one receiver learns with; `changed` are settings."""
    settings = Settings(postgres_dsn=dsn, learn_samples_min=4, **changed)
    database = Database(settings, Metrics(settings.all_sources))
    await database.open()
    try:
        yield Learning(database, settings), settings
    finally:
        await database.close()


@pytest.fixture
async def keeper(postgres_dsn: str) -> AsyncIterator[BatchWriter]:
    """For the callbacks."""
    async with keeping(postgres_dsn) as keeper:
        yield keeper


async def deploy(keeper: BatchWriter, name: str, took_s: float, ago: timedelta = timedelta(hours=1)) -> None:
    """A whole one."""
    began_at = NOW - ago
    times = (began_at, began_at + timedelta(seconds=took_s / 2), began_at + timedelta(seconds=took_s))
    story = zip((DEPLOYED, ALIVE, CLOSING), times, strict=True)
    await decisions(keeper, [letter(of_deployment(sample, name), received_at=at) for sample, at in story])


async def rows(connection: Connection) -> list[LearnedDuration]:
    """What was learned."""
    return [LearnedDuration(*row) for row in await connection.fetch("SELECT * FROM learned_durations ORDER BY vms_max")]


async def test_what_succeeded_lately_teaches(postgres_dsn: str, keeper: BatchWriter, connection: Connection) -> None:
    """The median, the 99th percentile and the longest; neither an old one nor an open one counts."""
    for number, took_s in enumerate((10, 20, 30, 40)):
        await deploy(keeper, f"d{number}", took_s)
    await deploy(keeper, "old", 4_000, timedelta(days=31))
    await decisions(keeper, [letter(of_deployment(DEPLOYED, "open"), received_at=NOW - timedelta(hours=9))])
    async with learning(postgres_dsn) as (one, _):
        assert await one.run_once()
    found = await rows(connection)
    assert [(row.source, row.kind, row.vms_max, row.samples) for row in found] == [
        ("default", "deploy", ANY_NUMBER, 4), ("default", "deploy", 1, 4),
    ]  # fmt: skip
    assert found[0][4:] == found[1][4:]
    assert found[0][4:] == pytest.approx((25, 39.7, 40))


async def test_it_is_learned_also_when_days_cannot_be_counted(
    postgres_dsn: str, keeper: BatchWriter, connection: Connection
) -> None:
    """Counting days may take longer than a connection of the pool is given for, the first time."""
    for number in range(4):
        await deploy(keeper, f"d{number}", 10)
    await connection.execute("ALTER TABLE counts_by_day RENAME TO away")
    async with learning(postgres_dsn) as (one, _):
        with pytest.raises(asyncpg.UndefinedTableError):
            await one.run_once()
    assert len(await rows(connection)) == 2


async def test_operations_with_many_vms_teach_for_themselves(
    postgres_dsn: str, keeper: BatchWriter, connection: Connection
) -> None:
    """In classes that double; a limit is that of the slowest class."""
    for number in range(16):
        await deploy(keeper, f"d{number:02}", 10 if number < 8 else 500)
    for vms, first, last in ((1, 0, 3), (2, 4, 7), (3, 8, 9), (4, 10, 11), (64, 12, 15)):
        await connection.execute(
            "UPDATE operations SET vms_seen = $1 WHERE substr(deployment, 2, 2)::int BETWEEN $2 AND $3",
            vms, first, last,
        )  # fmt: skip
    async with learning(postgres_dsn) as (one, settings):
        await one.run_once()
        learned = await learned_durations(connection, settings)
    assert {row.vms_max: row.samples for row in await rows(connection)} == {ANY_NUMBER: 16, 1: 4, 2: 4, 4: 4, 64: 4}
    assert learned.limits_s["default", "deploy"] == pytest.approx(1_500)


async def test_too_few_teach_nothing_and_what_they_taught_is_forgotten(
    postgres_dsn: str, keeper: BatchWriter, connection: Connection
) -> None:
    """Each time anew."""
    for number in range(3):
        await deploy(keeper, f"d{number}", 10)
    await connection.execute("INSERT INTO learned_durations VALUES ('gone', 'deploy', 0, 99, 1, 1, 1)")
    async with learning(postgres_dsn) as (one, _):
        assert await one.run_once()
    assert await rows(connection) == []


async def test_one_receiver_learns_for_all(postgres_dsn: str, keeper: BatchWriter, connection: Connection) -> None:
    """The others find it done, and read the same."""
    for number in range(4):
        await deploy(keeper, f"d{number}", 10)
    async with learning(postgres_dsn) as (one, settings), learning(postgres_dsn) as (other, _):
        assert sorted(await asyncio.gather(one.run_once(), other.run_once())) == [False, True]
        assert not await one.run_once()
        learned = await learned_durations(connection, settings)
    assert learned.limits_s == {("default", "deploy"): pytest.approx(30)}


async def test_a_deploy_that_takes_three_times_as_long_as_any_is_overdue(
    postgres_dsn: str, keeper: BatchWriter, connection: Connection
) -> None:
    """Long before the limit that holds for all kinds; one of another source waits for that."""
    await connection.execute("INSERT INTO learned_durations VALUES ('default', 'deploy', 0, 50, 20, 40, 45)")
    samples = {name: of_deployment(DEPLOYED, name) for name in ("late", "young", "elsewhere")}
    await decisions(keeper, [
        letter(samples["late"], received_at=NOW - timedelta(seconds=121)),
        letter(samples["young"], received_at=NOW - timedelta(seconds=119)),
        letter(samples["elsewhere"], received_at=NOW - timedelta(seconds=121), source="lab1"),
    ])  # fmt: skip
    async with watching(postgres_dsn, **WINDOW_S) as overdue:
        (decision,) = await overdue.run_once(NOW)
    assert decision.reason.startswith("deploy: nothing heard for 2 min 1 s (limit 2 min, usually it takes 20 s);")
    assert sorted(await states(connection)) == ["OPEN", "OPEN", "OVERDUE"]


def test_a_learned_limit_is_never_less_than_the_window_nor_more_than_the_setting() -> None:
    """Of a source and kind that nothing was learned of, the setting holds."""
    learned = LearnedDurations(
        [
            LearnedDuration("a", "deploy", vms_max, 20, 1, p99_s, p99_s)
            for vms_max, p99_s in ((0, 50), (1, 20), (64, 90))
        ]
        + [LearnedDuration("a", "stop_vm", 0, 20, 0, 0, 0), LearnedDuration("a", "undeploy", 0, 20, 1, 9_000, 9_000)],
        factor=3,
    )
    limits = Limits({"default": 3_600}, least_s=60, learned=learned)
    found = {kind: limits.of(kind, "a") for kind in ("deploy", "stop_vm", "undeploy", "update")}
    assert found == {"deploy": 270, "stop_vm": 60, "undeploy": 3_600, "update": 3_600}
    assert limits.of("deploy", "b") == 3_600


def test_classes_of_size_double() -> None:
    """Each holds those up to its number."""
    assert [size_class(vms) for vms in (0, 1, 2, 3, 4, 5, 64, 65)] == [1, 1, 2, 4, 4, 8, 64, 128]
