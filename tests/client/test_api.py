"""`EscReceiver` and `SyncEscReceiver` ask the query API: the same questions, with and without `await`."""

from __future__ import annotations

import asyncio
import inspect
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from esc_receiver_client import (
    ApiError,
    EscReceiver,
    RefusedError,
    SyncEscReceiver,
    TokenError,
    UnansweredError,
    UnknownError,
)
from esc_receiver_client.questions import Address
from tests.support.batches import letter, of_deployment
from tests.support.query_api import ALIVE, DEPLOYED, READ, SERVICE_ALIVE, RunningApi, deploy, running_api, store

TRANSACTION = letter(of_deployment(DEPLOYED, "dep-a")).envelope.transaction_id or ""


@pytest.fixture
async def api(postgres_dsn: str) -> AsyncIterator[RunningApi]:
    """A receiver's API, on two deployments that are up and one that is coming up."""
    await store(postgres_dsn, [*deploy("dep-a"), *deploy("dep-b"), letter(of_deployment(DEPLOYED, "dep-c"))])
    async with running_api(postgres_dsn) as api:
        yield api


@pytest.mark.parametrize("name", ["deployments", "vms", "resources", "operations", "transitions", "callbacks"])
async def test_lists_page_after_page(api: RunningApi, name: str) -> None:
    """All of it, typed, whichever client asks."""
    expected = [item.get("id") or item["receipt"] for item in await api.all_items(f"/{name}")]

    def ask() -> list[Any]:
        with SyncEscReceiver(api.url) as sync:
            return list(getattr(sync, name)())

    async with EscReceiver(api.url) as client:
        found = [one async for one in getattr(client, name)()]
    for items in (found, await asyncio.to_thread(ask)):
        assert [str(getattr(item, "id", None) or item.receipt) for item in items] == expected


async def test_pages_are_followed(api: RunningApi) -> None:
    """A page holds less than all: the cursor leads on; `limit` ends it."""
    async with EscReceiver(api.url) as client:
        all_of_it = [item["id"] async for item in client.all_items("transitions")]
        assert [item["id"] async for item in client.all_items("transitions", 4)] == all_of_it[:4]


async def test_filters_are_the_apis(api: RunningApi) -> None:
    """Also truth values, and one that does not exist is named."""
    async with EscReceiver(api.url) as client:
        active = [one.deployment async for one in client.deployments(state="ACTIVE", current=True)]
        assert sorted(map(str, active)) == ["dep-a", "dep-b"]
        with pytest.raises(RefusedError, match="colour"):
            [one async for one in client.vms(colour="red")]


async def test_single_things(api: RunningApi) -> None:
    """With what only they have; the unknown says so."""
    async with EscReceiver(api.url) as client:
        deployment = await client.deployment("default", "dep-a")
        (vm,) = deployment.vms
        assert (await client.vm("default", vm.vm_name)).incarnations[0].incarnation == 1
        assert (await client.explain("default", vm.vm_name)).words
        operation = await client.operation("default", TRANSACTION)
        assert (operation.state, operation.progress.alive) == ("SUCCEEDED", 1)
        (callback, *_) = [one async for one in client.callbacks(deployment="dep-a")]
        assert (await client.callback(str(callback.receipt))).headers
        assert (await client.stats()).deployments["ACTIVE"] == 2
        for question in (client.vm("default", "none"), client.explain("default", "no/ne"), client.deployment("x", "y")):
            with pytest.raises(UnknownError):
                await question


async def test_waiting_for_an_operation(api: RunningApi, postgres_dsn: str) -> None:
    """The moment it ends; before anybody has heard of it, too; None when nobody ever does."""
    txn = letter(of_deployment(DEPLOYED, "dep-d")).envelope.transaction_id or ""
    async with EscReceiver(api.url) as client:
        waiting = asyncio.create_task(client.wait("default", txn, 60))
        anywhere = asyncio.create_task(client.wait(None, txn, 60))
        await store(postgres_dsn, [letter(of_deployment(one, "dep-d")) for one in (DEPLOYED, ALIVE, SERVICE_ALIVE)])
        for found in (await waiting, await anywhere):
            assert found
            assert (found.state, found.progress.alive) == ("SUCCEEDED", 1)
        assert await client.wait("default", "unheard-of", 0) is None
        still_open = await client.wait(
            "default", letter(of_deployment(DEPLOYED, "dep-c")).envelope.transaction_id or "", 1
        )
        assert still_open
        assert still_open.state == "OPEN"


async def test_waiting_goes_on_through_a_restart(postgres_dsn: str) -> None:
    """Another receiver at the same URL answers in the end."""
    await store(postgres_dsn, [letter(of_deployment(DEPLOYED, "dep-a"))])
    async with AsyncExitStack() as first, AsyncExitStack() as rest:
        api = await first.enter_async_context(running_api(postgres_dsn))
        port = int(api.url.rpartition(":")[2])
        client = await rest.enter_async_context(EscReceiver(api.url))
        waiting = asyncio.create_task(client.wait("default", TRANSACTION, 120))
        await asyncio.sleep(0.2)
        await first.aclose()
        await store(postgres_dsn, deploy("dep-a"))
        await rest.enter_async_context(running_api(postgres_dsn, port=port))
        found = await waiting
    assert found
    assert found.state == "SUCCEEDED"


async def test_the_live_feed(api: RunningApi) -> None:
    """From the beginning or behind a position, in the order of the ledger."""
    ledger = await api.all_items("/transitions")
    async with EscReceiver(api.url) as client:
        async with aclosing(client.sse(after="0-0")) as entries:
            seen = [str((await anext(entries)).id) for _ in ledger]
        assert seen == [entry["id"] for entry in ledger]
        async with aclosing(client.sse(after=ledger[2]["position"], entity="vm")) as entries:
            assert str((await anext(entries)).id) == next(e["id"] for e in ledger[3:] if e["entity"] == "vm")


async def test_errors_say_what_to_do(postgres_dsn: str) -> None:
    """Each of its own kind, without the token."""
    nobody = f"http://127.0.0.1:{unused_port()}"
    async with EscReceiver(nobody) as client:
        with pytest.raises(UnansweredError, match=f"no receiver answers at {nobody}"):
            await client.wait("default", "t", 10)
    async with running_api(postgres_dsn, read_tokens=[READ]) as api:
        for token, told in (("wrong", "does not take this token"), (None, "wants a token")):
            async with EscReceiver(api.url, token) as client:
                with pytest.raises(TokenError, match=told):
                    await client.stats()
        async with EscReceiver(api.url, READ.token) as client:
            assert (await client.stats()).counted_max > 0
    with pytest.raises(ApiError, match="is no URL of a receiver"):
        EscReceiver("receiver.example")
    async with TestServer(web.Application()) as server, EscReceiver(str(server.make_url(""))) as client:
        with pytest.raises(ApiError, match="is no receiver: it answers 404"):
            await client.stats()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_certificate_is_always_looked_at(scheme: str) -> None:
    """Of HTTPS by the system's authorities; where there is no TLS, none are loaded, so that none would be believed."""
    trusted: ssl.SSLContext = Address(f"{scheme}://receiver.example", None).options()["verify"]
    assert (trusted.verify_mode, trusted.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert scheme == "https" or trusted.cert_store_stats()["x509"] == 0


def test_both_clients_answer_the_same_questions() -> None:
    """Method for method, parameter for parameter."""
    public = {name for name in dir(EscReceiver) if not name.startswith("_")}
    assert public == {name for name in dir(SyncEscReceiver) if not name.startswith("_")}
    for name in public:
        one, other = (inspect.signature(getattr(kind, name)) for kind in (EscReceiver, SyncEscReceiver))
        assert one.parameters == other.parameters, name
