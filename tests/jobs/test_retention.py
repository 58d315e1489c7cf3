"""Partitions are dropped by age, and no clock that has jumped drops what is not old."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from structlog.testing import capture_logs

from receiver.app import running
from receiver.config.settings import Settings
from receiver.jobs.retention import Retention
from receiver.observability.metrics import Metrics
from receiver.postgres.database import Database
from receiver.postgres.partitions import Partitions, partition_of
from tests.support import feed
from tests.support.auditor import Connection
from tests.support.batches import decisions, keeping, letter
from tests.support.samples import SAMPLES

NOW = datetime(2026, 3, 30, 23, 59, 59, tzinfo=UTC)
DAY = timedelta(days=1)
OF_POSTGRESQL = """
SET search_path = public, pg_catalog;
CREATE OR REPLACE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT '{}'::timestamptz $$
"""
"""What PostgreSQL takes for the time, in this session."""


class Place:
    """A receiver's retention, with a PostgreSQL whose clock can be set."""

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self.connection = connection
        self.metrics = Metrics()
        self.partitions = Partitions(settings)
        self.retention = Retention(Database(settings, self.metrics), self.partitions, settings, self.metrics)

    async def days(self, since: datetime, until: datetime) -> None:
        """Partitions for each day of a span."""
        await self.partitions.ensure(self.connection, (since + n * DAY for n in range((until - since).days + 1)))

    async def at(self, now: datetime, theirs: datetime | None = None) -> list[str]:
        """One round at this time, which is also PostgreSQL's unless that takes it for another; what was dropped."""
        await self.connection.execute(OF_POSTGRESQL.format((theirs or now).isoformat()))
        return await self.retention.run_once(self.connection, now)

    def waiting(self) -> float | None:
        """How many days stay though they look old."""
        value = self.metrics.registry.get_sample_value
        return value("esc_receiver_retention_waiting_partitions", {"table": "callbacks"})

    async def left(self, table: str = "callbacks") -> list[str]:
        """The partitions that are there."""
        return [one.name for one in await self.partitions.present(self.connection, table)]


@pytest.fixture
def settings(postgres_dsn: str) -> Settings:
    """Which keep little."""
    return Settings(
        postgres_dsn=postgres_dsn, partitions_ahead_days=2, callbacks_retention_days=2, ledger_retention_days=40
    )


@pytest.fixture
async def place(connection: Connection, settings: Settings) -> Place:
    """On the test's database."""
    return Place(connection, settings)


async def test_a_partition_goes_when_its_youngest_row_is_past_retention(place: Place) -> None:
    """And not a moment before."""
    noon, midnight = datetime(2026, 3, 14, 12, tzinfo=UTC), datetime(2026, 3, 15, tzinfo=UTC)
    await place.days(midnight - 4 * DAY, midnight)
    assert await place.at(noon) == ["callbacks_20260311"]
    assert await place.at(midnight - timedelta(microseconds=1)) == []
    assert await place.at(midnight) == ["callbacks_20260312"]
    assert (await place.left())[0] == "callbacks_20260313"


async def test_one_interval_drops_no_more_than_an_interval_brings(place: Place) -> None:
    """The oldest first: retention made shorter is reached step by step, and so is a mistake."""
    await place.days(NOW - 6 * DAY, NOW)
    dropped = [await place.at(NOW) for _ in range(5)]
    assert dropped == [
        ["callbacks_20260324"],
        ["callbacks_20260325"],
        ["callbacks_20260326"],
        ["callbacks_20260327"],
        [],
    ]


async def test_the_ledger_is_kept_longer(place: Place) -> None:
    """Its months go by its own retention."""
    await place.days(NOW, NOW + 50 * DAY)
    assert "transitions_20260301" not in await place.at(datetime(2026, 5, 10, tzinfo=UTC))
    assert "transitions_20260301" in await place.at(datetime(2026, 5, 11, tzinfo=UTC))


async def test_one_that_is_being_read_is_dropped_later(place: Place, settings: Settings) -> None:
    """Who reads old rows is not in the way of new ones; when he is done, the partition goes."""
    reader = await asyncpg.connect(settings.postgres_dsn)
    old = partition_of("callbacks", NOW - 3 * DAY).name
    await place.days(NOW - 3 * DAY, NOW)
    async with reader.transaction():
        await reader.fetch(f"SELECT FROM {old}")
        assert await place.at(NOW) == []
        async with keeping(settings.postgres_dsn) as keeper:
            await decisions(keeper, [letter(SAMPLES["seed-01-tenant-create"], received_at=NOW)])
    assert await place.at(NOW) == [old]
    await reader.close()


@pytest.mark.parametrize(
    ("ours", "theirs", "told"),
    [
        (NOW + 400 * DAY, NOW, "this machine's clock is 34560000 s ahead of PostgreSQL's (query_clock_skew_s)"),
        (NOW, NOW + 400 * DAY, "this machine's clock is 34560000 s behind PostgreSQL's (query_clock_skew_s)"),
        (NOW + timedelta(seconds=61), NOW, "this machine's clock is 61 s ahead of PostgreSQL's (query_clock_skew_s)"),
    ],
)
async def test_nothing_is_dropped_while_two_clocks_differ(
    place: Place, ours: datetime, theirs: datetime, told: str
) -> None:
    """Nobody knows which is right; one line says so, and retention goes on when they agree again."""
    await place.days(NOW - 4 * DAY, NOW)
    there = await place.left()
    with capture_logs() as lines:
        assert [await place.at(ours, theirs) for _ in range(3)] == [[], [], []]
    assert set(there) <= set(await place.left())
    assert place.retention.trouble == told
    assert [line["why"] for line in lines if "nothing is dropped" in line["event"]] == [told]
    assert place.metrics.registry.get_sample_value("esc_receiver_clock_skew_seconds") == (ours - theirs).total_seconds()
    assert await place.at(NOW) == ["callbacks_20260326"]
    assert place.retention.trouble == ""


async def test_clocks_that_jump_together_drop_one_day_for_each_that_comes(place: Place, settings: Settings) -> None:
    """Receiver and PostgreSQL on one machine, started in the wrong year: history goes no quicker than new days come."""
    await place.days(NOW - 3 * DAY, NOW)
    wrong = NOW + 365 * DAY
    await place.at(NOW)
    history = [name for name in await place.left() if name <= "callbacks_20260330"]
    dropped = [name for _ in range(20) for name in await place.at(wrong)]
    assert [name for name in dropped if name.startswith("callbacks")] == ["callbacks_20260328"]
    assert history == ["callbacks_20260328", "callbacks_20260329", "callbacks_20260330"]
    assert set(history[1:]) <= set(await place.left())
    assert "too few days followed them" in place.retention.trouble
    waiting = place.waiting()
    assert waiting == 4  # two days, and two that were made ahead
    assert await place.at(NOW) == []
    assert place.retention.trouble == ""


async def test_a_service_that_was_off_keeps_what_it_has_for_a_while(place: Place) -> None:
    """It cannot tell that from a jump; after as many days as are kept, all is as ever."""
    await place.days(NOW - 2 * DAY, NOW)
    back = NOW + 100 * DAY
    await place.at(back)
    assert {"callbacks_20260329", "callbacks_20260330"} <= set(await place.left())
    for day in range(10):
        await place.at(back + day * DAY)
    assert not [name for name in await place.left() if name <= "callbacks_20260330"]
    assert place.waiting() == 0


async def test_a_callback_from_the_future_holds_retention_back(place: Place, settings: Settings) -> None:
    """A clock had jumped, and is right again; until the next callback nobody knows that."""
    await place.days(NOW - 3 * DAY, NOW)
    async with keeping(settings.postgres_dsn) as keeper:
        await keep_at(keeper, [NOW + 2 * DAY])
        assert await place.at(NOW) == []
        assert place.retention.trouble == (
            "the callback stored last was received at 2026-04-01 23:59:59 UTC, which is yet to come"
        )
        await keep_at(keeper, [NOW])
    assert await place.at(NOW) == ["callbacks_20260327"]


async def keep_at(keeper: Any, times: Iterable[datetime]) -> None:
    """Callbacks received at these times."""
    await decisions(keeper, [letter(SAMPLES["seed-01-tenant-create"], received_at=at) for at in times])


async def test_readyz_says_that_retention_waits(
    postgres_dsn: str, nats_url: str, connection: Connection, tmp_path: Path
) -> None:
    """Degraded, and ready all the same: callbacks are kept."""
    long_ago = datetime.now(UTC) - 300 * DAY
    old = Settings(callbacks_retention_days=2)
    await Partitions(old).ensure(connection, [long_ago + n * DAY for n in range(5)])
    settings = Settings(postgres_dsn=postgres_dsn, nats_url=nats_url, data_dir=tmp_path, port=0)
    async with running(settings) as app:
        await app.until_ready()
        await feed.until(lambda: _waits(app))
        async with aiohttp.ClientSession(app.url) as client, client.get("/readyz") as answer:
            told = await answer.json()
    assert (answer.status, told["degraded"]) == (200, True)
    assert "too few days followed them" in told["dependencies"]["retention"]["why"]


async def _waits(app: Any) -> bool:
    return bool(app.retention.trouble)
