"""What goes wrong with the spool or with one callback in it hurts nothing else, and the counts add up all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
import structlog.testing

from receiver.serve import running
from receiver.settings import Settings
from tests import feed
from tests.auditor import Connection
from tests.keeping import Place, accepting
from tests.spooling import envelopes, spooling
from tests.test_app import readiness
from tests.test_drain import QUICK, deployed, nothing_committed

REFUSED = "10.9.9.9"
"""PostgreSQL takes nothing from this address."""


@asynccontextmanager
async def refusing(connection: Connection) -> AsyncIterator[None]:
    """A table that does not take everything."""
    await connection.execute(f"ALTER TABLE callbacks ADD CONSTRAINT choosy CHECK (remote <> '{REFUSED}')")
    yield
    await connection.execute("ALTER TABLE callbacks DROP CONSTRAINT choosy")


async def spool_some(place: Place, connection: Connection) -> None:
    """The first of the spool is refused, and one in the middle; the seven others are not."""
    async with nothing_committed(connection):
        for number in range(9):
            changed = {"remote": REFUSED} if number in (0, 4) else {}
            await place.accept(deployed(number), **changed)


async def test_what_postgresql_refuses_stays_in_the_spool_and_the_others_go_past_it(
    postgres_dsn: str, connection: Connection, tmp_path: Path
) -> None:
    """Also when it is the first; the direct way resumes, and at the next start it is tried again."""
    async with refusing(connection):
        with structlog.testing.capture_logs() as said:
            async with accepting(postgres_dsn, tmp_path, **QUICK) as place:
                await spool_some(place, connection)
                await feed.until(place.is_direct)
                assert (await place.accept(deployed(9))).outcome is not None
                assert place.sums() == {"received": 10, "stored": 8, "spooled": 2}
                assert place.metrics.spool_refused_callbacks.value == 2
        assert [line["all"] for line in said if "go past" in line["event"]][-1] == 2
        async with accepting(postgres_dsn, tmp_path, **QUICK) as place:
            assert place.sums() == {"recovered": 2, "spooled": 2}
    async with accepting(postgres_dsn, tmp_path, **QUICK) as place:
        assert place.sums() == {"recovered": 2, "stored": 2}


async def test_what_postgresql_refused_is_tried_again(
    postgres_dsn: str, connection: Connection, tmp_path: Path
) -> None:
    """Now and then, without a start; new ones that are refused come behind those that were."""
    async with accepting(postgres_dsn, tmp_path, drain_refused_retry_s=0.05, **QUICK) as place:
        async with refusing(connection):
            await spool_some(place, connection)
            await feed.until(place.is_direct)
            assert (await place.accept(deployed(9), remote=REFUSED)).outcome is None
        await feed.until(partial(has_stored, place, 10))
        await feed.until(place.is_direct)
        assert place.sums() == {"received": 10, "stored": 10}
        assert place.metrics.spool_refused_callbacks.value == 0


async def has_stored(place: Place, callbacks: int) -> bool:
    """Whether so many are in PostgreSQL."""
    return place.sums().get("stored") == callbacks


async def test_a_table_that_may_not_be_written_is_no_fault_of_a_callback(
    postgres_dsn: str, connection: Connection, tmp_path: Path
) -> None:
    """Then nothing goes past anything: it waits, in order."""
    async with accepting(postgres_dsn, tmp_path, **QUICK) as place:
        await connection.execute("ALTER TABLE callbacks RENAME COLUMN rule TO rules")
        for number in range(3):
            assert (await place.accept(deployed(number))).outcome is None
        assert place.metrics.spool_refused_callbacks.value == 0
        await connection.execute("ALTER TABLE callbacks RENAME COLUMN rules TO rule")
        await feed.until(place.is_direct)
        assert place.sums() == {"received": 3, "stored": 3}


async def test_readyz_tells_what_is_refused(
    postgres_dsn: str, nats_url: str, connection: Connection, tmp_path: Path
) -> None:
    """It is degraded, and says of how many and that the others go on."""
    async with spooling(tmp_path / "spool") as spool:
        await spool.put(one._replace(remote=REFUSED) for one in envelopes(2))
    settings = Settings(postgres_dsn=postgres_dsn, nats_url=nats_url, port=0, data_dir=tmp_path, **QUICK)
    async with refusing(connection), running(settings) as app, aiohttp.ClientSession(app.url) as session:
        await app.until_ready()
        await feed.until(partial(is_direct, session))
        status, told = await readiness(session)
        assert (status, told["ready"], told["degraded"]) == (200, True, True)
        assert told["dependencies"]["spool_refused"]["why"].startswith("PostgreSQL refuses 2 callbacks of the spool")


async def is_direct(session: aiohttp.ClientSession) -> bool:
    """As `/readyz` tells."""
    _, told = await readiness(session)
    return bool(told["dependencies"]["mode"]["ok"])
