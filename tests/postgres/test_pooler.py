"""PgBouncer between the receiver and PostgreSQL: each promise holds, or one line says what to change."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import pytest

from receiver.app import running
from receiver.config.settings import Settings
from receiver.postgres.database import connect
from receiver.postgres.session import SHARED, WRITING, SessionError, set_up
from tests.support import feed
from tests.support.auditor import Connection, assert_feed_equals_ledger, is_empty, published
from tests.support.batches import decisions, keeping, letter, of_deployment
from tests.support.browser import deploy, post
from tests.support.pooler import needs_pgbouncer, pooled
from tests.support.program import program
from tests.support.samples import SEQUENCES

STORY = next(one for one in SEQUENCES if one.scenario == "deploy-ok").samples
DROPPED_ON_THE_WAY = (
    "ignore_startup_parameters = synchronous_commit,jit,plan_cache_mode,idle_in_transaction_session_timeout"
)
WITNESS = """
CREATE TABLE commits (synchronous_commit text NOT NULL);
CREATE FUNCTION note_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO commits VALUES (current_setting('synchronous_commit'));
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER witness AFTER INSERT ON outbox DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION note_commit();
"""
"""Writes down, in each commit, how durable it is asked to be."""

pytestmark = needs_pgbouncer


class Disturbed(asyncpg.Connection):
    """Another client is always quicker, and wants no durable commits."""

    other: asyncpg.Connection[asyncpg.Record]

    async def fetch(self, *arguments: Any, **options: Any) -> Any:
        """As the base does, and then the other has its turn."""
        found = await super().fetch(*arguments, **options)
        await self.other.execute("SET synchronous_commit = off")
        return found


async def durabilities(connection: Connection) -> set[str]:
    """How durable commits were asked to be."""
    return {row[0] for row in await connection.fetch("SELECT synchronous_commit FROM commits")}


async def test_a_receiver_works_through_a_pooler_that_lends_sessions(
    postgres_dsn: str, connection: Connection, nats_url: str, tmp_path: Path
) -> None:
    """Callbacks are committed, the relay publishes them, and the query API answers."""
    async with pooled(postgres_dsn, tmp_path / "pooler") as pooler:
        settings = Settings(
            postgres_dsn=pooler.dsn, nats_url=nats_url, data_dir=tmp_path / "receiver", port=0, relay_takeover_s=0.2
        )
        async with running(settings) as app:
            await app.until_ready()
            assert await post(app, deploy("dep-1")) == [200, 200, 200]
            await feed.until(lambda: is_empty(connection))
            async with aiohttp.ClientSession(app.url) as client, client.get("/api/v1/vms") as answer:
                assert len((await answer.json())["items"]) == 1
    await assert_feed_equals_ledger(connection, await published(connection, nats_url))


@pytest.mark.parametrize("more", ["", DROPPED_ON_THE_WAY], ids=["refused", "dropped"])
async def test_each_commit_is_durable_though_the_database_says_otherwise(
    postgres_dsn: str, connection: Connection, tmp_path: Path, more: str
) -> None:
    """An administrator has switched durability off, and the pooler takes no settings at the start of a connection."""
    name = urlsplit(postgres_dsn).path[1:]
    await connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    await connection.execute(WITNESS)
    async with pooled(postgres_dsn, tmp_path / "pooler", more=more) as pooler, keeping(pooler.dsn) as keeper:
        for sample in STORY:
            await decisions(keeper, [letter(sample)])
    assert await durabilities(connection) == {"on"}


async def test_the_commit_itself_asks(postgres_dsn: str, connection: Connection) -> None:
    """Though its session was told otherwise meanwhile."""
    await connection.execute(WITNESS)
    async with keeping(postgres_dsn, postgres_pool_size=1) as keeper:
        await decisions(keeper, [letter(STORY[0])])
        async with keeper._database.acquire() as session:
            await session.execute("SET synchronous_commit = off")
        await decisions(keeper, [letter(sample) for sample in STORY[1:]])
    assert await durabilities(connection) == {"on"}


async def test_a_session_that_forgets_its_settings_is_not_used(postgres_dsn: str, tmp_path: Path) -> None:
    """It is lent to another client between its transactions, and here to one that wants it otherwise."""
    async with pooled(postgres_dsn, tmp_path / "pooler", mode="transaction", more="default_pool_size = 1") as pooler:
        connection = await asyncpg.connect(pooler.dsn, connection_class=Disturbed)
        connection.other = await asyncpg.connect(pooler.dsn)
        with pytest.raises(SessionError, match=r"synchronous_commit is 'off', not 'on'.*pool_mode = session"):
            await set_up(connection, WRITING)
        await connection.other.close()


@pytest.mark.parametrize("mode", ["transaction", "statement"])
@pytest.mark.parametrize("more", ["", "server_round_robin = 1"])
async def test_a_pooler_that_lends_transactions_is_recognised(
    postgres_dsn: str, tmp_path: Path, mode: str, more: str
) -> None:
    """By what its clients are given, idle or not."""
    async with pooled(postgres_dsn, tmp_path / "pooler", mode=mode, more=more) as pooler:
        for _ in range(3):
            with pytest.raises(SessionError) as raised:
                await connect(Settings(postgres_dsn=pooler.dsn))
            assert str(raised.value) == SHARED


async def test_sessions_are_recognised_though_there_is_none_left(postgres_dsn: str, tmp_path: Path) -> None:
    """The pooler has one, and we have it."""
    more = "default_pool_size = 1"
    async with pooled(postgres_dsn, tmp_path / "pooler", more=more) as pooler:
        connection = await connect(Settings(postgres_dsn=pooler.dsn, postgres_connect_timeout_s=0.5))
        assert await connection.fetchval("SELECT 1") == 1
        connection.terminate()


async def test_what_comes_meanwhile_is_kept_and_one_line_says_what_to_do(
    postgres_dsn: str, connection: Connection, nats_url: str, tmp_path: Path
) -> None:
    """Nothing is marked as at fault; when the pooler lends sessions, all is brought to PostgreSQL."""
    async with pooled(postgres_dsn, tmp_path / "pooler", mode="transaction") as pooler:
        settings = {"postgres_dsn": pooler.dsn, "nats_url": nats_url, "data_dir": tmp_path / "receiver", "port": 0}
        async with program("serve", **settings) as serving:
            url = (await serving.says("serving"))["url"]
            line = await serving.says("PostgreSQL cannot be used yet; trying on (ESC_RECEIVER_POSTGRES_DSN)")
            assert line["why"] == SHARED
            async with aiohttp.ClientSession(url) as client:
                for sample in (of_deployment(sample, "dep-1") for sample in STORY):
                    async with client.post("/esc/default/callback", data=sample.body, headers=sample.headers) as answer:
                        assert answer.status == 202
                async with client.get("/readyz") as answer:
                    assert (await answer.json())["dependencies"]["postgres"]["why"] == SHARED
            pooler.configure("session")
            pooler.reload()
            await serving.says("PostgreSQL is ready")
            await feed.until(lambda: _all_applied(connection, len(STORY)))


async def _all_applied(connection: Connection, number: int) -> bool:
    outcomes = [row[0] for row in await connection.fetch("SELECT outcome FROM callbacks")]
    return outcomes == ["applied"] * number
