"""The stream is known by an id of ours, and mends itself: whatever its owner does to it, the feed is complete again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from shutil import copytree, rmtree
from uuid import uuid4

import nats
import pytest
from structlog.testing import capture_logs

from esc_lab.simulator import simulate
from receiver.app import App
from receiver.embedded.servers import EmbeddedNats
from receiver.publishing.stream_setup import OWNER
from tests.support import auditor, feed
from tests.support.feed import Connection
from tests.support.served_feed import OPTIONS, ServedFeed, quick_settings

TOLD_OF_THE_BUCKET = "the bucket has lost what it had acknowledged: the state of everything is put again"


@pytest.fixture
def field(postgres_dsn: str, connection: Connection, nats_server: EmbeddedNats, tmp_path: Path) -> ServedFeed:
    """A receiver that notices soon."""
    return ServedFeed(quick_settings(postgres_dsn, tmp_path), connection, nats_server)


async def _truth(value: bool) -> bool:
    return value


def value(app: App, name: str, **labels: str) -> float:
    """A figure of the receiver's."""
    return app.metrics.registry.get_sample_value(f"esc_receiver_{name}", labels) or 0


# Whose the stream is.


async def test_stream_restarted_updated_and_restarted_is_still_ours(field: ServedFeed) -> None:
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


async def test_limit_changed_by_our_own_settings_between_two_restarts(field: ServedFeed) -> None:
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
async def test_stream_of_the_earlier_release_is_adopted_once(field: ServedFeed, remembered: str) -> None:
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


async def test_store_restored_from_an_older_copy_is_filled_up(field: ServedFeed, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("lost", ["made anew", "an older copy"])
async def test_a_bucket_that_lost_what_it_had_is_filled_from_the_tables(
    field: ServedFeed, tmp_path: Path, lost: str
) -> None:
    """The feed has everything, so nothing in it tells; portion by portion, once, also when nothing comes after it."""
    field.settings = field.settings.model_copy(update={"publish_batch_max": 7})
    async with field.served() as app:
        await field.traffic(app, 1)
        await field.server.stop()
        store, copy = next(field.server.folder.glob("jetstream/**/KV_esc-state")), tmp_path / "copy"
        copytree(store, copy)
        await field.server.start()
        await field.traffic(app, 2)
        items = await feed.items(field.server.url)
        with capture_logs() as logs:
            await field.server.stop()
            rmtree(store)
            if lost == "an older copy":
                copytree(copy, store)
            await field.server.start()
            await feed.until(lambda: _truth(value(app, "feed_mended_total", loss="bucket") > 0))
            assert await feed.items(field.server.url) == items
            await field.server.stop()
            await field.server.start()
            await field.traffic(app, 3)
    assert [line["event"] for line in logs].count(TOLD_OF_THE_BUCKET) == 1
    await field.assert_whole()
    messages = await auditor.published(field.connection, field.server.url)
    await auditor.assert_bucket_follows(field.connection, messages, await feed.items(field.server.url))


async def test_last_messages_removed_are_published_again(field: ServedFeed) -> None:
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


async def test_holes_in_the_middle_are_found_told_and_closed(field: ServedFeed) -> None:
    """By the relay's own comparison: published again under the same id, at the end."""
    field.settings = field.settings.model_copy(update={"verify_interval_s": 0.5})
    async with field.served() as app:
        await field.traffic(app, 1)
        await feed.until(lambda: _truth(value(app, "feed_checked_timestamp_seconds") > 0))
        assert value(app, "feed_missing") == 0
        with capture_logs() as logs:
            lost = await field.remove(1, 7, 8, 60)
            await feed.until(lambda: _truth(value(app, "feed_mended_total", loss="hole") == 4))
            await feed.until(field.is_complete)
        told = [line["missing"] for line in logs if line["event"] == "the stream has holes"]
        assert max(told) <= 4 <= sum(told)  # it may have looked while they were made, or again before all was back
    assert (await field.ids())[-4:] == lost
    ids = await field.ids()
    assert len(ids) == len(set(ids))


async def test_what_a_limit_removed_is_no_hole(field: ServedFeed) -> None:
    """Compared from where the stream begins; a hole behind that is found all the same."""
    field.settings = field.settings.model_copy(update={"stream_messages_max": 1_500})
    async with field.served() as app:
        for seed in range(1, 14):
            await field.traffic(app, seed)
        state = (await field.api("STREAM.INFO.ESC"))["state"]
        assert state["first_seq"] > 1
        assert await app.feed_check.run_once() == 0
        lost = await field.remove(state["last_seq"] - 5)
        assert await app.feed_check.run_once() == 1
        await feed.until(lambda: _truth(value(app, "feed_mended_total", loss="hole") == 1))
        await field.drained()
        await feed.until(lambda: _ends_with(field, lost))


async def _ends_with(field: ServedFeed, ids: list[str]) -> bool:
    return (await field.ids())[-len(ids) :] == ids


async def test_purged_stream_is_filled_again(field: ServedFeed) -> None:
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


async def test_what_a_limit_removed_is_not_published_again(field: ServedFeed) -> None:
    """Its owner said so; also when all of it has gone."""
    field.settings = field.settings.model_copy(update={"stream_age_max_s": 2})
    async with field.served() as app:
        await field.traffic(app, 1)
        await feed.until(lambda: _is_empty(field))
        await field.restart()
        await field.traffic(app, 2)
        assert sum(value(app, "feed_mended_total", loss=loss) for loss in ("emptied", "cut-short")) == 0


async def _is_empty(field: ServedFeed) -> bool:
    return bool((await field.api("STREAM.INFO.ESC"))["state"]["messages"] == 0)


async def test_somebody_else_publishes_all_the_time(field: ServedFeed) -> None:
    """The feed goes on; theirs are counted, and one warning names the subject."""
    client = await nats.connect(field.server.url)
    sent, enough = 0, asyncio.Event()

    async def publish() -> None:
        nonlocal sent
        while not enough.is_set():  # a cancellation that comes with an answer is lost by nats-py, as anybody uses it
            await client.jetstream().publish("esc.v1.theirs", b"x", headers={"Nats-Msg-Id": str(uuid4())})
            sent += 1
            await asyncio.sleep(0.03)

    async with field.served() as app:
        await field.traffic(app, 0)
        with capture_logs() as logs:
            publishing = asyncio.create_task(publish())
            await field.traffic(app, 1)
            await field.traffic(app, 2)
            enough.set()
            await publishing
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


async def test_cut_short_while_somebody_else_publishes(field: ServedFeed, tmp_path: Path) -> None:
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
