"""A receiver, its database, and a NATS of its own that a test may do anything to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import nats
import orjson

from esc_lab.simulator import Faults, SimulateOptions, simulate
from receiver.app import App, running
from receiver.config.settings import Settings
from receiver.embedded.servers import EmbeddedNats
from tests.support import auditor, feed
from tests.support.feed import Connection

OPTIONS = SimulateOptions(deployments=2, rate=0, faults=Faults.of("unknown=0.2"))


class ServedFeed:
    """One receiver, its database, and a NATS of its own."""

    def __init__(self, settings: Settings, connection: Connection, server: EmbeddedNats) -> None:
        self.settings = settings.model_copy(update={"nats_url": server.url})
        self.connection = connection
        self.server = server

    @asynccontextmanager
    async def served(self) -> AsyncIterator[App]:
        """The receiver, ready."""
        async with running(self.settings) as app:
            await feed.until(partial(_is_direct, app))
            yield app

    async def traffic(self, app: App, seed: int) -> None:
        """Some deployments live; all of it is published."""
        await simulate(replace(OPTIONS, seed=seed, target=app.url))
        await self.drained()

    async def drained(self) -> None:
        """Nothing waits to be published."""
        await feed.until(self._is_drained)

    async def ids(self) -> list[str]:
        """The ids in the stream, in its order."""
        return [str(message.id) for message in await feed.stored(self.server.url)]

    async def in_ledger(self) -> list[str]:
        """The ids of the ledger, in the order of visibility."""
        rows = await self.connection.fetch("SELECT id FROM transitions ORDER BY xid, position")
        return [str(row["id"]) for row in rows]

    async def is_complete(self) -> bool:
        """Nothing waits, and whatever the ledger has the stream has."""
        return await self._is_drained() and set(await self.in_ledger()) <= set(await self.ids())

    async def assert_complete(self) -> None:
        """All there, each once; what was missing in the middle comes late."""
        await feed.until(self.is_complete)
        ids = await self.ids()
        assert len(ids) == len(set(ids))

    async def assert_whole(self) -> None:
        """Also in order."""
        await self.assert_complete()
        messages = await auditor.published(self.connection, self.server.url)
        await auditor.assert_feed_equals_ledger(self.connection, messages)

    async def api(self, verb: str, request: Any = None) -> Any:
        """A request to JetStream."""
        client = await nats.connect(self.server.url)
        answer = await client.request(f"$JS.API.{verb}", orjson.dumps(request or {}), timeout=feed.PATIENCE_S)
        await client.close()
        document = orjson.loads(answer.data)
        assert "error" not in document, document
        return document

    async def update(self, **changes: Any) -> None:
        """As an administrator edits the stream: with all that it has."""
        config = (await self.api("STREAM.INFO.ESC"))["config"]
        await self.api("STREAM.UPDATE.ESC", config | changes)

    async def remove(self, *sequences: int) -> list[str]:
        """Delete messages from the stream; their ids."""
        ids = [str(message.id) for message in await feed.stored(self.server.url) if message.sequence in sequences]
        for sequence in sequences:
            await self.api("STREAM.MSG.DELETE.ESC", {"seq": sequence})
        return ids

    async def restart(self) -> None:
        """The NATS server, cleanly."""
        await self.server.stop()
        await self.server.start()

    async def _is_drained(self) -> bool:
        return not await self.connection.fetchval("SELECT EXISTS (SELECT FROM outbox)")


async def _is_direct(app: App) -> bool:
    return app.router.direct


def quick_settings(postgres_dsn: str, folder: Path) -> Settings:
    """Of a receiver that notices soon; its ids may come again after a second."""
    return Settings(
        postgres_dsn=postgres_dsn, data_dir=folder / "receiver", port=0, relay_sweep_s=0.1, relay_takeover_s=0.2,
        stream_duplicate_window_s=1, log_callbacks=False, nats_connect_timeout_s=1, publish_timeout_s=1,
    )  # fmt: skip
