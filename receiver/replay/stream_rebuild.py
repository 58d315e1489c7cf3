"""`esc-receiver replay --to-stream`: the stream rebuilt from PostgreSQL on demand, with the ids of the first time.

Meanwhile this program is the relay: a running receiver is asked to step down, and takes over again when the ledger is
in the outbox. From then on whoever is the relay publishes, this program or a receiver, so it may be interrupted. Must
not know how a message is made (`publishing.rebuild`) or published (`publishing.relay`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeAlias

from receiver.config.settings import Settings
from receiver.errors import SetupError, describe
from receiver.observability.metrics import Metrics
from receiver.parsing.body_readers import BodyReaders
from receiver.postgres.database import Database
from receiver.postgres.driver_errors import UNUSABLE
from receiver.postgres.statements import statements
from receiver.postgres.store import ROWS
from receiver.publishing.broker import Broker
from receiver.publishing.jetstream import JetStream
from receiver.publishing.outbox import Outbox
from receiver.publishing.rebuild import StreamRebuild
from receiver.publishing.relay import Relay
from receiver.publishing.stream_setup import StreamState
from receiver.replay.replayer import check_schema

Report: TypeAlias = Callable[[str, int, int], None]
"""Called with what is counted, how many are done, and of how many."""

CHECK_EVERY_S = 0.5


class FeedRebuild:
    """One run."""

    def __init__(self, database: Database, jetstream: JetStream, settings: Settings, metrics: Metrics) -> None:
        self._database = database
        self._jetstream = jetstream
        self._settings = settings
        self._metrics = metrics
        self._sql = statements("publishing/rebuild.sql", ROWS)

    async def run(self, report: Report, *, purge: bool) -> int:
        """Publish the ledger, and what fitted no rule, again; how many messages that is.

        Raises SetupError for a stream that holds messages (unless `purge`), and ReceiverErrors of NATS and PostgreSQL.
        """
        await check_schema(self._database)
        await self._require_empty(purge=purge)
        async with self._alone():
            messages = await self._fill_outbox(report, purge=purge)
        await self._publish(messages, report)
        return messages

    async def _require_empty(self, *, purge: bool) -> StreamState:
        stream = await self._jetstream.feed(await self._database_id(), whosever=purge)
        if stream.messages and not purge:
            raise SetupError(
                f"stream {stream.name} holds {stream.messages} messages: consumers would get them twice. "
                "With --purge they are taken out first"
            )
        return stream

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Be the relay, so that nobody else publishes."""
        outbox = Outbox(self._database.connect, self._settings, lambda: None)
        try:
            await outbox.demand(2 * self._settings.publish_timeout_s + self._settings.relay_takeover_s)
            yield
        finally:
            outbox.drop()

    async def _fill_outbox(self, report: Report, *, purge: bool) -> int:
        stream = await self._require_empty(purge=purge)  # again: until now others could publish
        readers = BodyReaders(self._settings)
        rebuild = StreamRebuild(self._database, self._settings, readers)
        # Late, so that the stream is empty for as short a time as can be; and its sequence goes on where it was.
        at_last = partial(self._jetstream.empty, stream)
        try:
            messages = await rebuild.run(
                stream.identity, stream.last_sequence, at_last=at_last, report=partial(report, "messages made")
            )
        finally:
            await readers.close()
        await self._jetstream.claim_feed(await self._database_id())  # it may have been another database's
        return messages

    async def _database_id(self) -> str:
        async with self._database.acquire() as connection:
            return str(await connection.fetchval(self._sql["database_id"]))

    async def _publish(self, messages: int, report: Report) -> None:
        """Publish what is in the outbox, unless a running receiver becomes the relay first; wait until it is done."""
        relay = Relay(self._database.connect, self._jetstream, self._settings, self._metrics)
        publishing = asyncio.create_task(relay.run(), name="relay")
        try:
            while left := await self._left():
                report("published", messages - left, messages)
                await asyncio.sleep(CHECK_EVERY_S)
        finally:
            publishing.cancel()
            await asyncio.wait([publishing])

    async def _left(self) -> int:
        async with self._database.acquire() as connection:
            return int(await connection.fetchval(self._sql["how_many_left"]))


async def to_stream(settings: Settings, report: Report = lambda _, __, ___: None, *, purge: bool = False) -> int:
    """Rebuild the stream; how many messages it has. Raises ReceiverErrors, each one clear line."""
    metrics = Metrics(settings.all_sources)
    database, broker = Database(settings, metrics), Broker(settings, metrics)
    await database.open()
    try:
        return await FeedRebuild(database, JetStream(broker, settings), settings, metrics).run(report, purge=purge)
    except UNUSABLE as error:
        raise SetupError(f"PostgreSQL cannot be used now ({describe(error)}); the same may be run again") from error
    finally:
        await broker.close()
        await database.close()
