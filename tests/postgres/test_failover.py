"""PostgreSQL with a synchronous standby: what was acknowledged is on both, and whichever is left is found."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from functools import partial
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil

from receiver.embedded.servers import EmbeddedPostgres
from receiver.model.entities import Decision
from receiver.parsing.parsed_callback import ParsedCallback
from receiver.postgres.batch_writer import BatchWriter
from receiver.postgres.hosts import each_host
from receiver.postgres.migrations import migrate
from tests.support.auditor import assert_ledger_is_whole
from tests.support.batches import decisions, keeping, letter, of_deployment
from tests.support.feed import until
from tests.support.samples import SEQUENCES
from tests.support.standby import IN_SYNC, PATIENCE_S, demand_standby, standby_of

STORY = next(one for one in SEQUENCES if one.scenario == "deploy-ok").samples
CANCEL = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


def story(name: str) -> list[ParsedCallback]:
    """The deploy of a deployment of this name."""
    return [letter(of_deployment(sample, name)) for sample in STORY]


async def until_kept(keeper: BatchWriter, letters: Sequence[ParsedCallback]) -> None:
    """As the spool does: tried again until it is done."""
    async with asyncio.timeout(PATIENCE_S):
        for _ in count():
            if all(isinstance(what, Decision) for what in await keeper.write(letters)):
                return


async def until_commits_wait(connection: asyncpg.Connection[asyncpg.Record], dsn: str) -> None:
    """A reload is not waited for: some commits may still go through after it."""
    other = await asyncpg.connect(dsn)

    async def commit() -> None:
        while True:
            await other.execute("SELECT pg_current_xact_id()")

    async def waits() -> bool:
        return bool(await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"))

    committing = asyncio.create_task(commit())
    await until(waits)
    committing.cancel()
    await asyncio.gather(committing, return_exceptions=True)
    other.terminate()


async def test_a_commit_that_stopped_waiting_for_its_standby_is_not_kept(tmp_path: Path) -> None:
    """PostgreSQL only warns when it is told to wait no longer; a 2xx would not outlive a failover."""
    async with EmbeddedPostgres(tmp_path / "postgres") as postgres:
        connection = await asyncpg.connect(postgres.dsn)
        await migrate(connection)
        async with keeping(postgres.dsn, commit_timeout_s=2, commit_retry_s=0.05) as keeper:
            await decisions(keeper, story("before"))
            await demand_standby(connection, "nobody")
            await until_commits_wait(connection, postgres.dsn)
            letters = story("meanwhile")
            keeping_on = asyncio.create_task(keeper.write(letters))
            while not keeping_on.done():
                await connection.execute(CANCEL)
                await asyncio.wait([keeping_on], timeout=0.05)
            assert not any(isinstance(what, Decision) for what in await keeping_on)
            await demand_standby(connection, "")
            await until_kept(keeper, letters)
        assert await connection.fetchval("SELECT count(*) FROM callbacks") == 2 * len(STORY)
        await assert_ledger_is_whole(connection)
        await connection.close()


async def test_a_failover_loses_nothing(tmp_path: Path) -> None:
    """The primary falls silent without closing a connection; the standby is promoted, and found by the same DSN."""
    async with (
        EmbeddedPostgres(tmp_path / "primary") as primary,
        standby_of(primary, tmp_path / "standby") as port,
    ):
        connection = await asyncpg.connect(primary.dsn)
        await migrate(connection)
        await demand_standby(connection, "standby")
        await until(partial(connection.fetchval, IN_SYNC))
        await connection.close()
        both = f"{primary.dsn.removesuffix('/postgres')},127.0.0.1:{port}/postgres?target_session_attrs=read-write"
        async with keeping(both, commit_timeout_s=2, postgres_connect_timeout_s=1, commit_retry_s=0.05) as keeper:
            await decisions(keeper, story("before"))
            frozen = [psutil.Process(primary.pid), *psutil.Process(primary.pid).children()]
            for process in frozen:
                process.send_signal(signal.SIGSTOP)
            try:
                promoted = await asyncpg.connect(urlsplit(each_host(both)[1])._replace(query="").geturl())
                assert await promoted.fetchval("SELECT pg_promote()")
                await until_kept(keeper, story("after"))
                assert await promoted.fetchval("SELECT count(*) FROM callbacks") == 2 * len(STORY)
                await assert_ledger_is_whole(promoted)
                await promoted.close()
            finally:
                for process in frozen:
                    process.send_signal(signal.SIGCONT)


def test_each_host_has_a_dsn() -> None:
    """Whatever else the DSN says stays with each; where hosts are not told in its authority, it stays as it is."""
    assert each_host("postgresql://u:p@a:1,[::1]:2,c/db?sslmode=require") == [
        "postgresql://u:p@a:1/db?sslmode=require",
        "postgresql://u:p@[::1]:2/db?sslmode=require",
        "postgresql://u:p@c/db?sslmode=require",
    ]
    assert each_host("postgresql:///db?host=a,b") == ["postgresql:///db?host=a,b"]
