"""A command that does the relay's work for a while: alone, and then until what it put into the outbox is published.

A running receiver that is the relay is asked to step down, and may take over again as soon as the outbox is filled.
From then on whoever is the relay publishes, so a command may be interrupted. Must not know what is put into the outbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple, TypeAlias

from receiver.config.settings import Settings
from receiver.errors import SetupError, describe
from receiver.observability.metrics import Metrics
from receiver.parsing.body_readers import BodyReaders
from receiver.postgres.database import Database
from receiver.postgres.driver_errors import UNUSABLE
from receiver.postgres.statements import statements
from receiver.postgres.store import ROWS
from receiver.publishing.broker import Broker
from receiver.publishing.comparison import FeedComparison
from receiver.publishing.jetstream import JetStream
from receiver.publishing.outbox import Outbox
from receiver.publishing.rebuild import StreamRebuild
from receiver.publishing.relay import Relay
from receiver.publishing.repair import Repair
from receiver.replay.replayer import check_schema

Report: TypeAlias = Callable[[str, int, int], None]
"""Called with what is counted, how many are done, and of how many."""

CHECK_EVERY_S = 0.5


class RelayPlace(NamedTuple):
    """Where a command works: one database, one NATS."""

    database: Database
    jetstream: JetStream
    comparison: FeedComparison
    rebuild: StreamRebuild
    settings: Settings
    metrics: Metrics

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[Outbox]:
        """Be the relay, so that nobody else publishes."""
        settings = self.settings
        outbox = Outbox(self.database.connect, settings, lambda: None)
        try:
            await outbox.demand(2 * settings.publish_timeout_s + settings.relay_takeover_s)
            yield outbox
        finally:
            outbox.drop()

    async def publish(self, messages: int, report: Report) -> None:
        """Publish what is in the outbox, unless a running receiver becomes the relay first; wait until it is done."""
        repair = Repair(self.comparison, self.rebuild, self.metrics)
        relay = Relay(self.database.connect, self.jetstream, self.settings, self.metrics, repair)
        publishing = asyncio.create_task(relay.run(), name="relay")
        try:
            while left := await self._left():
                report("published", messages - left, messages)
                await asyncio.sleep(CHECK_EVERY_S)
        finally:
            publishing.cancel()
            await asyncio.wait([publishing])

    async def _left(self) -> int:
        async with self.database.acquire() as connection:
            return int(await connection.fetchval(statements("publishing/rebuild.sql", ROWS)["how_many_left"]))


@asynccontextmanager
async def relay_place(settings: Settings) -> AsyncIterator[RelayPlace]:
    """Connected, the schema checked. Raises ReceiverErrors, each one clear line."""
    metrics = Metrics(settings.all_sources)
    database, broker, readers = Database(settings, metrics), Broker(settings, metrics), BodyReaders(settings)
    jetstream = JetStream(broker, settings)
    comparison = FeedComparison(database, jetstream, settings)
    rebuild = StreamRebuild(database, settings, readers)
    broker.check()
    await database.open()
    try:
        await check_schema(database)
        yield RelayPlace(database, jetstream, comparison, rebuild, settings, metrics)
    except UNUSABLE as error:
        raise SetupError(f"PostgreSQL cannot be used now ({describe(error)}); the same may be run again") from error
    finally:
        await readers.close()
        await broker.close()
        await database.close()
