"""The stream is known by an id of ours, and mends itself: whatever its owner does to it, the feed is complete again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any
from uuid import uuid4

import nats
import orjson
import pytest
from structlog.testing import capture_logs

from esc_lab.simulator import Faults, SimulateOptions, simulate
from receiver.app import App, running
from receiver.config.settings import Settings
from receiver.embedded.servers import EmbeddedNats
from receiver.publishing.stream_setup import OWNER
from tests.support import auditor, feed
from tests.support.feed import Connection

OPTIONS = SimulateOptions(seed=3, deployments=2, rate=0, faults=Faults.of("unknown=0.2"))


class Field:
    """One receiver, its database, and a NATS of its own."""

    def __init__(self, settings: Settings, connection: Connection, server: EmbeddedNats) -> None:
        self.settings = settings.model_copy(update={"nats_url": server.url})
        self.connection = connection
        self.server = server

    @asynccontextmanager
    async def served(self) -> AsyncIterator[App]:
        """The receiver, ready."""
        async with running(self.settings) as app:
            await feed.until(lambda: _truth(app.router.direct))
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

    async def assert_whole(self) -> None:
        """Complete, each once."""
        await feed.until(self.is_complete)
        ids = await self.ids()
        assert len(ids) == len(set(ids))
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

    async def restart(self) -> None:
        """The NATS server, cleanly."""
        await self.server.stop()
        await self.server.start()

    async def _is_drained(self) -> bool:
        return not await self.connection.fetchval("SELECT EXISTS (SELECT FROM outbox)")


@pytest.fixture
async def field(postgres_dsn: str, connection: Connection, nats_server: EmbeddedNats, tmp_path: Path) -> Field:
    """A receiver that notices soon; its ids may come again after a second."""
    settings = Settings(
        postgres_dsn=postgres_dsn, data_dir=tmp_path / "receiver", port=0, relay_sweep_s=0.1, relay_takeover_s=0.2,
        stream_duplicate_window_s=1, log_callbacks=False, nats_connect_timeout_s=1, publish_timeout_s=1,
    )  # fmt: skip
    return Field(settings, connection, nats_server)


async def _truth(value: bool) -> bool:
    return value


def value(app: App, name: str, **labels: str) -> float:
    """A figure of the receiver's."""
    return app.metrics.registry.get_sample_value(f"esc_receiver_{name}", labels) or 0


# Whose the stream is.


async def test_stream_restarted_updated_and_restarted_is_still_ours(field: Field) -> None:
    """nats-server 2.14.0 reports another time of creation after it; nothing is lost, and nothing stops."""
    async with field.served() as app:
        await field.traffic(app, 1)
        await field.restart()
        await field.update()
        await field.restart()
        with capture_logs() as logs:
            await field.traffic(app, 2)
        assert not [line for line in logs if line["event"] == "nothing is published now" and "stream" in line["why"]]
        assert app.relay.trouble == ""
    await field.assert_whole()
    assert await field.connection.fetchval("SELECT stream FROM relay") == (
        f"ESC@{(await field.api('STREAM.INFO.ESC'))['created']}"
    )


async def test_limit_changed_by_our_own_settings_between_two_restarts(field: Field) -> None:
    """The receiver's own update does the same as an administrator's."""
    async with field.served() as app:
        await field.traffic(app, 1)
    await field.restart()
    field.settings = field.settings.model_copy(update={"stream_bytes_max": 500_000_000})
    async with field.served() as app:
        await field.traffic(app, 2)
        await field.restart()
        await field.traffic(app, 3)
    await field.assert_whole()


@pytest.mark.parametrize("remembered", ["ESC@another time", "as it is"])
async def test_stream_of_the_earlier_release_is_adopted_once(field: Field, remembered: str) -> None:
    """It has no id of ours yet: its last message is in our ledger, whatever its time of creation is now."""
    async with field.served() as app:
        await field.traffic(app, 1)
    config = (await field.api("STREAM.INFO.ESC"))["config"]
    await field.api("STREAM.UPDATE.ESC", config | {"metadata": {"theirs": "kept"}})
    await field.connection.execute("UPDATE relay SET message_id = NULL, message_sequence = NULL")
    if remembered != "as it is":
        await field.connection.execute("UPDATE relay SET stream = $1", remembered)
    with capture_logs() as logs:
        async with field.served() as app:
            await field.traffic(app, 2)
    assert [line["event"] for line in logs].count("the stream is taken for this database's") == 1
    metadata = (await field.api("STREAM.INFO.ESC"))["config"]["metadata"]
    assert metadata["theirs"] == "kept"
    assert metadata[OWNER] == str(await field.connection.fetchval("SELECT database_id FROM relay"))
    await field.assert_whole()


# What was lost.


async def test_store_restored_from_an_older_copy_is_filled_up(field: Field, tmp_path: Path) -> None:
    """What came after the copy is published again, in order, with the ids of the first time; one line, one counter."""
    store, copy = field.server.folder / "jetstream", tmp_path / "copy"
    async with field.served() as app:
        await field.traffic(app, 1)
        await field.server.stop()
        copytree(store, copy)
        await field.server.start()
        kept = await field.ids()
        await field.traffic(app, 2)
        lost = (await field.ids())[len(kept) :]
        with capture_logs() as logs:
            await field.server.stop()
            rmtree(store)
            copytree(copy, store)
            await field.server.start()
            await feed.until(
                lambda: _truth(app.relay.trouble == "" and value(app, "feed_mended_total", loss="cut-short") > 0)
            )
            await field.traffic(app, 3)
        told = [line for line in logs if line["event"].startswith("the stream was cut short")]
        assert [line["messages"] for line in told] == [len(lost)]
        assert value(app, "feed_mended_total", loss="cut-short") == len(lost)
    ids = await field.ids()
    assert ids[: len(kept)] == kept
    assert sorted(ids[len(kept) : len(kept) + len(lost)]) == sorted(lost)
    await field.assert_whole()


async def test_last_messages_removed_are_published_again(field: Field) -> None:
    """The sequence goes on, so only what stands at the last acknowledged place shows it."""
    async with field.served() as app:
        await field.traffic(app, 1)
    before = await field.ids()
    last = (await field.api("STREAM.INFO.ESC"))["state"]["last_seq"]
    for sequence in range(last - 6, last + 1):
        await field.api("STREAM.MSG.DELETE.ESC", {"seq": sequence})
    async with field.served() as app:
        await feed.until(field.is_complete)
        assert value(app, "feed_mended_total", loss="cut-short") == 7
    assert sorted(await field.ids()) == sorted(before)
    await field.assert_whole()


async def test_purged_stream_is_filled_again(field: Field) -> None:
    """Its sequence goes on behind the purge; no limit says that its beginning may go."""
    async with field.served() as app:
        await field.traffic(app, 1)
        before = await field.ids()
        await field.api("STREAM.PURGE.ESC")
        await field.restart()
        await feed.until(field.is_complete)
        assert value(app, "feed_mended_total", loss="emptied") == len(before)
    assert sorted(await field.ids()) == sorted(before)
    await field.assert_whole()


async def test_what_a_limit_removed_is_not_published_again(field: Field) -> None:
    """Its owner said so; also when all of it has gone."""
    field.settings = field.settings.model_copy(update={"stream_age_max_s": 2})
    async with field.served() as app:
        await field.traffic(app, 1)
        await feed.until(lambda: _is_empty(field))
        await field.restart()
        await field.traffic(app, 2)
        assert sum(value(app, "feed_mended_total", loss=loss) for loss in ("emptied", "cut-short")) == 0


async def _is_empty(field: Field) -> bool:
    return bool((await field.api("STREAM.INFO.ESC"))["state"]["messages"] == 0)


async def test_somebody_else_publishes_all_the_time(field: Field) -> None:
    """The feed goes on; theirs are counted, and one warning names the subject."""
    client = await nats.connect(field.server.url)
    sent = 0

    async def publish() -> None:
        nonlocal sent
        while True:
            await client.jetstream().publish("esc.v1.theirs", b"x", headers={"Nats-Msg-Id": str(uuid4())})
            sent += 1
            await asyncio.sleep(0.01)

    async with field.served() as app:
        await field.traffic(app, 0)
        with capture_logs() as logs:
            publishing = asyncio.create_task(publish())
            await field.traffic(app, 1)
            await field.traffic(app, 2)
            publishing.cancel()
            await asyncio.wait([publishing])
            await simulate(replace(OPTIONS, seed=3, target=app.url))  # to be deposed by the last of them
            await field.drained()
        warned = [line for line in logs if line["event"].startswith("somebody else publishes")]
        assert [line["subject"] for line in warned] == ["esc.v1.theirs"]
        assert not [line for line in logs if line["event"] == "nothing is published now"]
        assert value(app, "feed_foreign_total") >= sent > 0
    messages = await feed.stored(field.server.url)
    ours = [str(message.id) for message in messages if message.subject != "esc.v1.theirs"]
    assert len(ours) == len(set(ours))
    assert set(await field.in_ledger()) <= set(ours)


async def test_cut_short_while_somebody_else_publishes(field: Field, tmp_path: Path) -> None:
    """Another's messages stand where ours were: the sequences go on as if nothing were missing."""
    store, copy = field.server.folder / "jetstream", tmp_path / "copy"
    async with field.served() as app:
        await field.traffic(app, 1)
    await field.server.stop()
    copytree(store, copy)
    await field.server.start()
    async with field.served() as app:
        await field.traffic(app, 2)
    last = (await field.api("STREAM.INFO.ESC"))["state"]["last_seq"]
    await field.server.stop()
    rmtree(store)
    copytree(copy, store)
    await field.server.start()
    client = await nats.connect(field.server.url)
    while (await client.jetstream().publish("esc.v1.theirs", b"x")).seq < last + 5:
        pass
    await client.close()
    async with field.served() as app:
        await feed.until(lambda: _truth(value(app, "feed_mended_total", loss="cut-short") > 0))
        await field.drained()
    ours = [m for m in await feed.stored(field.server.url) if m.subject != "esc.v1.theirs"]
    ids = [str(message.id) for message in ours]
    assert len(ids) == len(set(ids))
    assert set(await field.in_ledger()) <= set(ids)
