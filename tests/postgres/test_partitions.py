"""Partitions: made ahead and on demand, by several at once; and a look-up that touches one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import orjson
import pytest
from uuid_utils.compat import uuid7

from receiver.config.settings import Settings
from receiver.model.notification import Outcome
from receiver.postgres.partitions import Partitions
from tests.support.auditor import Connection
from tests.support.batches import decisions, keeping, letter
from tests.support.samples import SAMPLES

NOW = datetime(2026, 3, 30, 23, 59, 59, tzinfo=UTC)
BOUNDS = "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relispartition AND relkind = 'r' ORDER BY relname"


async def names(connection: Connection) -> list[str]:
    """All partitions."""
    rows = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r' ORDER BY relname"
    )
    return [row["relname"] for row in rows]


@pytest.fixture
def partitions() -> Partitions:
    """With settings that make few of them."""
    return Partitions(Settings(partitions_ahead_days=2, callbacks_retention_days=2, ledger_retention_days=40))


async def test_partitions_are_made_ahead(connection: Connection, partitions: Partitions) -> None:
    """Days for callbacks, months for the ledger, from now to so many days on; a second look changes nothing."""
    expected = ["callbacks_20260330", "callbacks_20260331", "callbacks_20260401"]
    for _ in range(2):
        await partitions.make_ahead(connection, NOW)
        assert await names(connection) == [*expected, "transitions_20260301", "transitions_20260401"]


async def test_none_is_a_default(connection: Connection, partitions: Partitions) -> None:
    """A row that no partition takes is refused rather than put where it would be in the way."""
    await partitions.make_ahead(connection, NOW)
    bounds = [row[0] for row in await connection.fetch(BOUNDS)]
    assert all(bound.startswith("FOR VALUES FROM") for bound in bounds)


async def test_bounds_are_of_utc_whatever_the_session_says(connection: Connection, partitions: Partitions) -> None:
    """A day begins at midnight in Greenwich, also for a connection that lives elsewhere."""
    await connection.execute("SET timezone = 'Pacific/Kiritimati'")
    await partitions.make_ahead(connection, NOW)
    await connection.execute("SET timezone = 'UTC'")
    bounds = [row[0] for row in await connection.fetch(BOUNDS)]
    assert bounds[0] == "FOR VALUES FROM ('2026-03-30 00:00:00+00') TO ('2026-03-31 00:00:00+00')"
    assert bounds[-1] == "FOR VALUES FROM ('2026-04-01 00:00:00+00') TO ('2026-05-01 00:00:00+00')"


async def test_a_callback_of_any_time_is_kept(postgres_dsn: str, connection: Connection) -> None:
    """A partition that is missing is made on demand: for the past, the future, and both ends of a month."""
    times = [
        datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2024, 2, 29, tzinfo=UTC),
        datetime(2101, 1, 1, tzinfo=UTC),
    ]
    letters = [letter(SAMPLES["seed-01-tenant-create"], received_at=at, source=f"at-{at.year}") for at in times]
    async with keeping(postgres_dsn) as keeper:
        assert {one.outcome for one in await decisions(keeper, letters)} == {Outcome.APPLIED}
    assert await names(connection) == [
        "callbacks_19991231",
        "callbacks_20240229",
        "callbacks_21010101",
        "transitions_19991201",
        "transitions_20240201",
        "transitions_21010101",
    ]


async def test_a_partition_dropped_by_others_is_made_again(postgres_dsn: str, connection: Connection) -> None:
    """Even when this receiver remembers that it was there."""
    async with keeping(postgres_dsn) as keeper:
        await decisions(keeper, [letter(SAMPLES["seed-01-tenant-create"])])
        for name in await names(connection):
            await connection.execute(f"DROP TABLE {name}")
        await decisions(keeper, [letter(SAMPLES["seed-02-image-create"])])
    assert await connection.fetchval("SELECT count(*) FROM callbacks") == 1


async def test_two_receivers_make_the_same_partitions_at_once(postgres_dsn: str, connection: Connection) -> None:
    """Each finds them made, whoever was quicker, ahead and on demand."""
    connections = [await asyncpg.connect(postgres_dsn) for _ in range(6)]
    several = [Partitions(Settings(partitions_ahead_days=40, postgres_lock_timeout_s=60)) for _ in connections]
    await asyncio.gather(
        *(one.make_ahead(c, NOW) for one, c in zip(several[:3], connections[:3], strict=True)),
        *(one.ensure(c, [NOW, NOW + timedelta(days=9)]) for one, c in zip(several[3:], connections[3:], strict=True)),
    )
    for one in connections:
        await one.close()
    assert len(await names(connection)) == 41 + 3


async def test_a_look_up_by_receipt_touches_one_partition(connection: Connection, partitions: Partitions) -> None:
    """The receipt tells its millisecond, so only that day is searched (docs/storage.md#ids)."""
    for day in range(5):
        await partitions.ensure(connection, [NOW + timedelta(days=day)])
    receipt: UUID = uuid7(nanoseconds=round(NOW.timestamp() * 1e9))
    at = datetime.fromtimestamp((receipt.int >> 80) / 1_000, UTC)
    until = at + timedelta(milliseconds=1)
    look_up = f"FROM callbacks WHERE receipt = '{receipt}' AND received_at >= '{at}' AND received_at < '{until}'"
    plan = await connection.fetchval(f"EXPLAIN (FORMAT json) SELECT * {look_up}")
    scan = orjson.loads(plan)[0]["Plan"]
    assert scan["Relation Name"] == "callbacks_20260330"
    assert "Plans" not in scan
