"""Events of the feed at a developer's endpoint: real NATS, PostgreSQL and HTTP, and what goes wrong with each."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from pathlib import Path
from random import Random

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from receiver.app import App
from receiver.embedded.servers import EmbeddedNats
from receiver.errors import SettingsError
from receiver.publishing.consumers import ConsumerList
from tests.support import feed
from tests.support.certificates import Authority
from tests.support.feed import Connection, event, until, vm, vm_events
from tests.support.nats_servers import FEED_PERMISSIONS, ConfiguredNats, users_with
from tests.support.webhook_endpoint import SECRET, Delivered, Endpoint, chosen
from tests.webhooks.conftest import Publish, Receiver


async def row_of(connection: Connection, name: str = "orders") -> dict[str, object]:
    """What the table has of the webhook."""
    return dict(await connection.fetchrow("SELECT * FROM webhooks WHERE name = $1", name) or {})


async def is_disabled(connection: Connection) -> bool:
    """Whether it is."""
    return bool((await row_of(connection)).get("disabled_at"))


async def all_taken(app: App) -> None:
    """Nothing is pending at JetStream, and the place is written down."""

    async def is_so() -> bool:
        found = [
            one
            for one in await ConsumerList(app.broker, app.settings).find()
            if one.name.startswith("esc-receiver-webhook-")
        ]
        return bool(found) and not any(one.pending or one.unacknowledged for one in found)

    await until(is_so, 60)


async def test_an_event_is_posted_as_a_signed_cloud_event(
    receiver: Receiver, publish: Publish, endpoint: Endpoint
) -> None:
    """Verified with the library of Standard Webhooks; only what comes after the webhook's begin, of its subjects."""
    wanted = event(vm("vm-1"))
    async with receiver(webhooks=[chosen(endpoint, subjects=["esc.v1.vm.alive.>"])]) as app:
        await publish([event(vm("vm-2", state="ERROR")), wanted])
        await endpoint.has_taken(1)
        await all_taken(app)
    one = endpoint.taken[0]
    assert len(endpoint.taken) == 1
    assert Webhook(SECRET).verify(one.body, one.headers) == one.event
    assert one.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    told = {name: one.event[name] for name in ("id", "specversion", "type", "source", "subject", "datacontenttype")}
    assert told == {
        "id": one.id, "specversion": "1.0", "type": "esc.vm.alive.v1", "source": "/esc/lab1",
        "subject": "vm/dep-1/vm-1", "datacontenttype": "application/json",
    }  # fmt: skip
    assert one.id == str(wanted.id)
    assert one.event["data"]["item"]["vm_name"] == "vm-1"


@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_fails_each_entity_s_events_are_taken_in_order(
    receiver: Receiver, publish: Publish, endpoint: Endpoint, seed: int
) -> None:
    """A third of all deliveries is refused, and the receiver is stopped and started in between; nothing is lost."""
    chance = Random(seed)
    endpoint.answer = lambda _: web.Response(status=chance.choice([500, 503, 404])) if chance.random() < 0.3 else None
    rows = vm_events(120, vms=7)
    async with receiver():
        await publish(rows[:60])
        await endpoint.has_taken(20)
    async with receiver() as app:
        await publish(rows[60:])
        await endpoint.has_taken(120)
        await all_taken(app)
    assert {one.id for one in endpoint.taken} == {str(row.id) for row in rows}
    endpoint.assert_in_order()


async def test_while_an_event_waits_for_its_retry_only_its_entity_waits(
    receiver: Receiver, publish: Publish, endpoint: Endpoint
) -> None:
    """A hundred events of others go past; with the same webhook-id it is tried again, and then all behind it go."""
    is_refused = True
    endpoint.answer = lambda one: web.Response(status=400) if is_refused and one.about[0].endswith("vm-0") else None
    async with receiver() as app:
        await publish(vm_events(40, vms=4))
        await endpoint.has_taken(30)
        await endpoint.was_asked(32)
        assert not any(one.about[0].endswith("vm-0") for one in endpoint.taken)
        assert len({one.id for one in endpoint.requests if one.about[0].endswith("vm-0")}) == 1
        is_refused = False
        await endpoint.has_taken(40)
        await all_taken(app)
    endpoint.assert_in_order()


async def test_an_endpoint_that_dies_and_comes_back_gets_everything(
    receiver: Receiver, publish: Publish, endpoint: Endpoint, connection: Connection
) -> None:
    """In order, and what it was told last is shown."""
    other = Endpoint()
    async with other.listening():
        pass  # it is dead from the beginning
    async with receiver(webhooks=[chosen(other)]):
        await publish(vm_events(20, vms=3))

        async def is_failing() -> bool:
            row = await row_of(connection)
            return bool(row["failing_since"]) and "onnect" in str(row["error"])

        await until(is_failing)
        async with other.listening():
            await other.has_taken(5)
        async with other.listening():
            await other.has_taken(20)

            async def is_well() -> bool:
                row = await row_of(connection)
                return row["failing_since"] is None and row["place_sequence"] == 20 and bool(row["delivered_id"])

            await until(is_well)
    other.assert_in_order()


async def test_a_slow_answer_is_a_failure_and_others_do_not_wait_for_it(
    receiver: Receiver, publish: Publish, endpoint: Endpoint, connection: Connection
) -> None:
    """The time for an answer is limited."""
    endpoint.delay_s = 30
    async with receiver(webhook_timeout_s=0.2):
        await publish(vm_events(4, vms=2))
        await endpoint.was_asked(4)

        async def is_told() -> bool:
            return (await row_of(connection))["error"] == "no answer within 0.2 s"

        await until(is_told)
        endpoint.delay_s = 0
        await endpoint.has_taken(4)
    assert endpoint.most_under_way <= 1 or not endpoint.taken  # the endpoint may still be busy with one given up


async def test_a_redirect_is_not_followed(
    receiver: Receiver, publish: Publish, endpoint: Endpoint, connection: Connection
) -> None:
    """It would lead around the check of addresses."""
    other = Endpoint()
    async with other.listening():
        endpoint.answer = lambda _: web.Response(status=307, headers={"Location": other.url})
        async with receiver():
            await publish([event(vm())])
            await endpoint.was_asked(3)

            async def is_told() -> bool:
                return "307 Temporary Redirect (redirects are not followed)" in str((await row_of(connection))["error"])

            await until(is_told)
    assert not other.requests


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
async def test_a_private_address_is_not_connected_to(
    receiver: Receiver, publish: Publish, endpoint: Endpoint, connection: Connection, host: str
) -> None:
    """By number and by name: judged is the address of the connection that is made."""
    webhook = chosen(endpoint) | {"url": f"http://{host}:{endpoint.port}/hook"}
    async with receiver(webhooks=[webhook], webhook_allow=()):
        await publish([event(vm())])

        async def is_told() -> bool:
            return "is a private address (WEBHOOK_ALLOW" in str((await row_of(connection))["error"])

        await until(is_told)
    assert not endpoint.requests


async def test_a_certificate_is_verified(
    receiver: Receiver, publish: Publish, connection: Connection, tmp_path: Path
) -> None:
    """Nobody but the system's authorities, or those of `ca_file`, may have signed it."""
    authority, endpoint = Authority(tmp_path), Endpoint()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.certify("hooks"))
    async with endpoint.listening(context):
        async with receiver(webhooks=[chosen(endpoint)]):
            await publish([event(vm())])

            async def is_told() -> bool:
                return "its certificate is not accepted" in str((await row_of(connection))["error"])

            await until(is_told)
            assert not endpoint.requests
        async with receiver(webhooks=[chosen(endpoint, ca_file=str(authority.file))]):
            await endpoint.has_taken(1)
        with pytest.raises(SettingsError, match=r"WEBHOOKS: .*nosuch\.crt cannot be read"):
            async with receiver(webhooks=[chosen(endpoint, ca_file=str(tmp_path / "nosuch.crt"))]):
                pass


async def test_gone_disables_at_once_and_over_restarts(
    receiver: Receiver, publish: Publish, endpoint: Endpoint, connection: Connection
) -> None:
    """410: it wants no more. Nothing is lost: enabled again, it goes on where it stood."""
    endpoint.answer = lambda _: web.Response(status=410, text="moved to /v2")
    async with receiver():
        await publish([event(vm(sequence=1))])
        await until(lambda: is_disabled(connection))
    assert (await row_of(connection))["disabled_because"] == "it answered 410 Gone: moved to /v2"
    endpoint.answer = lambda _: None
    async with receiver() as app:
        await publish([event(vm(sequence=2))])
        await until(lambda: shows(app, "esc_receiver_webhook_disabled", 1))
        assert len(endpoint.requests) == 1
        await app.hooks.enable("orders")
        await endpoint.has_taken(2)
    endpoint.assert_in_order()


async def shows(app: App, metric: str, value: float) -> bool:
    """Whether it has this value for the webhook."""
    return app.metrics.registry.get_sample_value(metric, {"webhook": "orders"}) == value


async def test_an_event_that_is_not_taken_for_too_long_disables(
    receiver: Receiver, publish: Publish, endpoint: Endpoint, connection: Connection
) -> None:
    """Also where no receiver lived as long: since when it fails is written down."""
    endpoint.answer = lambda _: web.Response(status=500)
    async with receiver(webhook_retry_for_s=3_600):
        await publish([event(vm())])
        await endpoint.was_asked(2)
        await until(lambda: is_failing(connection))
    await connection.execute("UPDATE webhooks SET failing_since = failing_since - interval '1 hour'")
    async with receiver(webhook_retry_for_s=3_600):
        await until(lambda: is_disabled(connection))
    because = str((await row_of(connection))["disabled_because"])
    assert because == "event 1 was not taken for 3600 s: 500 Internal Server Error"


async def is_failing(connection: Connection) -> bool:
    """Whether it is written down that an event is not taken."""
    return bool((await row_of(connection)).get("failing_since"))


async def test_what_was_taken_is_failing_no_more_though_nobody_could_note_it(
    receiver: Receiver, publish: Publish, endpoint: Endpoint, connection: Connection
) -> None:
    """A receiver was killed between JetStream's acknowledgement and its note: no alert may stay for ever."""
    async with receiver() as app:
        await publish([event(vm())])
        await endpoint.has_taken(1)
        await all_taken(app)
    await connection.execute("UPDATE webhooks SET failing_since = now(), failing_sequence = 1")
    async with receiver():

        async def is_well() -> bool:
            return not await is_failing(connection)

        await until(is_well)
    assert len(endpoint.requests) == 1


async def test_retry_after_is_a_rest_for_all_its_events(
    receiver: Receiver, publish: Publish, endpoint: Endpoint
) -> None:
    """The other entity's event, due at once, waits too: nothing comes until the time is over."""
    times: list[float] = []
    loop = asyncio.get_running_loop()

    def answer(_: Delivered) -> web.Response | None:
        times.append(loop.time())
        return web.Response(status=429, headers={"Retry-After": "2"}) if len(times) == 1 else None

    endpoint.answer = answer
    async with receiver(webhook_concurrency_max=1):
        await publish(vm_events(2, vms=2))
        await endpoint.has_taken(2)
    assert times[1] - times[0] >= 2


async def test_a_long_answer_is_not_read_to_its_end(receiver: Receiver, publish: Publish, endpoint: Endpoint) -> None:
    """Neither one that takes the event nor one that does not."""
    endpoint.answer = lambda one: web.Response(status=200 if one.about[1] > 1 else 500, body=b"x" * 5_000_000)
    async with receiver(webhook_response_bytes_max=100) as app:
        await publish([event(vm("vm-1", sequence=2))])
        await endpoint.has_taken(1)
        await all_taken(app)


async def test_a_nats_that_is_killed_makes_no_gap(
    receiver: Receiver, publish: Publish, endpoint: Endpoint, tmp_path: Path
) -> None:
    """What was under way comes again, and before what stands behind it."""
    async with EmbeddedNats(tmp_path / "own-nats") as server:
        chance = Random(3)
        endpoint.answer = lambda _: web.Response(status=500) if chance.random() < 0.3 else None
        rows = vm_events(90, vms=5)
        async with receiver(nats_url=server.url, webhook_ack_wait_s=3, webhook_timeout_s=1) as app:
            await publish(rows[:45])
            await endpoint.has_taken(10)
            os.kill(server.pid, signal.SIGKILL)
            await server.stop()
            await server.start()
            await publish(rows[45:])
            await endpoint.has_taken(90, 120)
            await all_taken(app)
    endpoint.assert_in_order()


async def test_of_two_receivers_one_delivers_and_the_other_takes_over(
    receiver: Receiver, publish: Publish, endpoint: Endpoint, connection: Connection, tmp_path: Path
) -> None:
    """The relay's lock is lost without a word; what it had in hand comes again before the rest."""
    chance = Random(5)
    endpoint.answer = lambda _: web.Response(status=500) if chance.random() < 0.2 else None
    rows = vm_events(80, vms=5)
    async with receiver(), receiver(data_dir=tmp_path / "other"):
        await publish(rows[:40])
        await endpoint.has_taken(10)
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'esc-receiver-relay'"
            " AND datname = current_database()"
        )
        await publish(rows[40:])
        await endpoint.has_taken(80)
    endpoint.assert_in_order()


async def test_messages_of_strangers_are_passed_over_and_counted(
    receiver: Receiver, publish: Publish, endpoint: Endpoint, nats_url: str
) -> None:
    """What is no event of a receiver has no id to be delivered by."""
    async with receiver() as app:
        async with feed.jetstream(nats_url) as jetstream:
            await jetstream.publish("esc.v1.vm.alive.x", b"not ours")
        await publish([event(vm())])
        await endpoint.has_taken(1)
        await until(lambda: shows(app, "esc_receiver_webhook_foreign_total", 1))
    assert len(endpoint.requests) == 1


async def test_the_permissions_of_the_page_are_enough(
    receiver: Receiver, publish: Publish, endpoint: Endpoint, tmp_path: Path
) -> None:
    """Those of the feed, and two more: events are taken and acknowledged, a consumer is made anew."""
    allowed = [*FEED_PERMISSIONS, "$JS.API.CONSUMER.DELETE.>", "$JS.ACK.>"]
    async with ConfiguredNats(tmp_path / "nats", authorization=users_with(allowed)) as server:
        url = server.url_of("esc", "secret-of-esc")
        async with receiver(nats_url=url) as app:
            await publish(vm_events(2, vms=1))
            await endpoint.has_taken(2)
            await all_taken(app)
            await app.hooks.resend("orders", 2)
            await endpoint.was_asked(3)
            await all_taken(app)
    assert [one.about[1] for one in endpoint.taken] == [1, 2, 2]
