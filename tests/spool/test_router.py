"""Callbacks wait in the spool in order, drain in order, and nothing flaps; while they wait it can be seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import structlog.testing

from receiver.app import running
from receiver.config.settings import Settings
from receiver.ingest.batcher import Accepted
from receiver.model.notification import Outcome
from receiver.observability.definition import total
from tests.app.test_app import post, readiness, well
from tests.support import feed
from tests.support.auditor import Connection
from tests.support.batches import accepting, of_deployment
from tests.support.samples import SAMPLES, Sample

DEPLOYED = SAMPLES["rec-deploy-01-vm-deployed"]
ALIVE = SAMPLES["rec-deploy-02-vm-alive"]
QUICK: dict[str, Any] = {"commit_timeout_s": 2, "drain_retry_s": 0.05, "drain_retry_max_s": 0.1}


def deployed(number: int) -> Sample:
    """A message about a deployment of its own."""
    return of_deployment(DEPLOYED, f"deployment-{number}")


@asynccontextmanager
async def nothing_committed(connection: Connection) -> AsyncIterator[None]:
    """Somebody holds a lock that every commit needs."""
    async with connection.transaction():
        await connection.execute("LOCK TABLE callbacks IN ACCESS EXCLUSIVE MODE")
        yield


def names(lines: Sequence[Any]) -> list[str]:
    """Of what the log tells."""
    return [str(line["event"]) for line in lines]


def ways(lines: Sequence[Any]) -> list[str]:
    """Those that callbacks took, as the log tells."""
    return [str(line["mode"]) for line in lines if line["event"] == "callbacks take another way"]


async def test_order_is_kept_through_an_outage_and_each_change_is_told_once(
    postgres_dsn: str, connection: Connection, tmp_path: Path
) -> None:
    """What comes while anything waits queues behind it; when all is drained the direct way resumes by itself."""
    async with accepting(postgres_dsn, tmp_path, drain_batch_max=8, **QUICK) as place:
        with structlog.testing.capture_logs() as said:
            told: list[Accepted] = []
            async with nothing_committed(connection):
                told += [await place.accept(deployed(number)) for number in range(40)]
                assert {one.outcome for one in told} == {None}
            told += [await place.accept(deployed(number)) for number in range(40, 45)]
            held = sum(one.outcome is None for one in told)
            await feed.until(place.is_direct)
            told.append(await place.accept(deployed(45)))
        assert told[-1].outcome is Outcome.APPLIED
        assert ways(said) == ["spooling", "draining", "direct"]
        rows = await connection.fetch("SELECT receipt, received_at FROM callbacks ORDER BY xid, position")
        assert [row["receipt"] for row in rows] == [one.receipt for one in told]
        assert [row["received_at"] for row in rows] == sorted(row["received_at"] for row in rows)
        assert total(place.metrics.drained) == held
        assert place.sums() == {"received": len(told), "stored": len(told)}


async def test_the_direct_way_resumes_under_steady_traffic(
    postgres_dsn: str, connection: Connection, tmp_path: Path
) -> None:
    """Something is always being put, yet the spool gets empty: the last ones are waited for, and nobody waits long."""
    async with accepting(postgres_dsn, tmp_path, **QUICK) as place:
        told: list[Accepted] = []

        async def sender() -> None:
            while not told or told[-1].outcome is None:
                told.append(await place.accept(deployed(len(told))))

        with structlog.testing.capture_logs() as said:
            async with nothing_committed(connection):
                told += await asyncio.gather(*(place.accept(deployed(number)) for number in range(100)))
            await asyncio.wait_for(asyncio.gather(*(sender() for _ in range(8))), feed.PATIENCE_S)
        assert ways(said) == ["spooling", "draining", "direct"]
    assert await connection.fetchval("SELECT count(*) FROM callbacks") == len(told)


async def test_what_waits_keeps_its_time_of_arrival(postgres_dsn: str, connection: Connection, tmp_path: Path) -> None:
    """Not that of its commit; so do the ledger and the state it makes."""
    async with accepting(postgres_dsn, tmp_path, **QUICK) as place:
        async with nothing_committed(connection):
            await place.accept(DEPLOYED)
            waiting: datetime | None = place.router._spool.oldest
            released_at = await connection.fetchval("SELECT clock_timestamp()")
        await feed.until(place.is_direct)
    assert await connection.fetchval("SELECT received_at FROM callbacks") == waiting
    assert waiting is not None
    assert waiting < released_at
    assert await connection.fetchval("SELECT DISTINCT at FROM transitions") == waiting


async def test_nobody_waits_longer_than_the_limit(postgres_dsn: str, connection: Connection, tmp_path: Path) -> None:
    """However many come at once and wait for a commit that does not come: one timeout, and all are in the spool."""
    async with accepting(postgres_dsn, tmp_path, batch_callbacks_max=8, **QUICK) as place:
        with structlog.testing.capture_logs() as said:
            async with nothing_committed(connection):
                told = await asyncio.gather(*(place.accept(deployed(number)) for number in range(200)))
            await feed.until(place.is_direct)
        assert {one.outcome for one in told} == {None}
        assert total(place.metrics.drained) == 200
        before = [line["callbacks"] for line in said[: names(said).index("callbacks take another way")]]
        assert ways(said) == ["spooling", "draining", "direct"]
    assert sum(before) <= 16  # the groups on their way when the commits stopped


async def test_waiting_is_shown(postgres_dsn: str, nats_url: str, connection: Connection, tmp_path: Path) -> None:
    """`/readyz` stays green and tells why it is degraded, also by age; /metrics tells how many, how large, how old."""
    settings = Settings(
        postgres_dsn=postgres_dsn, nats_url=nats_url, port=0, data_dir=tmp_path, spool_age_warn_s=0.001, **QUICK
    )
    async with running(settings) as app, aiohttp.ClientSession(app.url) as session:
        await app.until_ready()
        await feed.until(partial(well, session))
        async with nothing_committed(connection):
            assert (await post(session, DEPLOYED)).status == 202
            _, told = await readiness(session)
            assert told["dependencies"]["mode"]["why"] == "spooling: 1 callback waits in the spool"
            assert (await post(session, ALIVE)).status == 202
            status, told = await readiness(session)
            assert (status, told["ready"], told["degraded"]) == (200, True, True)
            why = {name: one["why"] for name, one in told["dependencies"].items() if not one["ok"]}
            assert why["mode"] == "spooling: 2 callbacks wait in the spool"
            assert "is still in the spool (spool_age_warn_s)" in why["spool_age"]
            async with session.get("/metrics") as response:
                figures = dict(line.rsplit(" ", 1) for line in (await response.text()).splitlines())
            assert figures["esc_receiver_spool_callbacks"] == "2.0"
            assert float(figures["esc_receiver_spool_bytes"]) > 0
            assert float(figures["esc_receiver_spool_oldest_timestamp_seconds"]) > 0
            assert figures['esc_receiver_mode{mode="spooling"}'] == "1.0"
            assert figures["esc_receiver_drained_total"] == "0.0"
        await feed.until(partial(well, session))
        assert total(app.metrics.drained) == 2
