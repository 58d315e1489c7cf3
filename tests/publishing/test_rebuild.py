"""A stream is rebuilt from the ledger, by itself or on demand, once, with the ids of the first time."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import asyncpg
import nats
import nats.js.errors
import pytest

from esc_lab.simulator import Faults, SimulateOptions, simulate
from receiver.app import App, running
from receiver.config.settings import Settings
from receiver.embedded.servers import EmbeddedNats
from receiver.errors import SetupError
from receiver.observability.metrics import Metrics
from receiver.parsing.body_readers import BodyReaders
from receiver.postgres.database import Database
from receiver.publishing.rebuild import StreamRebuild
from receiver.publishing.stream_setup import is_remembered
from receiver.replay.stream_rebuild import to_stream
from tests.support import auditor, feed

OPTIONS = SimulateOptions(seed=3, deployments=3, rate=0, faults=Faults.of("unknown=0.2,malformed=0.1"))


@pytest.fixture
def settings(postgres_dsn: str, tmp_path: Path) -> Settings:
    """A receiver that notices soon."""
    return Settings(
        postgres_dsn=postgres_dsn, data_dir=tmp_path / "receiver", port=0, relay_sweep_s=0.1, relay_takeover_s=0.2
    )


async def drained(connection: asyncpg.Connection[asyncpg.Record]) -> bool:
    """Nothing waits to be published."""
    return bool(await connection.fetchval("SELECT NOT EXISTS (SELECT FROM outbox)"))


async def ids_in_stream(url: str, name: str) -> list[str]:
    """In the order of the stream."""
    client = await nats.connect(url)
    jetstream = client.jetstream()
    last = (await jetstream.stream_info(name)).state.last_seq
    first = (await jetstream.stream_info(name)).state.first_seq
    messages = [await jetstream.get_msg(name, sequence) for sequence in range(first, last + 1)]
    await client.close()
    return [(message.headers or {})["Nats-Msg-Id"] for message in messages]


async def test_empty_stream_is_rebuilt_from_the_ledger(settings: Settings, connection: Any, tmp_path: Path) -> None:
    """NATS comes back with an empty store: every message of before is there again, in the order of the ledger."""
    broker = EmbeddedNats(tmp_path / "nats")
    await broker.start()
    pointed = settings.model_copy(update={"nats_url": broker.url})
    try:
        async with running(pointed) as app:
            await feed.until(lambda: is_direct(app))
            await simulate(replace(OPTIONS, target=app.url))
            await feed.until(lambda: drained(connection))
            before = await ids_in_stream(broker.url, settings.stream_name)
            await broker.stop()
            rmtree(tmp_path / "nats" / "jetstream")
            await broker.start()
            await feed.until(lambda: stream_of(connection, before, broker.url, settings.stream_name))
            after = await ids_in_stream(broker.url, settings.stream_name)
    finally:
        await broker.stop()
    ledger = [str(row["id"]) for row in await connection.fetch("SELECT id FROM transitions ORDER BY xid, position")]
    assert [i for i in after if i in set(ledger)] == ledger
    assert sorted(after) == sorted(before)


async def test_a_rebuild_waits_for_no_connection_that_died_in_the_pool(settings: Settings, connection: Any) -> None:
    """It may take an hour, so nobody would notice for that long: a failover leaves such connections behind."""
    database = Database(settings, Metrics())
    await database.open()
    async with database.acquire() as idle:
        pid = await idle.fetchval("SELECT pg_backend_pid()")
    os.kill(pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(feed.PATIENCE_S):
            assert await StreamRebuild(database, settings, BodyReaders(settings)).run("a stream", 0) == 0
    finally:
        os.kill(pid, signal.SIGCONT)
        await database.close()


async def stream_of(connection: Any, before: list[str], url: str, name: str) -> bool:
    """The stream has as much as before, and nothing more is to come."""
    client = await nats.connect(url)
    try:
        info = await client.jetstream().stream_info(name)
    except nats.js.errors.NotFoundError:
        return False
    finally:
        await client.close()
    return info.state.messages >= len(before) and await drained(connection)


async def is_direct(app: App) -> bool:
    """PostgreSQL keeps callbacks, rather than the spool."""
    return app.router.direct


@asynccontextmanager
async def served(settings: Settings, connection: Any) -> AsyncIterator[App]:
    """A receiver that has had traffic and published all of it."""
    async with running(settings) as app:
        await feed.until(lambda: is_direct(app))
        await simulate(replace(OPTIONS, target=app.url))
        await feed.until(lambda: drained(connection))
        yield app


async def test_rebuilt_on_demand_beside_a_receiver(settings: Settings, connection: Any, nats_url: str) -> None:
    """The stream is refused as it is, and emptied and filled again when asked for; then the receiver goes on."""
    pointed = settings.model_copy(update={"nats_url": nats_url})
    async with served(pointed, connection) as app:
        before = await ids_in_stream(nats_url, settings.stream_name)
        with pytest.raises(SetupError, match=rf"holds {len(before)} messages.*--purge"):
            await to_stream(pointed)
        assert await ids_in_stream(nats_url, settings.stream_name) == before
        told: list[tuple[str, int, int]] = []
        assert await to_stream(pointed, lambda *one: told.append(one), purge=True) == len(before)
        assert told[0][0] == "messages made"
        after = await ids_in_stream(nats_url, settings.stream_name)
        ledger = [str(row["id"]) for row in await connection.fetch("SELECT id FROM transitions ORDER BY xid, position")]
        assert [i for i in after if i in set(ledger)] == ledger
        assert sorted(after) == sorted(before)
        await simulate(replace(OPTIONS, seed=4, target=app.url))
        await feed.until(lambda: drained(connection))
        await feed.until(lambda: is_calm(app))
    await auditor.assert_feed_equals_ledger(connection, await auditor.published(connection, nats_url))


async def test_rebuilt_on_demand_without_a_receiver(settings: Settings, connection: Any, nats_url: str) -> None:
    """An empty stream is filled whoever runs, also one whose messages were taken out a moment ago."""
    pointed = settings.model_copy(update={"nats_url": nats_url, "stream_duplicate_window_s": 1})
    async with served(pointed, connection):
        before = await ids_in_stream(nats_url, settings.stream_name)
    client = await nats.connect(nats_url)
    await client.jetstream().purge_stream(settings.stream_name)
    await client.close()
    assert await to_stream(pointed) == len(before)
    assert sorted(await ids_in_stream(nats_url, settings.stream_name)) == sorted(before)
    await auditor.assert_feed_equals_ledger(connection, await auditor.published(connection, nats_url))


async def test_rebuilding_may_take_longer_than_a_commit(settings: Settings, connection: Any, nats_url: str) -> None:
    """A ledger of years is not read within `commit_timeout_s`: here somebody holds a lock for twice as long."""
    pointed = settings.model_copy(update={"nats_url": nats_url, "commit_timeout_s": 0.5})
    async with served(pointed.model_copy(update={"commit_timeout_s": 5}), connection):
        before = await ids_in_stream(nats_url, settings.stream_name)
    async with connection.transaction():
        await connection.execute("LOCK TABLE transitions IN ACCESS EXCLUSIVE MODE")
        rebuilding = asyncio.create_task(to_stream(pointed, purge=True))
        await feed.until(lambda: is_waited_for("transitions", pointed.postgres_dsn))
        await connection.execute("SELECT pg_sleep(1)")
    assert await rebuilding == len(before)
    assert sorted(await ids_in_stream(nats_url, settings.stream_name)) == sorted(before)


async def is_waited_for(table: str, dsn: str) -> bool:
    """Somebody wants a lock that another one has."""
    connection = await asyncpg.connect(dsn)
    try:
        return bool(
            await connection.fetchval(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = $1::text::regclass", table
            )
        )
    finally:
        await connection.close()


async def is_calm(app: App) -> bool:
    """The receiver is the relay again, and publishes."""
    return not app.relay.trouble


async def test_whether_an_id_is_remembered_is_asked_without_leaving_a_message(nats_url: str) -> None:
    """Else a stream that was emptied would pass for ready, and its messages for repeats until the window is over."""
    client = await nats.connect(nats_url)
    jetstream = client.jetstream()
    await jetstream.add_stream(name="REPEATS", subjects=["repeats"])
    await jetstream.publish("repeats", b"", headers={"Nats-Msg-Id": "told"})
    assert await is_remembered(client, "repeats", "told", 5)
    assert not await is_remembered(client, "repeats", "new", 5)
    await jetstream.purge_stream("REPEATS")
    assert await is_remembered(client, "repeats", "told", 5)
    assert not await is_remembered(client, "repeats", "new", 5)
    assert (await jetstream.stream_info("REPEATS")).state.messages == 0
    await jetstream.delete_stream("REPEATS")
    await client.close()
