"""`PostgresInbox` makes a consumer's work exactly once, however often it is killed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import orjson
import pytest
from nats.js.api import StreamConfig

from esc_receiver_client import EscFeed, InboxMissingError, PostgresInbox
from tests.support import feed
from tests.support.consumers import is_acknowledged, publish, take
from tests.support.program import CHECKOUT

EVENTS = 10_000
KILLS = 20
SEED = 16


async def test_exactly_once_through_twenty_kills(
    nats_url: str, postgres_dsn: str, connection: asyncpg.Connection[Any]
) -> None:
    """Of 10,000 events the work of each is done once: killed between any two steps, at moments drawn from a seed."""
    await PostgresInbox("billing").create(connection)
    await connection.execute("CREATE TABLE work (id text NOT NULL)")
    await _publish_many(nats_url, EVENTS)
    chances, done, killed = random.Random(SEED), 0, 0
    moments = sorted(chances.sample(range(EVENTS), KILLS))
    while done < EVENTS:
        program = ("-m", "tests.support.inbox_program", nats_url, postgres_dsn)
        process = await asyncio.create_subprocess_exec(sys.executable, *program, cwd=CHECKOUT)
        until = moments[killed] if killed < KILLS else EVENTS
        before = done
        while done < max(until, before + 1):
            assert process.returncode is None
            await asyncio.sleep(chances.random() * 0.01)
            done = await connection.fetchval("SELECT count(*) FROM work")
        if killed >= KILLS:  # let it acknowledge the last ones
            await feed.until(lambda: is_acknowledged(nats_url, "billing", EVENTS))
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        killed += 1
    assert killed > KILLS
    counts = await connection.fetchrow(
        "SELECT (SELECT count(*) FROM work) AS done, (SELECT count(DISTINCT id) FROM work) AS different,"
        " (SELECT count(*) FROM esc_receiver_inbox) AS kept"
    )
    assert counts
    assert dict(counts) == {"done": EVENTS, "different": EVENTS, "kept": EVENTS}


async def test_it_goes_with_the_transaction(nats_url: str, connection: asyncpg.Connection[Any]) -> None:
    """Rolled back, the event is new again; committed, it is not, under this consumer's name."""
    inbox = PostgresInbox("billing")
    await inbox.create(connection)
    await inbox.create(connection)
    await publish(nats_url, [feed.event(feed.vm())])
    async with EscFeed(nats_url) as esc_feed:
        (event,) = await take(esc_feed.subscribe(), 1)
    rolled_back = connection.transaction()
    await rolled_back.start()
    assert await inbox.is_new(connection, event)
    await rolled_back.rollback()
    for expected in (True, False):
        async with connection.transaction():
            assert await inbox.is_new(connection, event) is expected
    async with connection.transaction():
        assert await PostgresInbox("audit").is_new(connection, event)
    with pytest.raises(ValueError, match="transaction of the work"):
        await inbox.is_new(connection, event)


async def test_ids_are_forgotten_by_their_age(nats_url: str, connection: asyncpg.Connection[Any]) -> None:
    """Those of this consumer."""
    await publish(nats_url, [feed.event(feed.vm())])
    async with EscFeed(nats_url) as esc_feed:
        (event,) = await take(esc_feed.subscribe(), 1)
    billing, audit = PostgresInbox("billing"), PostgresInbox("audit")
    with pytest.raises(InboxMissingError, match=r"call PostgresInbox\.create"):
        async with connection.transaction():
            await billing.is_new(connection, event)
    await billing.create(connection)
    for inbox in (billing, audit):
        async with connection.transaction():
            await inbox.is_new(connection, event)
    await billing.forget(connection, datetime.now(UTC) - timedelta(days=1))
    assert await connection.fetchval("SELECT count(*) FROM esc_receiver_inbox") == 2
    await billing.forget(connection, datetime.now(UTC) + timedelta(days=1))
    assert await connection.fetchval("SELECT consumer FROM esc_receiver_inbox") == "audit"


async def _publish_many(url: str, number: int) -> None:
    async with feed.jetstream(url) as js:
        await js.add_stream(StreamConfig(name="ESC", subjects=["esc.v1.>"]))
        rows = feed.vm_events(number)
        for first in range(0, number, 500):
            chosen = rows[first : first + 500]
            await asyncio.gather(
                *(js.publish(row.subject, row.payload.encode(), headers=orjson.loads(row.headers)) for row in chosen)
            )
