"""Callbacks that wait together are committed together, and none is lost, left waiting or counted twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from pathlib import Path

import asyncpg
import psutil
import pytest

from receiver.embedded.servers import EmbeddedPostgres
from receiver.errors import CannotKeepError
from receiver.ingest.batcher import Accepted
from receiver.model.notification import Outcome
from receiver.postgres.migrations import migrate
from tests.support import feed
from tests.support.auditor import Connection
from tests.support.batches import accepting, of_deployment
from tests.support.samples import MALFORMED, SAMPLES, Sample, envelope_of
from tests.support.waiting import a_session_waits

DEPLOYED = SAMPLES["rec-deploy-01-vm-deployed"]
ALIVE = SAMPLES["rec-deploy-02-vm-alive"]


def deployed(number: int) -> Sample:
    """A message about a deployment of its own."""
    return of_deployment(DEPLOYED, f"deployment-{number}")


async def transactions(connection: Connection) -> Counter[str]:
    """How many callbacks each transaction has committed."""
    rows = await connection.fetch("SELECT xmin::text, received_at FROM callbacks ORDER BY received_at")
    return Counter(row["xmin"] for row in rows)


async def test_callbacks_that_wait_together_are_one_transaction(
    postgres_dsn: str, connection: Connection, tmp_path: Path
) -> None:
    """Fifty that come at once are committed at once."""
    async with accepting(postgres_dsn, tmp_path) as place:
        accepted = await asyncio.gather(*(place.accept(deployed(n)) for n in range(50)))
    assert {one.outcome for one in accepted} == {Outcome.APPLIED}
    assert list((await transactions(connection)).values()) == [50]
    assert place.sums() == {"received": 50, "stored": 50}


async def test_a_transaction_takes_no_more_than_its_limit(
    postgres_dsn: str, connection: Connection, tmp_path: Path
) -> None:
    """`batch_callbacks_max` is kept, and the rest goes next, in order."""
    async with accepting(postgres_dsn, tmp_path, batch_callbacks_max=8) as place:
        await asyncio.gather(*(place.accept(deployed(n)) for n in range(20)))
    assert list((await transactions(connection)).values()) == [8, 8, 4]


async def test_a_transaction_takes_no_more_bytes_than_its_limit(
    postgres_dsn: str, connection: Connection, tmp_path: Path
) -> None:
    """`batch_bytes_max` is kept; what is larger goes alone."""
    size = len(deployed(0).body)
    async with accepting(postgres_dsn, tmp_path, batch_bytes_max=3 * size) as place:
        await asyncio.gather(*(place.accept(deployed(n)) for n in range(7)))
    async with accepting(postgres_dsn, tmp_path, batch_bytes_max=1) as place:
        await asyncio.gather(*(place.accept(deployed(n)) for n in (7, 8)))
    assert list((await transactions(connection)).values()) == [3, 3, 1, 1, 1]


async def test_too_many_bytes_are_turned_away(postgres_dsn: str, connection: Connection, tmp_path: Path) -> None:
    """`queue_bytes_max` bounds what waits, however few they are; when they are gone there is room again."""
    async with accepting(postgres_dsn, tmp_path, queue_bytes_max=1) as place:
        await place.accept(DEPLOYED)
        async with connection.transaction():
            await connection.fetch("SELECT FROM deployments FOR UPDATE")
            first = place.accept(ALIVE)
            await feed.until(partial(a_session_waits, connection))
            second, third = place.accept(deployed(1)), place.accept(deployed(2))
            with pytest.raises(CannotKeepError, match="queue_bytes_max"):
                await third
            assert place.batcher.full
        await asyncio.gather(first, second)
        assert (await place.accept(deployed(3))).outcome is Outcome.APPLIED


async def test_a_lonely_callback_waits_for_nobody(postgres_dsn: str, connection: Connection, tmp_path: Path) -> None:
    """One after the other, each is committed by itself before the next one comes."""
    async with accepting(postgres_dsn, tmp_path) as place:
        for number in range(3):
            await place.accept(deployed(number))
            assert sum((await transactions(connection)).values()) == number + 1
    assert list((await transactions(connection)).values()) == [1, 1, 1]


async def test_those_that_come_during_a_commit_go_together_next(
    postgres_dsn: str, connection: Connection, tmp_path: Path
) -> None:
    """While one transaction waits for a row, others gather; they are the next one."""
    async with accepting(postgres_dsn, tmp_path) as place:
        await place.accept(DEPLOYED)
        async with connection.transaction():
            await connection.fetch("SELECT FROM deployments FOR UPDATE")
            first = place.accept(ALIVE)
            await feed.until(partial(a_session_waits, connection))
            others = [place.accept(deployed(n)) for n in range(20)]
        await asyncio.gather(first, *others)
    assert list((await transactions(connection)).values()) == [1, 1, 20]


ANOTHER_OPERATION = """
    INSERT INTO operations
    SELECT (jsonb_populate_record(o, jsonb_build_object('id', gen_random_uuid(), 'transaction_id', $1::text))).*
    FROM operations AS o LIMIT 1
"""


async def test_while_one_transaction_is_written_others_that_are_about_other_things_go_past_it(
    postgres_dsn: str, connection: Connection, tmp_path: Path
) -> None:
    """What is about the same waits behind it, in order."""
    held_up, same, other = deployed(1), of_deployment(ALIVE, "deployment-1"), deployed(2)
    transaction = connection.transaction()
    async with accepting(postgres_dsn, tmp_path) as place:
        await place.accept(deployed(0))
        await transaction.start()  # its row is in the way of the first one's
        await connection.execute(ANOTHER_OPERATION, envelope_of(held_up).transaction_id)
        first = place.accept(held_up)
        await feed.until(partial(a_session_waits, connection, "wait_event = 'transactionid'"))
        second, third = place.accept(same), place.accept(other)
        assert (await third).outcome is Outcome.APPLIED
        assert {first.done(), second.done()} == {False}
        await transaction.rollback()
        assert [(await one).rule for one in (first, second)] == ["vm-deployed", "vm-alive"]
    assert sum((await transactions(connection)).values()) == 4


async def test_with_one_transaction_at_a_time_all_wait_for_it(
    postgres_dsn: str, connection: Connection, tmp_path: Path
) -> None:
    """`commits_max` is kept."""
    transaction = connection.transaction()
    async with accepting(postgres_dsn, tmp_path, commits_max=1) as place:
        await place.accept(deployed(0))
        await transaction.start()
        await connection.execute(ANOTHER_OPERATION, envelope_of(deployed(1)).transaction_id)
        first = place.accept(deployed(1))
        await feed.until(partial(a_session_waits, connection, "wait_event = 'transactionid'"))
        others = [place.accept(deployed(n)) for n in (2, 3)]
        await transaction.rollback()
        await asyncio.gather(first, *others)
    assert list((await transactions(connection)).values()) == [1, 1, 2]


async def test_what_was_decided_is_told(postgres_dsn: str, tmp_path: Path) -> None:
    """Outcome, rule and reason of each, a malformed one among them, under its own receipt."""
    async with accepting(postgres_dsn, tmp_path) as place:
        told = await asyncio.gather(*map(place.accept, (DEPLOYED, MALFORMED[0], DEPLOYED, ALIVE)))
    assert [(one.outcome, one.rule) for one in told] == [
        (Outcome.APPLIED, "vm-deployed"),
        (Outcome.MALFORMED, "malformed"),
        (Outcome.DUPLICATE, "duplicate"),
        (Outcome.APPLIED, "vm-alive"),
    ]
    assert all(one.reason for one in told)
    assert len({one.receipt for one in told}) == 4


async def test_a_full_queue_turns_away_and_loses_nothing(
    postgres_dsn: str, connection: Connection, tmp_path: Path
) -> None:
    """Beyond `queue_callbacks_max` a callback is refused at once; those that wait are kept."""
    async with accepting(postgres_dsn, tmp_path, queue_callbacks_max=5) as place:
        await place.accept(DEPLOYED)
        async with connection.transaction():
            await connection.fetch("SELECT FROM deployments FOR UPDATE")
            first = place.accept(ALIVE)
            await feed.until(partial(a_session_waits, connection))
            told = [place.accept(deployed(n)) for n in range(8)]
            _, waiting = await asyncio.wait(told, return_when=asyncio.FIRST_COMPLETED)
            assert place.batcher.full
            assert len(waiting) == 5
        answers = await asyncio.gather(first, *told, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Accepted] * 6 + [CannotKeepError] * 3
    assert "queue_callbacks_max" in str(answers[-1])
    assert not place.batcher.full


async def test_stopping_finishes_what_was_taken(postgres_dsn: str, connection: Connection, tmp_path: Path) -> None:
    """Everything taken before is committed and answered; nothing is taken after."""
    async with accepting(postgres_dsn, tmp_path, batch_callbacks_max=4) as place:
        told = [place.accept(deployed(n)) for n in range(10)]
        await asyncio.sleep(0)  # they begin
        place.batcher.stop()
        with pytest.raises(CannotKeepError, match="stopping"):
            await place.accept(deployed(10))
        assert {one.outcome for one in await asyncio.gather(*told)} == {Outcome.APPLIED}
        await place.running
    assert sum((await transactions(connection)).values()) == 10


async def test_a_run_that_is_cut_short_refuses_what_it_could_not_keep(
    postgres_dsn: str, connection: Connection, tmp_path: Path
) -> None:
    """Nobody waits for ever, and every callback is counted once, also those whose senders have gone."""
    async with accepting(postgres_dsn, tmp_path, batch_callbacks_max=4) as place:
        await place.accept(DEPLOYED)
        async with connection.transaction():
            await connection.fetch("SELECT FROM deployments FOR UPDATE")
            told = [place.accept(sample) for sample in (ALIVE, *map(deployed, range(6)))]
            await feed.until(partial(a_session_waits, connection))
            gone = [told.pop(0), told.pop()]
            for task in gone:
                task.cancel()
            await asyncio.wait(gone)
            place.running.cancel()
            answers = await asyncio.gather(*told, return_exceptions=True)
    assert {type(answer) for answer in answers} == {CannotKeepError}
    # Whoever is told counts it (`ingress`); the acceptor counts for those who have gone.
    assert place.sums() == {"received": 8, "stored": 1, "refused": 2, "in_flight": 5}


async def test_a_sender_that_goes_away_is_kept_and_counted_all_the_same(
    postgres_dsn: str, connection: Connection, tmp_path: Path
) -> None:
    """What was taken is committed, whether or not anybody waits for the answer."""
    async with accepting(postgres_dsn, tmp_path) as place:
        await place.accept(DEPLOYED)
        async with connection.transaction():
            await connection.fetch("SELECT FROM deployments FOR UPDATE")
            told = place.accept(ALIVE)
            await feed.until(partial(a_session_waits, connection))
            told.cancel()
            await asyncio.wait([told])
    assert sum((await transactions(connection)).values()) == 2
    assert place.sums() == {"received": 2, "stored": 2}


async def test_a_frozen_postgresql_holds_nobody(tmp_path: Path) -> None:
    """It neither answers nor closes connections: callbacks go to the spool in time, and from there when it thaws."""
    async with EmbeddedPostgres(tmp_path / "postgres") as server:
        connection = await asyncpg.connect(server.dsn)
        await migrate(connection)
        async with accepting(server.dsn, tmp_path, commit_timeout_s=1) as place:
            assert (await place.accept(DEPLOYED)).outcome is Outcome.APPLIED
            postmaster = psutil.Process(server.pid)
            processes = [postmaster, *postmaster.children()]
            for process in processes:
                process.suspend()
            told = [await place.accept(sample) for sample in (ALIVE, MALFORMED[0])]
            assert [one.outcome for one in told] == [None, Outcome.MALFORMED]
            for process in processes:
                process.resume()
            await feed.until(place.is_direct)
            assert (await place.accept(SAMPLES["rec-deploy-03-service-alive"])).outcome is Outcome.APPLIED
        rows = await connection.fetch("SELECT outcome FROM callbacks ORDER BY received_at")
        assert [row["outcome"] for row in rows] == ["applied", "applied", "malformed", "applied"]
        assert place.sums() == {"received": 4, "stored": 4}
        await connection.close()
