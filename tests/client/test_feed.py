"""`EscFeed` gives each event to its consumer until it is acknowledged, through whatever happens to NATS."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig

from esc_receiver_client import (
    ConsumerConflictError,
    ConsumerGoneError,
    EscFeed,
    Event,
    FeedUnreachableError,
    NotAnEventError,
    OtherEvent,
    StreamMissingError,
)
from esc_receiver_client.models import CallbackEvent, VmEvent
from receiver.embedded.child_process import free_port
from receiver.embedded.servers import EmbeddedNats
from receiver.events.cloudevents import malformed_event, unclassified_event
from tests.events.test_cloudevents import notification
from tests.support import feed
from tests.support.batches import Wire, letter
from tests.support.consumers import consumer, is_acknowledged, name_of, names, publish, take
from tests.support.nats_servers import frozen_nats, is_connected
from tests.support.samples import MALFORMED


def vms(*wanted: str, **facts: Any) -> list[Any]:
    """An event of each of these VMs."""
    return [feed.event(feed.vm(name, **facts)) for name in wanted]


async def test_an_event_is_what_was_published(nats_url: str) -> None:
    """Attributes, typed data and the place in the stream."""
    row = feed.event(feed.vm("a b", state="ERROR"), change="error", operation="t 1")
    await publish(nats_url, [row])
    async with EscFeed(nats_url) as esc_feed:
        (event,) = await take(esc_feed.subscribe(), 1)
    assert (event.id, event.type, event.source) == (str(row.id), "esc.vm.error.v1", "/esc/lab1")
    assert (event.subject, event.nats_subject) == ("vm/dep-1/a b", row.subject)
    assert (event.time, event.sequence, event.stream_sequence, event.deliveries) == (feed.NOW, 1, 1, 1)
    assert (event.transaction_id, event.partition_key) == ("t 1", "lab1/deployment/dep-1")
    assert isinstance(event.data, VmEvent)
    assert (event.data.item.vm_name, event.data.item.state, event.data.at) == ("a b", "ERROR", feed.NOW)
    assert event.json() == orjson.loads(row.payload) == event.cloud_event()["data"]


@pytest.mark.parametrize("entity", ["deployment", "vm", "operation", "resource", "source"])
async def test_every_kind_has_its_class(nats_url: str, entity: str) -> None:
    """Named as the entity is."""
    await publish(nats_url, [feed.event(getattr(feed, entity)())])
    async with EscFeed(nats_url) as esc_feed:
        (event,) = await take(esc_feed.subscribe(), 1)
    assert type(event.data).__name__ == f"{entity.capitalize()}Event"
    assert event.data.model_dump(mode="json", exclude_unset=True) == event.json()


async def test_a_callback_that_was_not_understood(nats_url: str) -> None:
    """It has no sequence."""
    await publish(nats_url, [unclassified_event(notification(), "an unknown root", "unknown-root")])
    async with EscFeed(nats_url) as esc_feed:
        (event,) = await take(esc_feed.subscribe(), 1)
    assert isinstance(event.data, CallbackEvent)
    assert event.sequence is None


async def test_a_callback_that_could_not_be_read(nats_url: str) -> None:
    """Of the same class, under a subject of its own."""
    await publish(nats_url, [malformed_event(letter(MALFORMED[0]).envelope, "it is cut off", "malformed")])
    async with EscFeed(nats_url) as esc_feed:
        (event,) = await take(esc_feed.subscribe(subjects=["esc.v1.callback.malformed.>"]), 1)
    assert isinstance(event.data, CallbackEvent)
    assert (event.data.change, event.data.trigger, event.sequence) == ("malformed", None, None)


async def test_what_a_later_receiver_adds_is_kept(nats_url: str) -> None:
    """Fields, states and changes, kinds of entities, and even a field of another type: nothing raises."""
    event = orjson.loads(feed.event(feed.vm()).payload)
    later = [
        event | {"novel": 1, "item": event["item"] | {"state": "FROZEN", "novel": [2]}, "change": "frozen"},
        event | {"entity": "cluster", "novel": 1},
        event | {"incarnation": "one"},
    ]
    async with feed.jetstream(nats_url) as js:
        await js.add_stream(StreamConfig(name="ESC", subjects=["esc.v1.>"]))
        for one in later:
            await js.publish("esc.v1.x.y.z", orjson.dumps(one))
    async with EscFeed(nats_url) as esc_feed:
        vm, cluster, changed = [event.data for event in await take(esc_feed.subscribe(), 3)]
    assert isinstance(vm, VmEvent)
    assert (vm.change, vm.item.state, vm.model_extra, vm.item.model_extra) == (
        "frozen", "FROZEN", {"novel": 1}, {"novel": [2]}
    )  # fmt: skip
    assert isinstance(cluster, OtherEvent)
    assert isinstance(changed, OtherEvent)
    assert (cluster.entity, cluster.model_extra["novel"]) == ("cluster", 1)  # type: ignore[index]
    assert changed.model_extra["incarnation"] == "one"  # type: ignore[index]


@pytest.mark.parametrize("payload", [b"what?", b"[]", b"\xff"])
async def test_a_strangers_message_says_so_and_can_be_passed_over(nats_url: str, payload: bytes) -> None:
    """Whoever else publishes to the stream does not end the consumer."""
    await publish(nats_url, [])
    async with feed.jetstream(nats_url) as js:
        await js.publish("esc.v1.x.y.z", payload)
    async with EscFeed(nats_url) as esc_feed:
        (event,) = await take(esc_feed.subscribe("all"), 1)
        with pytest.raises(NotAnEventError, match=r"message 1 on esc\.v1\.x\.y\.z"):
            _ = event.data
        assert (event.id, event.time, event.type) == ("ESC/1", None, "")
        await event.ack()
    await feed.until(lambda: is_acknowledged(nats_url, "all", 1))


async def test_a_durable_goes_on_where_it_was(nats_url: str) -> None:
    """What was acknowledged does not come again; what was fetched and not handed out comes at once."""
    await publish(nats_url, vms("one", "two", "three"))
    assert await names(nats_url, 1, durable="billing") == ["one"]
    assert await names(nats_url, 2, durable="billing") == ["two", "three"]
    await feed.until(lambda: is_acknowledged(nats_url, "billing", 3))


async def test_where_to_start(nats_url: str) -> None:
    """At the beginning, a place, a time, or with what comes."""
    await publish(nats_url, vms("one", "two"))
    async with feed.jetstream(nats_url) as js:
        second = await js.get_msg("ESC", 2)
    at = datetime.fromisoformat(str(second.time))
    for durable in (None, "d"):
        ends = [None if durable is None else f"{durable}{number}" for number in range(4)]
        assert await names(nats_url, 2, durable=ends[0], start="beginning") == ["one", "two"]
        assert await names(nats_url, 1, durable=ends[1], start=2) == ["two"]
        assert await names(nats_url, 1, durable=ends[2], start=at) == ["two"]
        long_ago = datetime.now(UTC) - timedelta(days=1)
        assert await names(nats_url, 1, durable=ends[3], start=long_ago) == ["one"]


@pytest.mark.parametrize("durable", [None, "billing"])
async def test_only_what_comes(nats_url: str, durable: str | None) -> None:
    """The past stays out."""
    await publish(nats_url, vms("past"))
    task = asyncio.create_task(names(nats_url, 1, durable=durable, start="new"))
    await feed.until(lambda: _is_read(nats_url))
    await publish(nats_url, vms("one"))
    assert await task == ["one"]


async def test_what_is_given_back_comes_again(nats_url: str) -> None:
    """`nak` at once, `reject` never, nothing at all after `ack_wait_s`."""
    await publish(nats_url, vms("again", "never", "forgotten"))
    seen = []
    async with EscFeed(nats_url) as esc_feed, aclosing(esc_feed.subscribe("c", ack_wait_s=0.2)) as events:
        async for event in events:
            name = name_of(event)
            seen.append((name, event.deliveries))
            if event.deliveries == 2:
                await event.ack()
            elif name == "again":
                await event.nak()
            elif name == "never":
                await event.reject()
            if len(seen) == 5:
                break
    assert seen[:3] == [("again", 1), ("never", 1), ("forgotten", 1)]
    assert sorted(seen[3:]) == [("again", 2), ("forgotten", 2)]
    await feed.until(lambda: is_acknowledged(nats_url, "c", 3))


async def test_long_work_is_not_interrupted_by_a_second_delivery(nats_url: str) -> None:
    """Inside `working` the event stays with this consumer, however long it takes."""
    await publish(nats_url, vms("slow", "other"))
    async with EscFeed(nats_url) as first, EscFeed(nats_url) as second:
        events = first.subscribe("c", ack_wait_s=0.3, prefetch=1)
        event = await anext(events)
        async with event.working():
            others = second.subscribe("c", ack_wait_s=0.3, prefetch=1)
            other = await anext(others)
            for _ in range(5):  # each time that the other is not settled, its wait is over and it comes again
                again = await anext(others)
                assert name_of(again) == name_of(other) == "other"
        await event.ack()
        await again.ack()
        await events.aclose()
        await others.aclose()
    info = await consumer(nats_url, "c")
    assert (info.num_ack_pending, event.deliveries, again.deliveries) == (0, 1, 6)


async def test_poison_goes_to_the_dead_letters(nats_url: str) -> None:
    """After `max_deliver` attempts, and only what was attempted; then it is passed over."""
    await publish(nats_url, vms("one", "poison", "two"))
    dead: list[tuple[str, int]] = []
    done: list[str] = []
    attempts: list[int] = []
    while not (dead and len(done) == 2):  # a process that ends each time with the poison in hand
        async with EscFeed(nats_url) as esc_feed:

            async def bury(event: Event, esc_feed: EscFeed = esc_feed) -> None:
                dead.append((name_of(event), event.deliveries))
                esc_feed.stop()

            events = esc_feed.subscribe("c", ack_wait_s=0.2, max_deliver=3, on_dead_letter=bury)
            async with aclosing(events):
                async for event in events:
                    if name_of(event) == "poison":
                        attempts.append(event.deliveries)
                        break
                    await event.ack()
                    done.append(name_of(event))
    assert (attempts, dead, sorted(done)) == ([1, 2, 3], [("poison", 4)], ["one", "two"])
    await feed.until(lambda: is_acknowledged(nats_url, "c", 3))


async def test_a_dead_letter_that_cannot_be_buried_is_not_dropped(nats_url: str) -> None:
    """The consumer ends with the callback's error, and the event comes again."""
    await publish(nats_url, vms("poison"))

    async def fail(_: Event) -> None:
        raise OSError("no room")

    async with EscFeed(nats_url) as esc_feed:
        for _ in range(2):
            (event,) = await take(esc_feed.subscribe("c", ack_wait_s=0.2), 1)
            assert not event.settled
        with pytest.raises(OSError, match="no room"):
            await take(esc_feed.subscribe("c", ack_wait_s=0.2, max_deliver=1, on_dead_letter=fail), 1)
        with pytest.raises(ValueError, match="go together"):
            await take(esc_feed.subscribe("c", max_deliver=1), 1)
        (event,) = await take(esc_feed.subscribe("c", ack_wait_s=0.2), 1)
        assert event.deliveries > 2


async def test_batches(nats_url: str) -> None:
    """As many as there are, at most `prefetch`; all are acknowledged together, or given back."""
    await publish(nats_url, vms(*map(str, range(10))))
    sizes = []
    async with EscFeed(nats_url) as esc_feed:
        batches = esc_feed.batches("c", prefetch=4)
        async for batch in batches:
            sizes.append(len(batch))
            assert batch[0].json()
            await (batch.nak() if len(sizes) == 1 else batch.ack())
            if sum(sizes) == 14:
                break
        await batches.aclose()
    assert sizes[0] == 4
    assert max(sizes) <= 4
    await feed.until(lambda: is_acknowledged(nats_url, "c", 10))


async def test_processes_of_one_name_share_the_work(nats_url: str) -> None:
    """Each event goes to one of them."""
    await publish(nats_url, vms(*map(str, range(6))))
    async with EscFeed(nats_url) as one, EscFeed(nats_url) as two:
        first, second = (esc_feed.subscribe("c", prefetch=1) for esc_feed in (one, two))
        taken = [await anext(events) for _ in range(3) for events in (first, second)]
        assert sorted(map(name_of, taken)) == list(map(str, range(6)))
        await first.aclose()
        await second.aclose()


async def test_at_most_so_many_are_open(nats_url: str) -> None:
    """`unacknowledged_max` of them; the next comes when one is settled."""
    await publish(nats_url, vms("one", "two", "three"))
    async with EscFeed(nats_url) as esc_feed, aclosing(esc_feed.subscribe("c", unacknowledged_max=2)) as events:
        opened = [await anext(events), await anext(events)]
        info = await consumer(nats_url, "c")
        assert (info.num_ack_pending, info.num_pending) == (2, 1)
        await opened[0].ack()
        assert name_of(await anext(events)) == "three"


async def test_a_consumer_is_brought_to_what_is_asked_for(nats_url: str) -> None:
    """Subjects and limits are changed where they differ; where it stands is not."""
    await publish(nats_url, [*vms("one"), feed.event(feed.deployment()), *vms("two")])
    assert await names(nats_url, 1, durable="c", prefetch=1) == ["one"]
    how: dict[str, Any] = {"durable": "c", "subjects": ["esc.v1.vm.>"], "ack_wait_s": 7, "unacknowledged_max": 9}
    assert await names(nats_url, 1, **how) == ["two"]
    config = (await consumer(nats_url, "c")).config
    assert (config.filter_subjects or config.filter_subject, config.ack_wait, config.max_ack_pending) == (
        ["esc.v1.vm.>"], 7, 9
    )  # fmt: skip


async def test_sigterm_ends_it_between_two_events(nats_url: str) -> None:
    """What was handed out is finished, what was fetched besides goes back at once."""
    await publish(nats_url, vms("one", "two"))
    seen = []
    async with EscFeed(nats_url, stop_on=[signal.SIGTERM]) as esc_feed:
        async for event in esc_feed.subscribe("c"):
            seen.append(name_of(event))
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0)
            await event.ack()
            await asyncio.sleep(0.01)
    assert seen == ["one"]
    assert await names(nats_url, 1, durable="c") == ["two"]


async def test_stop_ends_one_that_waits(nats_url: str) -> None:
    """For an event that does not come, too; every kind of iteration."""
    await publish(nats_url, [])
    async with feed.jetstream(nats_url) as js:
        await js.add_stream(StreamConfig(name="KV_esc-state", subjects=["$KV.esc-state.>"], max_msgs_per_subject=1))
    async with EscFeed(nats_url) as esc_feed:
        waiting = [
            asyncio.ensure_future(anext(found, None))
            for found in (esc_feed.subscribe("c"), esc_feed.subscribe(), esc_feed.snapshot_then_follow())
        ]
        await feed.until(lambda: _is_read(nats_url, 3))
        esc_feed.stop()
        assert await asyncio.gather(*waiting) == [None, None, None]


@pytest.mark.parametrize("durable", [None, "billing"])
async def test_nats_goes_and_comes_back(tmp_path: Path, durable: str | None) -> None:
    """Nothing is missed, and all is in order; what was acknowledged just before NATS was killed may come again."""
    async with EmbeddedNats(tmp_path / "nats") as server:
        await publish(server.url, vms("one", "two"))
        async with EscFeed(server.url) as esc_feed, aclosing(esc_feed.subscribe(durable)) as events:
            seen = []
            for _ in range(2):
                event = await anext(events)
                seen.append(name_of(event))
                await event.ack()
            if durable:
                await feed.until(lambda: is_acknowledged(server.url, "billing", 2))
            os.kill(server.pid, signal.SIGKILL)
            await server.ended()
            await server.start()
            await publish(server.url, vms("three", "four"))
            while seen[-1] != "four":
                seen.append(name_of(await anext(events)))
    assert list(dict.fromkeys(seen)) == ["one", "two", "three", "four"]
    assert seen.count("one") == seen.count("three") == 1


@pytest.mark.parametrize("durable", [None, "billing"])
@pytest.mark.parametrize("start", ["beginning", "new"])
async def test_a_stream_that_is_made_anew_is_read_from_its_beginning(
    nats_url: str, durable: str | None, start: Any
) -> None:
    """The receiver fills it with the whole ledger again, under the ids of the first time."""
    await publish(nats_url, vms("past"))
    async with EscFeed(nats_url) as esc_feed, aclosing(esc_feed.subscribe(durable, start=start)) as events:
        first = asyncio.ensure_future(anext(events))
        await feed.until(lambda: _is_read(nats_url))
        await publish(nats_url, vms("one"))
        seen = [name_of(await first)]
        async with feed.jetstream(nats_url) as js:
            await js.delete_stream("ESC")
        await publish(nats_url, vms("past", "one", "two"))
        seen += [name_of(await anext(events)) for _ in range(3)]
    assert seen[-3:] == ["past", "one", "two"] if start == "new" else ["one", "past", "one"]


async def test_a_purged_stream_goes_on(nats_url: str) -> None:
    """A rebuild purges it: the same ids come again behind."""
    rows = vms("one", "two")
    await publish(nats_url, rows)
    async with EscFeed(nats_url) as esc_feed, aclosing(esc_feed.subscribe("c")) as events:
        ids = [(await anext(events)).id]
        async with feed.jetstream(nats_url) as js:
            await js.purge_stream("ESC")
            for row in rows:
                headers = orjson.loads(row.headers)
                await js.publish(
                    row.subject, row.payload.encode(), headers=headers | {"Nats-Msg-Id": f"again-{row.id}"}
                )
        ids += [(await anext(events)).id for _ in range(3)]
    assert ids == [str(rows[0].id), str(rows[1].id), str(rows[0].id), str(rows[1].id)]


async def test_a_consumer_that_somebody_deletes_is_an_error(nats_url: str) -> None:
    """Nobody knows where it stood: going on by itself would leave a gap or repeat everything, unseen."""
    await publish(nats_url, vms("one"))
    async with EscFeed(nats_url) as esc_feed, aclosing(esc_feed.subscribe("c")) as events:
        await (await anext(events)).ack()
        async with feed.jetstream(nats_url) as js:
            await js.delete_consumer("ESC", "c")
        with pytest.raises(ConsumerGoneError, match="c was deleted"):
            await anext(events)


async def test_errors_say_what_to_do(nats_url: str) -> None:
    """Without the password."""
    port = free_port()
    with pytest.raises(FeedUnreachableError, match=f"NATS cannot be reached at 127.0.0.1:{port}") as away:
        await EscFeed(f"nats://user:secret@127.0.0.1:{port}").__aenter__()
    assert "secret" not in str(away.value)
    async with EscFeed(nats_url) as esc_feed:
        for durable in (None, "c"):
            with pytest.raises(StreamMissingError, match="no stream ESC: has a receiver been connected"):
                await take(esc_feed.subscribe(durable), 1)
        await publish(nats_url, [])
        with pytest.raises(StreamMissingError, match="no bucket esc-state"):
            await take(esc_feed.snapshot_then_follow(), 1)
        async with feed.jetstream(nats_url) as js:
            await js.add_consumer("ESC", ConsumerConfig(durable_name="theirs", ack_policy=AckPolicy.NONE))
        with pytest.raises(ConsumerConflictError, match="consumer theirs of stream ESC exists"):
            await take(esc_feed.subscribe("theirs"), 1)
        with pytest.raises(ConsumerConflictError, match="JetStream does not take consumer c so"):
            await take(esc_feed.subscribe("c", subjects=["esc.v1.>", "esc.v1.vm.>"]), 1)
        with pytest.raises(ValueError, match="start is"):
            await take(esc_feed.subscribe("c2", start="then"), 1)  # type: ignore[arg-type]


async def test_a_connection_that_is_given_up_half_way_is_closed(tmp_path: Path) -> None:
    """NATS takes it, and says nothing."""
    async with frozen_nats(tmp_path / "nats") as server:
        with pytest.raises(FeedUnreachableError):
            await EscFeed(server.url, connect_timeout_s=0.2).__aenter__()
        await asyncio.sleep(0)  # the loop closes what it was told to
        assert not await is_connected(server.port)


@pytest.mark.parametrize("lost", [b"\r\nce-sequence: 00000000000000000300", b"\r\nce-sequence: 00000000000000000500"])
async def test_what_is_lost_on_the_way_is_read_again(nats_url: str, lost: bytes) -> None:
    """The connection is cut twice with messages under way, also with the last: each is shown once, in order."""
    number = 500
    await publish(nats_url, feed.vm_events(number, vms=1))
    async with Wire(nats_url).laid() as wire:
        wire.cut_instead_of(lost, 2)
        async with EscFeed(wire.dsn) as esc_feed:
            seen = [event.sequence for event in await take(esc_feed.subscribe(), number)]
    assert wire.cuts == 2
    assert seen == list(range(1, number + 1))


async def _is_read(url: str, consumers: int = 1) -> bool:
    async with feed.jetstream(url) as js:
        return (await js.stream_info("ESC")).state.consumer_count >= consumers
