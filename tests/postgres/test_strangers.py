"""A role that may only connect to the database: it stops nothing, whatever it locks, notifies or waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from structlog.testing import capture_logs

from receiver.app import App, running
from receiver.config.settings import Settings
from receiver.errors import OutboxError
from receiver.postgres.locks import LockHeldError
from receiver.postgres.migrations import known, migrate
from receiver.postgres.partitions import Partitions
from receiver.publishing.outbox import FORMER_LOCK_KEY, LEAVE, Outbox
from tests.support import feed
from tests.support.auditor import Connection, is_empty
from tests.support.browser import deploy, post
from tests.support.program import program

KEYS_OF_THE_RELEASE_BEFORE = (0x0E5C_0001, 0x0E5C_0002, 0x65736370)
CHANNELS_OF_THE_RELEASE_BEFORE = ("esc_receiver_outbox", "esc_receiver_relay")
HELD_KEYS = """
SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks
WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@pytest.fixture
async def stranger(postgres_dsn: str, connection: Connection) -> AsyncIterator[Connection]:
    """Its connection."""
    url = urlsplit(postgres_dsn)
    name = f"stranger_{url.path[1:]}"
    await connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
    theirs = await asyncpg.connect(url._replace(netloc=f"{name}:secret@{url.hostname}:{url.port}").geturl())
    yield theirs
    await theirs.close()
    await connection.execute(f"DROP ROLE {name}")


@pytest.fixture
def settings(postgres_dsn: str, nats_url: str, tmp_path: Path) -> Settings:
    """A receiver that notices soon."""
    return Settings(
        postgres_dsn=postgres_dsn,
        nats_url=nats_url,
        data_dir=tmp_path,
        port=0,
        relay_takeover_s=0.2,
        postgres_lock_timeout_s=0.2,
    )


async def leads(app: App) -> bool:
    """Whether this receiver is the relay."""
    return app.metrics.registry.get_sample_value("esc_receiver_relay_leader") == 1


async def outbox_of(settings: Settings) -> Outbox:
    """A relay's side of PostgreSQL."""
    return Outbox(lambda: asyncpg.connect(settings.postgres_dsn), settings, lambda: None)


async def test_locks_that_everybody_knows_are_not_waited_for(
    settings: Settings, stranger: Connection, connection: Connection
) -> None:
    """They were those of the release before: a start hung without a word, and the feed stood still."""
    for key in KEYS_OF_THE_RELEASE_BEFORE:
        await stranger.execute("SELECT pg_advisory_lock($1)", key)
    async with running(settings) as app:
        working = asyncio.create_task(app.run())
        await app.until_ready()
        assert await post(app, deploy("dep-1")) == [200, 200, 200]
        await feed.until(lambda: is_empty(connection))
        working.cancel()


async def test_a_stranger_in_line_does_not_get_the_place(
    settings: Settings, stranger: Connection, connection: Connection
) -> None:
    """A lock that is held shows its key to everybody: he waits for it, and has it when the relay goes."""
    first, second = await outbox_of(settings), await outbox_of(settings)
    assert await first.elect()
    keys = [row[0] for row in await stranger.fetch(HELD_KEYS)]
    key = next(key for key in keys if key != FORMER_LOCK_KEY)
    waiting = asyncio.create_task(stranger.execute("SELECT pg_advisory_lock($1)", key))
    await feed.until(lambda: _is_waited_for(connection))
    await first.close()
    await waiting
    with capture_logs() as lines:
        assert not await second.elect()
    assert "stranger_" in lines[0]["by"]
    assert await second.elect()
    await second.close()


async def test_a_wake_up_is_only_a_hint(settings: Settings, stranger: Connection, connection: Connection) -> None:
    """Even where somebody has learnt the channel: the relay looks whether one who may write here waits."""
    relay = await outbox_of(settings)
    assert await relay.elect()
    channel = await connection.fetchval("SELECT channel FROM relay")
    for name in (*CHANNELS_OF_THE_RELEASE_BEFORE, channel):
        await stranger.execute("SELECT pg_notify($1, $2)", name, LEAVE)
    await feed.until(lambda: _was_told(relay))
    key = await connection.fetchval("SELECT lock_key FROM relay")
    waiting = asyncio.create_task(stranger.execute("SELECT pg_advisory_lock($1)", key))
    await feed.until(lambda: _is_waited_for(connection))
    assert await relay.elect()
    await relay.close()
    await waiting


async def test_the_place_is_given_to_one_who_may_write_here(settings: Settings) -> None:
    """He stands in line and hints, until the relay has looked."""
    relay, rebuilder = await outbox_of(settings), await outbox_of(settings)
    assert await relay.elect()
    demanding = asyncio.create_task(rebuilder.demand(30))
    with pytest.raises(OutboxError, match="the relay's place was asked for"):
        await _lead_on(relay)
    relay.drop()
    await demanding
    assert rebuilder.leading
    assert not await relay.elect()
    relay.drop()
    rebuilder.drop()


async def test_a_relay_of_the_release_before_is_waited_for(settings: Settings, connection: Connection) -> None:
    """While both releases run, one of them publishes."""
    await connection.execute("SELECT pg_advisory_lock($1)", FORMER_LOCK_KEY)
    relay = await outbox_of(settings)
    assert not await relay.elect()
    await connection.execute("SELECT pg_advisory_unlock($1)", FORMER_LOCK_KEY)
    assert await relay.elect()
    await relay.close()


async def test_secrets_are_not_shown_to_strangers(stranger: Connection) -> None:
    """Lock and channel stand in a table that he may not read."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await stranger.fetch("SELECT lock_key, channel FROM relay")


@pytest.mark.parametrize("table", ["schema_migrations", "operations"])
async def test_a_start_says_who_holds_a_lock(
    empty_postgres_dsn: str, nats_url: str, tmp_path: Path, table: str
) -> None:
    """Not even the record, or not the table that a migration changes; when it is free, the start goes on."""
    holder = await asyncpg.connect(empty_postgres_dsn, server_settings={"application_name": "somebody"})
    await migrate(holder, [one for one in known() if one.version < 5])
    settings: dict[str, Any] = {
        "postgres_dsn": empty_postgres_dsn, "nats_url": nats_url, "data_dir": tmp_path, "port": 0,
        "postgres_lock_timeout_s": 0.2,
    }  # fmt: skip
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
    async with program("serve", **settings) as serving:
        line = await serving.says("PostgreSQL cannot be used yet; trying on (ESC_RECEIVER_POSTGRES_DSN)")
        pid = holder.get_server_pid()
        assert line["why"] == (
            f"a lock is held on {table} (ShareRowExclusiveLock) by process {pid}, role postgres, application 'somebody'"
        )
        await transaction.rollback()
        await serving.says("PostgreSQL is ready")
    await holder.close()


async def test_partitions_say_who_holds_a_lock(settings: Settings, connection: Connection) -> None:
    """They wait no longer than a callback may."""
    other = await asyncpg.connect(settings.postgres_dsn)
    async with other.transaction():
        await other.execute("LOCK TABLE callbacks IN SHARE UPDATE EXCLUSIVE MODE")
        with pytest.raises(LockHeldError, match=rf"callbacks .*process {other.get_server_pid()}, role postgres"):
            await Partitions(settings).make_ahead(connection, feed.NOW)
    await Partitions(settings).make_ahead(connection, feed.NOW)
    await other.close()


async def _lead_on(relay: Outbox) -> None:
    while await relay.elect():  # noqa: ASYNC110 - until it is told otherwise
        await asyncio.sleep(0.05)


async def _was_told(relay: Outbox) -> bool:
    return relay._asked_to_leave


async def _is_waited_for(connection: Connection) -> bool:
    return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"))
