"""`snapshot_then_follow`: each entity as it stands, then every change of it; folded, it is what the query API says."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing, suppress
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from nats.js.api import StreamConfig

from esc_receiver_client import EscFeed, EscReceiver, State
from receiver.errors import ReceiverError
from tests.support import feed
from tests.support.batches import letter, of_deployment
from tests.support.feed import Connection
from tests.support.query_api import RunningApi, running_api, store
from tests.support.relays import Place, drain, relay_process
from tests.support.samples import SAMPLES

MESSAGES = (
    "rec-deploy-01-vm-deployed", "rec-deploy-02-vm-alive", "rec-deploy-03-service-alive", "rec-recovery-01-init",
    "rec-recovery-05-complete-redeploy", "rec-undeploy-01-vm-undeployed", "rec-undeploy-02-service-undeployed",
)  # fmt: skip
NOT_IN_STEP = {"current", "truncated"}
"""Of a deployment: what changes with its next incarnation, for which it has no entry. Of any: what was cut off."""
CALLBACKS = st.lists(st.tuples(st.sampled_from(["dep-a", "dep-b"]), st.sampled_from(MESSAGES)), min_size=1, max_size=6)


class Folded:
    """What somebody knows who has read nothing but the states."""

    def __init__(self) -> None:
        self.items: dict[UUID, Any] = {}
        self.sequences: dict[UUID, int] = {}
        self.snapshot: set[UUID] = set()

    def add(self, state: State) -> None:
        """Each change is the next of its entity."""
        sequence = state.event.sequence if state.event else state.item.sequence
        assert sequence
        before = self.sequences.get(state.item.id)
        if state.event is None:
            assert before is None, "twice in the snapshot"
            self.snapshot.add(state.item.id)
        elif before is None:
            assert sequence == 1 or state.item.id not in self.items
        else:
            assert sequence == before + 1, "a gap or a repeat"
        self.sequences[state.item.id] = sequence
        self.items[state.item.id] = state.item

    async def follow(self, nats_url: str) -> None:
        """For ever."""
        async with EscFeed(nats_url) as esc_feed, aclosing(esc_feed.snapshot_then_follow()) as states:
            async for state in states:
                self.add(state)

    async def is_what(self, url: str) -> bool:
        """Whether it is what the query API says: of all it knows, and of all that is current."""
        async with EscReceiver(url) as api:
            told = {one.id: one async for one in api.deployments()} | {one.id: one async for one in api.vms()}
        current = {one.id for one in told.values() if one.ended_at is None and getattr(one, "current", True)}
        shown = {key: one.model_dump(exclude=NOT_IN_STEP) for key, one in self.items.items()}
        expected = {key: told[key].model_dump(exclude=NOT_IN_STEP) for key in shown}
        return shown == expected and current <= set(shown)


@settings(max_examples=6, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CALLBACKS, min_size=2, max_size=6), st.data())
async def test_folded_it_is_the_query_api(
    postgres_dsn: str, nats_url: str, connection: Connection, portions: list[Any], data: st.DataObject
) -> None:
    """Begun at any moment, while the relay is killed and another takes over, again and again."""
    begins = data.draw(st.integers(0, len(portions)), "begins")
    kills = data.draw(st.sets(st.integers(0, len(portions) - 1)), "kills")
    await _forget(connection, nats_url)
    folded, place = Folded(), Place(postgres_dsn, nats_url, connection)
    async with AsyncExitStack() as rest, running_api(postgres_dsn) as api:
        relay = await rest.enter_async_context(relay_process(place, publish_batch_max=2))
        await feed.until(lambda: _is_set_up(nats_url))
        for number, portion in enumerate([*portions, []]):
            if number == begins:
                task = asyncio.create_task(folded.follow(nats_url))
                rest.push_async_callback(_ended, task)
            if portion:
                await store(postgres_dsn, [letter(of_deployment(SAMPLES[name], to)) for to, name in portion], 2)
            if number in kills:
                relay.kill()
                await relay.wait()
                relay = await rest.enter_async_context(relay_process(place, publish_batch_max=2))
        await place.drained()
        await feed.until(lambda: _agrees(folded, api, task))


async def test_the_bucket_may_be_behind_the_stream(postgres_dsn: str, nats_url: str, connection: Connection) -> None:
    """The relay has published and the bucket takes nothing: the changes come from the stream."""
    place, folded = Place(postgres_dsn, nats_url, connection), Folded()
    async with place.clean_up, running_api(postgres_dsn) as api:
        await _deploy(postgres_dsn, "dep-a", 3)
        first = place.relay()
        await drain(first)
        await first.close()
        await _deploy(postgres_dsn, "dep-a", 5)
        await _deploy(postgres_dsn, "dep-b", 5)
        with pytest.raises(ReceiverError):
            await drain(place.relay(kv_bytes_max=1))
        assert len(await place.stored()) > len(await feed.items(nats_url))
        task = asyncio.create_task(folded.follow(nats_url))
        place.clean_up.push_async_callback(_ended, task)
        await feed.until(lambda: _agrees(folded, api, task))
        assert 0 < len(folded.snapshot) < len(folded.items)


async def test_what_is_no_state_is_passed_over(nats_url: str) -> None:
    """Deleted keys and strangers' ones, and strangers' messages."""
    async with feed.jetstream(nats_url) as js:
        await js.add_stream(StreamConfig(name="ESC", subjects=["esc.v1.>"]))
        bucket = await js.create_key_value(bucket="esc-state")
        await bucket.put("vm.a.b.c", b"what?")
        await bucket.put("vm.a.b.d", b"{}")
        await bucket.delete("vm.a.b.d")
        await js.publish("esc.v1.vm.a.b.c", b"what?")
        row = feed.event(feed.vm())
        await js.publish(row.subject, row.payload.encode())
    async with EscFeed(nats_url) as esc_feed, aclosing(esc_feed.snapshot_then_follow()) as states:
        state = await anext(states)
    assert (state.entity, state.item.state) == ("vm", "ALIVE")
    assert state.event


async def _agrees(folded: Folded, api: RunningApi, task: asyncio.Task[None]) -> bool:
    if task.done():
        task.result()
    return await folded.is_what(api.url)


async def _is_set_up(nats_url: str) -> bool:
    async with feed.jetstream(nats_url) as js:
        return {info.config.name for info in await js.streams_info()} == {"ESC", "KV_esc-state"}


async def _deploy(dsn: str, name: str, messages: int) -> None:
    await store(dsn, [letter(of_deployment(SAMPLES[sample], name)) for sample in MESSAGES[:messages]])


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _forget(connection: Connection, nats_url: str) -> None:
    """An empty world for the next example."""
    tables = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
        " AND relnamespace = 'public'::regnamespace AND relname NOT IN ('schema_migrations', 'relay')"
    )
    await connection.execute(f"TRUNCATE {', '.join(row['relname'] for row in tables)}")
    await connection.execute("UPDATE relay SET stream = '', stream_sequence = 0")
    async with feed.jetstream(nats_url) as js:
        for stream in await js.streams_info():
            await js.delete_stream(stream.config.name or "")
