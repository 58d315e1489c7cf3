"""What people see of webhooks and do about them: API and command line, on a whole receiver."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from click.testing import CliRunner, Result
from standardwebhooks import Webhook

from receiver.cli.main import main
from tests.support.feed import event, until, vm, vm_events
from tests.support.webhook_endpoint import SECRET, Endpoint, chosen
from tests.webhooks.conftest import Publish, Receiver

TOKENS = "reader,operator:operate"


OPERATOR = "operator"


async def ask(url: str, method: str, path: str, token: str = OPERATOR, **more: Any) -> tuple[int, Any]:
    """Status and JSON of an answer of the API."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession() as client,
        client.request(method, f"{url}/api/v1/{path}", headers=headers, **more) as answer,
    ):
        return answer.status, await answer.json()


async def command(url: str, *words: str) -> Result:
    """What `esc-receiver webhooks …` does."""
    whole = ["webhooks", *words, "--url", url, "--token", "operator"]
    return await asyncio.to_thread(CliRunner().invoke, main, whole)


async def test_a_webhook_is_listed_enabled_and_sent_again(
    receiver: Receiver, publish: Publish, endpoint: Endpoint
) -> None:
    """By the API: what it has, and what it does about a webhook that is disabled."""
    endpoint.answer = lambda one: web.Response(status=410) if one.about[1] == 3 else None
    webhooks = [
        chosen(endpoint) | {"url": f"{endpoint.url}?key=secret"},
        chosen(endpoint, "other", subjects=["esc.v1.x"]),
    ]
    async with receiver(read_tokens=TOKENS, webhooks=webhooks) as app:
        await publish(vm_events(3, vms=1))

        async def listed() -> list[dict[str, Any]]:
            items: list[dict[str, Any]] = (await ask(app.url, "GET", "webhooks", "reader"))[1]["items"]
            return items

        async def is_disabled() -> bool:
            shown = (await listed())[0]  # what was delivered is noted now and then, and disabling at once
            places = shown["cursor_sequence"], shown["last_delivered_sequence"]
            return (shown["state"], *places) == ("disabled", 2, 2)

        await until(is_disabled)
        first, other = await listed()
        assert first | {"since": None, "last_delivered_at": None, "last_error_at": None} == {
            "name": "orders", "url": endpoint.url, "subjects": [], "state": "disabled", "since": None,
            "reason": "it answered 410 Gone", "pending": 1, "cursor_sequence": 2, "failing_sequence": 3,
            "last_delivered_at": None, "last_delivered_sequence": 2, "last_delivered_id": endpoint.taken[1].id,
            "last_error_at": None, "last_error": "410 Gone",
        }  # fmt: skip
        assert (other["name"], other["state"], other["pending"]) == ("other", "delivering", 0)

        endpoint.answer = lambda _: None
        status, shown = await ask(app.url, "POST", "webhooks/orders/enable", json={})
        assert (status, shown["state"]) == (200, "delivering")
        await endpoint.has_taken(3)
        status, _ = await ask(app.url, "POST", "webhooks/orders/resend", json={"from_sequence": 2})
        assert status == 200
        await until(lambda: has_been_sent(endpoint, 5))
        assert (await ask(app.url, "POST", "webhooks/orders/resend", json={"from_sequence": 4.0}))[0] == 200
    assert [one.about[1] for one in endpoint.taken] == [1, 2, 3, 2, 3]
    assert [one.id for one in endpoint.taken[1:3]] == [one.id for one in endpoint.taken[3:]]


async def has_been_sent(endpoint: Endpoint, number: int) -> bool:
    """Whether it has taken so many deliveries, repeats too."""
    return len(endpoint.taken) >= number


async def test_what_the_api_refuses(receiver: Receiver, endpoint: Endpoint) -> None:
    """Without the scope, of no such name, beyond the stream, or said otherwise; and nothing is changed."""
    async with receiver(read_tokens=TOKENS) as app:
        asked = {
            403: ("webhooks/orders/enable", "reader", {}),
            404: ("webhooks/nosuch/enable", "operator", {}),
            400: ("webhooks/orders/resend", "operator", {"from_sequence": 2}),
        }
        for expected, (path, token, body) in asked.items():
            status, problem = await ask(app.url, "POST", path, token, json=body)
            assert status == expected
        assert (problem["parameter"], problem["detail"]) == ("from_sequence", "the stream is empty, and ended at 0")
        wrong: list[dict[str, Any]] = [
            {},
            {"from_sequence": 0},
            {"from_sequence": "1"},
            {"from_sequence": 1, "more": 1},
        ]
        for body in wrong:
            assert (await ask(app.url, "POST", "webhooks/orders/resend", json=body))[0] == 400
        _, shown = await ask(app.url, "GET", "webhooks")
        assert shown["items"][0]["state"] == "delivering"


async def test_the_commands(receiver: Receiver, publish: Publish, endpoint: Endpoint) -> None:
    """List, test, enable and resend, as a table and as JSON."""
    async with receiver(read_tokens=TOKENS) as app:
        await publish([event(vm())])
        await endpoint.has_taken(1)
        listed = await command(app.url)
        assert listed.exit_code == 0, listed.output
        assert {"STATE", "PENDING", "CURSOR", "orders", endpoint.url} <= set(
            listed.output.replace("LAST TAKEN", "").split()
        )

        async def is_noted() -> bool:
            as_json = json.loads((await command(app.url, "list", "-o", "json")).stdout)
            return bool(as_json["last_delivered_id"] == endpoint.taken[0].id)

        await until(is_noted)  # a moment after it is taken
        assert (await command(app.url, "enable", "orders", "-o", "name")).stdout == "orders\n"
        again = await command(app.url, "resend", "orders", "--from-seq", "1")
        assert again.exit_code == 0, again.output
        await until(lambda: has_been_sent(endpoint, 2))
        wrong = await command(app.url, "resend", "orders", "--from-seq", "9")
        assert (wrong.exit_code, "the stream has 1 to 1" in wrong.stderr) == (2, True)


async def test_a_test_is_signed_and_tells_what_was_answered(receiver: Receiver, endpoint: Endpoint) -> None:
    """Once, whatever comes of it."""
    async with receiver(read_tokens=TOKENS) as app:
        taken = await command(app.url, "test", "orders", "-o", "json")
        assert (taken.exit_code, json.loads(taken.stdout)["said"]) == (0, "200 OK")
        one = endpoint.taken[0]
        assert Webhook(SECRET).verify(one.body, one.headers)["type"] == "esc.webhook.test.v1"
        endpoint.answer = lambda _: web.Response(status=401, text="who are you?")
        refused = await command(app.url, "test", "orders")
        assert (refused.exit_code, "401 Unauthorized: who are you?" in refused.stdout) == (1, True)
    assert len(endpoint.requests) == 2


@pytest.mark.parametrize("webhooks", [[]])
async def test_without_webhooks_there_is_nothing(receiver: Receiver, webhooks: list[Any]) -> None:
    """And that is said."""
    async with receiver(read_tokens=TOKENS, webhooks=webhooks) as app:
        assert (await command(app.url)).stderr == "there are no webhooks yet\n"
