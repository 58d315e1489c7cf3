"""What goes wrong with the spool or with one callback in it hurts nothing else, and the counts add up all the same."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog.testing

from receiver.app import running
from receiver.config.settings import Settings
from receiver.errors import SpoolBrokenError, SpoolFullError
from receiver.observability.definition import total
from receiver.spool import Spool
from receiver.spool.folder import NAME
from receiver.spool.page_reader import PAGE_BYTES
from tests.app.test_app import post, readiness, well
from tests.spool.test_router import ALIVE, DEPLOYED, QUICK, deployed, nothing_committed, ways
from tests.support import feed
from tests.support.auditor import Connection
from tests.support.batches import Place, accepting
from tests.support.spools import content, envelopes, program, spool_at, spooling

UNHURRIED = QUICK | {"commit_timeout_s": 2}
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
                assert total(place.metrics.spool_refused_callbacks) == 2
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
        assert total(place.metrics.spool_refused_callbacks) == 0


async def has_stored(place: Place, callbacks: int) -> bool:
    """Whether so many are in PostgreSQL."""
    return place.sums().get("stored") == callbacks


SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1.5); RETURN NEW; END';
CREATE TRIGGER slow BEFORE INSERT ON callbacks FOR EACH ROW EXECUTE FUNCTION slow()
"""


async def test_a_postgresql_that_takes_longer_than_anybody_waits_takes_all_in_the_end(
    postgres_dsn: str, connection: Connection, tmp_path: Path
) -> None:
    """The drain gives it more time, since nobody waits for its answer; else the spool would never be empty again."""
    async with accepting(postgres_dsn, tmp_path, **QUICK | {"commit_timeout_s": 0.4}) as place:
        await feed.until(place.is_direct)
        await connection.execute(SLOW)
        for number in range(3):
            assert (await place.accept(deployed(number))).outcome is None
        await feed.until(partial(has_stored, place, 3))
        assert place.sums() == {"received": 3, "stored": 3}


async def test_a_table_that_may_not_be_written_is_no_fault_of_a_callback(
    postgres_dsn: str, connection: Connection, tmp_path: Path
) -> None:
    """Then nothing goes past anything: it waits, in order."""
    async with accepting(postgres_dsn, tmp_path, **QUICK) as place:
        await connection.execute("ALTER TABLE callbacks RENAME COLUMN rule TO rules")
        for number in range(3):
            assert (await place.accept(deployed(number))).outcome is None
        assert total(place.metrics.spool_refused_callbacks) == 0
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
        await feed.until(partial(is_ok, session, "mode"))
        status, told = await readiness(session)
        assert (status, told["ready"], told["degraded"]) == (200, True, True)
        assert told["dependencies"]["spool_refused"]["why"].startswith("PostgreSQL refuses callbacks of the spool (2)")


async def is_ok(session: aiohttp.ClientSession, dependency: str) -> bool:
    """As `/readyz` tells."""
    _, told = await readiness(session)
    return bool(told["dependencies"][dependency]["ok"])


@asynccontextmanager
async def locked(spool: Path) -> AsyncIterator[None]:
    """Another program has the spool's file for itself."""
    async with spooling(spool):
        pass
    holder = await program("lock", spool)
    assert holder.stdout
    assert holder.stdin
    await holder.stdout.readline()
    yield
    holder.stdin.close()
    await holder.wait()


async def test_a_spool_that_could_not_be_opened_at_the_start_is_not_taken_for_an_empty_one(
    postgres_dsn: str, nats_url: str, connection: Connection, tmp_path: Path
) -> None:
    """Until it is known what an earlier run left, nothing overtakes that; then it is drained first, and counted."""
    settings = Settings(
        postgres_dsn=postgres_dsn, nats_url=nats_url, port=0, data_dir=tmp_path, spool_locked_timeout_s=0.01,
        spool_retry_s=0.05, **UNHURRIED,
    )  # fmt: skip
    async with spooling(settings.spool_folder) as spool:
        await spool.put(left := envelopes(5))
    async with AsyncExitStack() as stack:
        async with locked(settings.spool_folder):
            app = await stack.enter_async_context(running(settings))
            session = await stack.enter_async_context(aiohttp.ClientSession(app.url))
            await feed.until(partial(is_ok, session, "postgres"))
            assert (await post(session, DEPLOYED)).status == 503
            status, told = await readiness(session)
            assert (status, told["ready"]) == (503, False)
        await feed.until(partial(is_ok, session, "mode"))
        assert (await post(session, DEPLOYED)).status == 200
        sums = {"received": 2, "recovered": 5, "stored": 6, "refused": 1}
        assert {name: number for name, number in app.metrics.sums().items() if number} == sums
    rows = await connection.fetch("SELECT receipt FROM callbacks ORDER BY xid, position")
    assert [row["receipt"] for row in rows[:5]] == [envelope.receipt for envelope in left]


async def test_one_group_finds_postgresql_away_for_all(
    postgres_dsn: str, connection: Connection, tmp_path: Path
) -> None:
    """Also when the spool takes nothing: the others are refused at once, and PostgreSQL is tried again by itself."""
    async with accepting(postgres_dsn, tmp_path, batch_callbacks_max=8, spool_bytes_max=1, **QUICK) as place:
        with structlog.testing.capture_logs() as said:
            async with nothing_committed(connection):
                sent = [place.accept(deployed(number)) for number in range(200)]
                told = await asyncio.gather(*sent, return_exceptions=True)
            await feed.until(place.is_direct)
        assert {type(one) for one in told} == {SpoolFullError}
        assert ways(said) == ["spooling", "direct"]
        tried = [line["callbacks"] for line in said if line["event"] == "callbacks could not be kept"]
        assert sum(tried) <= 16  # the groups on their way when the commits stopped


async def test_what_a_damaged_spool_lost_is_counted(postgres_dsn: str, connection: Connection, tmp_path: Path) -> None:
    """It is no longer said to be in the spool, and the counts add up."""
    database = tmp_path / "spool" / NAME
    async with accepting(postgres_dsn, tmp_path, spool_retry_s=0, **QUICK) as place:
        async with nothing_committed(connection):
            for number in range(40):
                await place.accept(deployed(number))
            with closing(sqlite3.connect(database, isolation_level=None)) as other:
                other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            lose_pages(database)
        await feed.until(place.is_direct)
        stored = await connection.fetchval("SELECT count(*) FROM callbacks")
        assert 0 < stored < 40
        assert place.sums() == {"received": 40, "stored": stored, "lost": 40 - stored}


async def test_what_could_not_be_let_go_of_for_a_while_hides_no_loss(tmp_path: Path) -> None:
    """It is known to be gone in the end; what a damaged file lacks later is lost all the same."""
    database = tmp_path / "spool" / NAME
    async with spooling(tmp_path / "spool", spool_locked_timeout_s=0, spool_retry_s=0) as spool:
        await spool.put(envelopes(40))
        first = [position for position, _ in await spool.first(4)]
        with closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(SpoolBrokenError):
                await spool.delete(first)
            other.execute("ROLLBACK")
            await spool.delete(first)
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        lose_pages(database)
        left = await spool.first(40)
        assert 0 < len(left) < 36
        assert spool.lost == 36 - len(left)


def lose_pages(database: Path) -> None:
    """Three in the middle."""
    middle = database.stat().st_size // PAGE_BYTES // 2
    with database.open("r+b") as file:
        file.seek(middle * PAGE_BYTES)
        file.write(bytes(3 * PAGE_BYTES))


async def test_a_disk_that_hangs_holds_nobody(
    postgres_dsn: str, nats_url: str, connection: Connection, tmp_path: Path
) -> None:
    """Who waits for it is refused and can come again; it shows; the receiver can be stopped; what was refused goes."""
    settings = Settings(
        postgres_dsn=postgres_dsn, nats_url=nats_url, port=0, data_dir=tmp_path, spool_locked_timeout_s=600,
        spool_timeout_s=0.3, stop_timeout_s=1, **UNHURRIED,
    )  # fmt: skip
    async with running(settings) as app, aiohttp.ClientSession(app.url) as session:
        await app.until_ready()
        await feed.until(partial(well, session))
        with closing(sqlite3.connect(settings.spool_folder / NAME, isolation_level=None)) as disk:
            disk.execute("BEGIN IMMEDIATE")
            async with nothing_committed(connection):
                assert (await post(session, DEPLOYED)).status == 503
                status, told = await readiness(session)
                assert status == 503
                assert "spool_timeout_s" in told["dependencies"]["keeping"]["why"]
                assert (await post(session, ALIVE)).status == 503
            await feed.until(partial(is_ok, session, "mode"))
            assert (await post(session, DEPLOYED)).status == 200
            await app.stop()
            assert {name: number for name, number in app.metrics.sums().items() if number} == {
                "received": 3, "stored": 1, "refused": 2,
            }  # fmt: skip


async def test_what_was_cancelled_before_the_end_is_not_found_at_the_next_start(tmp_path: Path) -> None:
    """Its sender was refused; the disk takes it when the spool is being closed already, and it is taken out again."""
    spool = spool_at(tmp_path / "spool", spool_locked_timeout_s=600)
    await spool.open()
    await spool.put(kept := envelopes(2))
    with closing(sqlite3.connect(tmp_path / "spool" / NAME, isolation_level=None)) as disk:
        disk.execute("BEGIN IMMEDIATE")
        putting = asyncio.create_task(spool.put(envelopes(3)))
        await feed.until(partial(is_writing, spool))
        putting.cancel()
        await asyncio.wait([putting])
        closing_it = asyncio.create_task(spool.close())
        await asyncio.sleep(0)
        disk.execute("ROLLBACK")
        await closing_it
    async with spooling(tmp_path / "spool") as spool:
        assert await content(spool) == kept


async def is_writing(spool: Spool) -> bool:
    """Whether the disk was given what waited."""
    return bool(spool._writing) and not spool._waiting


@pytest.mark.parametrize("drain_batch_max", [2, 512])
async def test_what_the_spool_cannot_let_go_of_is_counted_once(
    postgres_dsn: str, connection: Connection, tmp_path: Path, drain_batch_max: int
) -> None:
    """Its file is locked while it is drained: PostgreSQL has it, and the counts add up; also when it is taken in more
    than one portion, of which the next is read while one is taken."""
    settings = QUICK | {"spool_locked_timeout_s": 0, "spool_retry_s": 0, "drain_batch_max": drain_batch_max}
    async with accepting(postgres_dsn, tmp_path, **settings) as place:
        with closing(sqlite3.connect(tmp_path / "spool" / NAME, isolation_level=None)) as other:
            async with nothing_committed(connection):
                for number in range(5):
                    await place.accept(deployed(number))
                other.execute("BEGIN IMMEDIATE")
            with structlog.testing.capture_logs() as said:
                await feed.until(partial(has_told_twice, said))
            assert await connection.fetchval("SELECT count(*) FROM callbacks") in range(1, 6)
            assert place.sums() == {"received": 5, "spooled": 5}
            other.execute("ROLLBACK")
        await feed.until(place.is_direct)
        assert place.sums() == {"received": 5, "stored": 5}
        assert total(place.metrics.transitions) == await connection.fetchval("SELECT count(*) FROM transitions")


async def has_told_twice(said: Sequence[Any]) -> bool:
    """Whether the drain has met a spool that does not work twice."""
    return sum("locked" in str(line.get("why")) for line in said) >= 2
