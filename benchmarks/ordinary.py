"""The ordinary way: one transaction for each request, then a publish that is awaited.

Reads, judges and writes with the receiver's own rooms and statements, so that what differs is the way alone. It
needs no outbox and writes none; a crash between commit and publish would lose the message.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence

import nats
import orjson
from aiohttp import web
from nats.js import JetStreamContext

from receiver.config.settings import Settings
from receiver.events.cloudevents import OutboxRow
from receiver.lifecycle import Windows
from receiver.model.entities import Decision
from receiver.model.envelope import Clock, Envelope, read_head
from receiver.model.notification import Channel
from receiver.observability.metrics import Metrics
from receiver.parsing.parsed_callback import ParsedCallback
from receiver.parsing.parser import parse
from receiver.postgres.database import Database
from receiver.postgres.partitions import Partitions
from receiver.postgres.session import Connection
from receiver.postgres.store import Store, events_of
from receiver.postgres.unit_of_work import UnitOfWork

POOL_SIZE = 16
"""Of 8, 16, 32 and 64 the quickest on two cores."""
SUBJECTS = "ordinary"


class WithoutOutbox(Store):
    """The receiver's store, but that nothing is written for a relay."""

    async def write(
        self,
        connection: Connection,
        known: UnitOfWork,
        kept: Sequence[tuple[ParsedCallback, Decision]],
        decisions: Sequence[Decision],
        events: Sequence[OutboxRow],
    ) -> None:
        """As there, without `events`."""
        await super().write(connection, known, kept, decisions, [])


class Ordinary:
    """The handler."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = Database(settings, Metrics())
        self._store = WithoutOutbox(Windows())
        self._clock = Clock()
        self._jetstream: JetStreamContext

    async def open(self, _: web.Application) -> AsyncIterator[None]:
        """Connections, as long as the application runs."""
        await self._database.open()
        await self._database.prepare(Partitions(self._settings))
        client = await nats.connect(self._settings.nats_url)
        self._jetstream = client.jetstream()
        await self._jetstream.add_stream(name="ORDINARY", subjects=[f"{SUBJECTS}.>"])
        yield
        await client.close()
        await self._database.close()

    async def post(self, request: web.Request) -> web.Response:
        """Keep, publish, answer."""
        envelope = self._envelope(request, await request.read())
        letter = ParsedCallback(envelope, parse(envelope, self._settings.xml_depth_max))
        async with self._database.acquire() as connection:
            (decision,) = await self._store.write_batch(connection, [letter])
        for event in events_of(letter, decision):
            await self._publish(event)
        return web.json_response({"receipt": str(envelope.receipt), "outcome": decision.outcome})

    async def _publish(self, event: OutboxRow) -> None:
        headers = orjson.loads(event.headers)
        await self._jetstream.publish(f"{SUBJECTS}.{event.subject}", event.payload.encode(), headers=headers)

    def _envelope(self, request: web.Request, body: bytes) -> Envelope:
        head = read_head(request.raw_headers, self._settings.header_bytes_max)
        received_at, receipt = self._clock.stamp()
        return Envelope.of(
            head, receipt=receipt, received_at=received_at, source="default", channel=Channel.CALLBACK,
            remote=request.remote, ref=None, body=body, redacted=False,
        )  # fmt: skip


def main() -> None:
    """Serves on the port, the database and the NATS that are the arguments."""
    port, postgres_dsn, nats_url = sys.argv[1:]
    handler = Ordinary(Settings(postgres_dsn=postgres_dsn, nats_url=nats_url, postgres_pool_size=POOL_SIZE))
    app = web.Application()
    app.cleanup_ctx.append(handler.open)
    app.add_routes([web.post("/esc/{source}/callback", handler.post)])
    web.run_app(app, host="127.0.0.1", port=int(port), access_log=None, print=None)


if __name__ == "__main__":
    main()
