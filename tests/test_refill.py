"""A stream that lost everything is rebuilt from the ledger, once, with the ids of the first time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import asyncpg
import nats
import nats.js.errors
import pytest

from receiver.app import App
from receiver.embedded import EmbeddedNats
from receiver.serve import running
from receiver.settings import Settings
from receiver.simulator import Faults, SimulateOptions, simulate
from tests import feed


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
    messages = [await jetstream.get_msg(name, sequence) for sequence in range(1, last + 1)]
    await client.close()
    return [(message.headers or {})["Nats-Msg-Id"] for message in messages]


async def test_empty_stream_is_rebuilt_from_the_ledger(settings: Settings, connection: Any, tmp_path: Path) -> None:
    """NATS comes back with an empty store: every message of before is there again, in the order of the ledger."""
    broker = EmbeddedNats(tmp_path / "nats")
    await broker.start()
    pointed = settings.model_copy(update={"nats_url": broker.url})
    options = SimulateOptions(seed=3, deployments=3, rate=0, faults=Faults.of("unknown=0.2"))
    try:
        async with running(pointed) as app:
            await feed.until(lambda: is_direct(app))
            await simulate(replace(options, target=app.url))
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
    return app.drain.direct
