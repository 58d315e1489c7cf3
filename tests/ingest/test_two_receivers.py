"""Several receivers on one database, and connections that break at the worst moment: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import asyncpg
import pytest

from receiver.model.notification import Outcome
from receiver.parsing.parsed_callback import ParsedCallback
from receiver.postgres.batch_writer import BatchWriter
from tests.support.auditor import Connection, assert_ledger_is_whole
from tests.support.batches import COMMITTED, Wire, decisions, keeping, letter, of_deployment
from tests.support.samples import SEQUENCES

STORY = next(one for one in SEQUENCES if one.scenario == "deploy-ok").samples
DEPLOYMENTS = [f"deployment-{number}" for number in range(12)]

KILL = """
SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'esc-receiver'
  AND query ~ 'INSERT INTO callbacks|^COMMIT' AND state <> 'idle' AND random() < $1
"""
"""Only at the worst moment, and not always: a connection takes long to make, and nothing would come about."""


ENOUGH = 20


def stories(*, times: int = 1) -> list[ParsedCallback]:
    """The deploy of every deployment, each message so many times, in the order of arrival."""
    return [letter(of_deployment(sample, name)) for sample in STORY for name in DEPLOYMENTS for _ in range(times)]


def dealt(letters: Sequence[ParsedCallback], seed: int) -> list[list[ParsedCallback]]:
    """Batches of one to eight, in any order, so that all batches want the same rows."""
    rng = random.Random(seed)
    left, batches = rng.sample(letters, len(letters)), []
    while left:
        size = rng.randint(1, 8)
        batches.append(left[:size])
        left = left[size:]
    return batches


async def assert_all_is_there(connection: Connection, letters: Sequence[ParsedCallback]) -> None:
    """Every letter once, every deployment up, every VM and operation there once, the ledger whole."""
    kept = [row["receipt"] for row in await connection.fetch("SELECT receipt FROM callbacks")]
    assert sorted(kept) == sorted(one.envelope.receipt for one in letters)
    assert await connection.fetchval("SELECT count(*) FROM callbacks WHERE outcome = 'unclassified'") == 0
    for table, state in (("deployments", "ACTIVE"), ("vms", "ALIVE"), ("operations", "SUCCEEDED")):
        states = [row["state"] for row in await connection.fetch(f"SELECT state FROM {table}")]  # noqa: S608 - from above
        assert states == [state] * len(DEPLOYMENTS), table
    aliases = await connection.fetch("SELECT vm_id FROM vm_aliases")
    assert len(aliases) == len(DEPLOYMENTS)
    posted = await connection.fetchval("SELECT count(*) FROM outbox")
    assert posted == await connection.fetchval("SELECT count(*) FROM transitions")
    await assert_ledger_is_whole(connection)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_two_receivers_make_the_same_entities_at_once(
    postgres_dsn: str, connection: Connection, seed: int
) -> None:
    """Many batches begin the same deployments, VMs and operations side by side, every message twice."""
    letters = stories(times=2)
    async with keeping(postgres_dsn) as one, keeping(postgres_dsn) as other:
        batches = dealt(letters, seed)
        told = await asyncio.gather(*(decisions((one, other)[n % 2], batch) for n, batch in enumerate(batches)))
    assert {decision.outcome for batch in told for decision in batch} <= {
        Outcome.APPLIED,
        Outcome.DUPLICATE,
        Outcome.LATE,
    }
    await assert_all_is_there(connection, letters)


async def kill_until(done: asyncio.Event, dsn: str) -> int:
    """Ends connections of receivers again and again; how many."""
    killer = await asyncpg.connect(dsn)
    await killer.execute("SELECT setseed(0.5)")
    killed = 0
    while not done.is_set() and killed < ENOUGH:
        killed += await killer.fetchval(KILL, 0.3)
    await killer.close()
    return killed


async def test_killed_connections_neither_lose_nor_repeat(postgres_dsn: str, connection: Connection) -> None:
    """PostgreSQL ends their connections all the time, wherever they are: every letter is kept exactly once."""
    letters, done = stories(times=4), asyncio.Event()
    async with keeping(postgres_dsn, commit_timeout_s=60, commit_retry_s=0.001) as keeper:
        killing = asyncio.create_task(kill_until(done, postgres_dsn))
        await asyncio.gather(*(decisions(keeper, batch) for batch in dealt(letters, seed=1)))
        done.set()
        assert await killing > 0
    await assert_all_is_there(connection, letters)


@pytest.mark.parametrize("together", [True, False], ids=["one-batch", "many-batches"])
async def test_a_commit_whose_answer_is_lost_is_not_repeated(
    postgres_dsn: str, connection: Connection, together: bool
) -> None:
    """The connection breaks between PostgreSQL's commit and its answer: what is there is found, and told as it was."""
    letters = stories()
    async with (
        Wire(postgres_dsn).laid() as wire,
        keeping(wire.dsn, commit_timeout_s=60, commit_retry_s=0.001) as keeper,
    ):
        batches = [letters] if together else dealt(letters, seed=1)
        await make_partitions(keeper)
        wire.cut_instead_of(COMMITTED, times=len(batches))
        told = await asyncio.gather(*(decisions(keeper, batch) for batch in batches))
        assert wire.cuts == len(batches)
    outcomes = {row["receipt"]: row for row in await connection.fetch("SELECT receipt, outcome, rule FROM callbacks")}
    for batch, answers in zip(batches, told, strict=True):
        for one, decision in zip(batch, answers, strict=True):
            row = outcomes[one.envelope.receipt]
            assert (row["outcome"], row["rule"]) == (decision.outcome, decision.rule)
    await assert_all_is_there(connection, letters)


async def make_partitions(keeper: BatchWriter) -> None:
    """Else the first transaction would be the one that makes them."""
    async with keeper._database.acquire() as connection:
        await keeper._partitions.ensure(connection, [letter(STORY[0]).envelope.received_at])
