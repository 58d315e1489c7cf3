"""Relays of one test: on its database and its broker, in this process or in one of their own."""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import orjson

from receiver.config.settings import Settings
from receiver.events.cloudevents import OutboxRow
from receiver.observability.metrics import Metrics
from receiver.publishing.broker import Broker
from receiver.publishing.jetstream import JetStream
from receiver.publishing.relay import Relay, Sent
from tests.support import feed
from tests.support.feed import Connection

QUICK = {
    "publish_timeout_s": 1,
    "nats_connect_timeout_s": 1,
    "relay_sweep_s": 1,
    "relay_takeover_s": 0.2,
    "relay_gather_s": 0,
}

RELAY = """
import asyncio, sys
import asyncpg, orjson
from receiver.publishing.broker import Broker
from receiver.publishing.jetstream import JetStream
from receiver.observability.metrics import Metrics
from receiver.publishing.relay import Relay
from receiver.config.settings import Settings

async def main():
    settings = Settings(**orjson.loads(sys.argv[1]))
    metrics = Metrics()
    jetstream = JetStream(Broker(settings, metrics), settings)
    await Relay(lambda: asyncpg.connect(settings.postgres_dsn), jetstream, settings, metrics).run()

asyncio.run(main())
"""


@dataclass
class Place:
    """A database and a broker for the relays of one test."""

    postgres_dsn: str
    nats_url: str
    connection: Connection
    clean_up: AsyncExitStack = field(default_factory=AsyncExitStack)

    def settings(self, **changes: Any) -> Settings:
        """Quick ones, so that nobody waits for a timeout."""
        return Settings(**{"postgres_dsn": self.postgres_dsn, "nats_url": self.nats_url} | QUICK | changes)

    def relay(self, **changes: Any) -> Relay:
        """One relay of a receiver that cannot mend its stream; its connections are closed after the test."""
        settings, metrics = self.settings(**changes), Metrics()
        broker = Broker(settings, metrics)
        self.clean_up.push_async_callback(broker.close)
        relay = Relay(lambda: asyncpg.connect(self.postgres_dsn), JetStream(broker, settings), settings, metrics)
        self.clean_up.push_async_callback(relay.close)
        return relay

    async def insert(self, rows: Sequence[OutboxRow], *, notify: bool = True) -> None:
        """Put rows into the outbox."""
        await feed.insert(self.connection, rows, notify=notify)

    async def waiting(self) -> int:
        """How many rows the outbox has."""
        return int(await self.connection.fetchval("SELECT count(*) FROM outbox"))

    async def drained(self) -> None:
        """Wait until the outbox is empty."""
        await feed.until(self._is_empty)

    async def stored(self) -> list[feed.Stored]:
        """What the feed's stream has."""
        return await feed.stored(self.nats_url)

    async def backends(self) -> list[int]:
        """The process ids of PostgreSQL's sessions that hold the relay's lock."""
        rows = await self.connection.fetch(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        return [row["pid"] for row in rows]

    async def end_backend(self, pid: int) -> None:
        """Cut a session off, and wait until it has gone."""
        await self.connection.fetchval("SELECT pg_terminate_backend($1, 10000)", pid)

    async def _is_empty(self) -> bool:
        return await self.waiting() == 0


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[asyncio.Task[None]]:
    """The relay at work, stopped in order at the end."""
    task = asyncio.create_task(relay.run())
    yield task
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@asynccontextmanager
async def relay_process(place: Place, **changes: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """A relay in a process of its own, killed at the end."""
    settings = orjson.dumps({"postgres_dsn": place.postgres_dsn, "nats_url": place.nats_url} | QUICK | changes).decode()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RELAY, settings, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def drain(relay: Relay) -> list[Sent]:
    """Run the relay until nothing is left."""
    done: list[Sent] = []
    while not done or done[-1].marked:
        done.append(await relay.run_once())
    return done


def assert_is_the_feed(messages: Sequence[feed.Stored], rows: Sequence[OutboxRow]) -> None:
    """Complete, without duplicates, each entity's messages in order, and each as its schema says."""
    assert sorted(message.id for message in messages) == sorted(row.id for row in rows)
    assert [message.sequence for message in messages] == list(range(1, len(rows) + 1))
    seen: dict[str, list[str]] = defaultdict(list)
    for message in messages:
        seen[message.headers["ce-subject"]].append(message.headers["ce-sequence"])
        feed.validate(message)
    assert all(sequences == sorted(sequences) for sequences in seen.values())
