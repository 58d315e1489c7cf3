"""A webhook's place in the stream: found again or told to be lost, never silently another."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web

from esc_lab.simulator import SimulateOptions, simulate
from receiver.app import App
from receiver.webhooks.commands import consumer_name
from tests.support import feed
from tests.support.feed import Connection, event, until, vm, vm_events
from tests.support.webhook_endpoint import Endpoint, chosen
from tests.webhooks.conftest import Publish, Receiver

CONSUMER = consumer_name("orders")
LOST = (
    "its place 5 is lost, the stream ends at 2: it was made anew, or cut short; "
    "choose where it goes on: esc-receiver webhooks resend orders --from-seq N"
)
OPTIONS = SimulateOptions(deployments=1, rate=0)


async def state_of(app: App) -> tuple[str, str]:
    """The webhook's state and the reason."""
    shown = await app.hooks.one("orders")
    return shown.state, shown.reason or ""


async def has_place(connection: Connection, sequence: int) -> bool:
    """Whether it is written down that all up to there was taken."""
    return bool(await connection.fetchval("SELECT place_sequence = $1 FROM webhooks", sequence))


async def in_the_ledger(connection: Connection) -> list[str]:
    """The ids of its entries, once all are published."""

    async def is_published() -> bool:
        return not await connection.fetchval("SELECT count(*) FROM outbox")

    await until(is_published, 60)
    return [str(row["id"]) for row in await connection.fetch("SELECT id FROM transitions ORDER BY xid, position")]


async def test_a_consumer_that_is_gone_is_made_anew_where_it_stood(
    receiver: Receiver, publish: Publish, endpoint: Endpoint, connection: Connection, nats_url: str
) -> None:
    """Deleted while the webhook waits, and while no receiver runs: nothing is missed, and nothing comes again."""
    async with receiver(), feed.jetstream(nats_url) as jetstream:
        await publish(vm_events(3, vms=1))
        await endpoint.has_taken(3)
        await until(lambda: has_place(connection, 3))
        await jetstream.delete_consumer("ESC", CONSUMER)
        await publish([event(vm("vm-0", sequence=4))])
        await endpoint.has_taken(4)
        await until(lambda: has_place(connection, 4))
    async with feed.jetstream(nats_url) as jetstream:
        await jetstream.delete_consumer("ESC", CONSUMER)
    async with receiver():
        await publish([event(vm("vm-0", sequence=5))])
        await endpoint.has_taken(5)
    assert [one.about[1] for one in endpoint.taken] == [1, 2, 3, 4, 5]


async def test_in_a_stream_that_was_made_anew_the_place_is_found_again(
    receiver: Receiver, endpoint: Endpoint, connection: Connection, nats_url: str
) -> None:
    """The receiver fills it from its ledger; what was taken does not come again, and nothing is missed."""
    async with receiver(stream_name="ESC") as app:
        await simulate(replace(OPTIONS, seed=1, target=app.url))
        before = await in_the_ledger(connection)
        await endpoint.has_taken(len(before))
        await until(lambda: is_idle(app))
    async with feed.jetstream(nats_url) as jetstream:
        await jetstream.delete_stream("ESC")
    async with receiver() as app:
        await simulate(replace(OPTIONS, seed=2, target=app.url))
        after = await in_the_ledger(connection)
        await endpoint.has_taken(len(after), 120)
        await until(lambda: is_idle(app))
    assert sorted(one.id for one in endpoint.taken) == sorted(after)
    assert set(before) < set(after)
    endpoint.assert_in_order()


async def is_idle(app: App) -> bool:
    """Whether all was taken, and that is written down."""
    shown = await app.hooks.one("orders")
    stream = await app.broker.client()
    last = (await stream.jetstream().stream_info("ESC")).state.last_seq
    return shown.state == "delivering" and shown.pending == 0 and shown.cursor_sequence == last


async def test_a_place_that_is_not_found_stops_it_until_one_is_chosen(
    receiver: Receiver, publish: Publish, endpoint: Endpoint, connection: Connection, nats_url: str
) -> None:
    """These events are in no ledger, so the new stream lacks them: it says why, and nothing is posted."""
    async with receiver():
        await publish(vm_events(5, vms=1))
        await endpoint.has_taken(5)
        await until(lambda: has_place(connection, 5))
    async with feed.jetstream(nats_url) as jetstream:
        await jetstream.delete_stream("ESC")
    async with receiver() as app:

        async def is_lost() -> bool:
            return (await state_of(app))[0] == "lost"

        async def is_told() -> bool:
            return (await state_of(app))[1] == LOST

        await until(is_lost)
        await publish([event(vm("vm-0", sequence=6)), event(vm("vm-0", sequence=7))])
        await until(is_told)
        assert len(endpoint.requests) == 5
        await app.hooks.resend("orders", 2)
        await endpoint.has_taken(6)
        assert [one.about[1] for one in endpoint.taken[5:]] == [7]
        await until(lambda: is_well(app))


async def is_well(app: App) -> bool:
    """Whether it delivers."""
    return await state_of(app) == ("delivering", "")


async def test_what_left_the_stream_while_it_was_disabled_is_told(
    receiver: Receiver, publish: Publish, endpoint: Endpoint, connection: Connection
) -> None:
    """A stream has limits: what it drops is not passed over in silence."""
    endpoint.answer = lambda _: web.Response(status=410)
    async with receiver(stream_messages_max=3) as app:
        await publish([event(vm("vm-0", sequence=1))])
        await until(lambda: is_disabled(app))
        endpoint.answer = lambda _: None
        await publish([event(vm("vm-0", sequence=number)) for number in range(2, 9)])
        await in_the_ledger(connection)
        await app.hooks.enable("orders")

        async def is_lost() -> bool:
            state, reason = await state_of(app)
            return state == "lost" and "its place 0 is lost, the stream begins at 6 by now" in reason

        await until(is_lost)
        await app.hooks.resend("orders", 6)
        await endpoint.has_taken(3)
    assert [one.about[1] for one in endpoint.taken] == [6, 7, 8]


async def is_disabled(app: App) -> bool:
    """Whether it is."""
    return (await state_of(app))[0] == "disabled"


async def test_other_subjects_and_limits_change_nothing_about_the_place(
    receiver: Receiver, publish: Publish, endpoint: Endpoint, connection: Connection
) -> None:
    """A consumer that is there is brought to the settings; new subjects count behind the last event given out."""
    async with receiver(webhooks=[chosen(endpoint, subjects=["esc.v1.vm.alive.>"])]):
        await publish([event(vm("vm-3", state="ERROR")), event(vm("vm-0", sequence=1))])
        await endpoint.has_taken(1)
        await until(lambda: has_place(connection, 2))
    changed = chosen(endpoint, subjects=["esc.v1.vm.alive.>", "esc.v1.vm.error.>"])
    async with receiver(webhooks=[changed], webhook_pending_max=7) as app:
        await publish([event(vm("vm-0", sequence=2)), event(vm("vm-2", state="ERROR"))])
        await endpoint.has_taken(3)
        async with feed.jetstream(app.settings.nats_url) as jetstream:
            assert (await jetstream.consumer_info("ESC", CONSUMER)).config.max_ack_pending == 7
    assert sorted(one.about[0] for one in endpoint.taken) == ["vm/dep-1/vm-0", "vm/dep-1/vm-0", "vm/dep-1/vm-2"]
