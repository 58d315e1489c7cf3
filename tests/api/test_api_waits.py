"""Waiting for an operation: answered the moment it ends, wherever its last callback was taken."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.support.batches import keeping, letter, of_deployment
from tests.support.query_api import ALIVE, DEPLOYED, SERVICE_ALIVE, Answer, RunningApi, deploy, running_api, store

NEVER_SWEPT = {"wake_sweep_s": 3_600.0}
"""So that only a wake-up can end a wait."""
TRANSACTION = letter(of_deployment(DEPLOYED, "dep-a")).envelope.transaction_id or ""


async def waiting(api: RunningApi, transaction: str, wait: int = 60) -> asyncio.Task[Answer]:
    """A request that waits; returns when it does."""
    before = api.metrics.registry.get_sample_value("esc_receiver_waits") or 0
    task = asyncio.create_task(api.get(f"/operations/default/{transaction}", wait=wait))
    await until_waiting(api, before + 1)
    return task


async def until_waiting(api: RunningApi, many: float) -> None:
    """Until so many requests wait."""
    async with asyncio.timeout(30):
        while (api.metrics.registry.get_sample_value("esc_receiver_waits") or 0) != many:  # noqa: ASYNC110 - a gauge
            await asyncio.sleep(0.01)


async def test_the_end_is_told_at_once(postgres_dsn: str) -> None:
    """Also of one that nobody had heard of when the wait began, and when another receiver took the last callback."""
    async with running_api(postgres_dsn, **NEVER_SWEPT) as api, keeping(postgres_dsn) as elsewhere:
        await api.api.listening.wait()
        wait = await waiting(api, TRANSACTION)
        first, *rest = deploy("dep-a")
        await elsewhere.write([first])
        assert not wait.done()
        await elsewhere.write(rest)
        answer = await wait
        assert (answer.status, answer.body["state"]) == (200, "SUCCEEDED")
        assert answer.body["progress"] == {"expected": 1, "deployed": 1, "alive": 1, "failed": 0}
        await until_waiting(api, 0)


async def test_one_that_has_ended_is_told_without_waiting(postgres_dsn: str) -> None:
    """Whatever the wait."""
    await store(postgres_dsn, deploy("dep-a"))
    async with running_api(postgres_dsn, **NEVER_SWEPT) as api, asyncio.timeout(20):
        assert (await api.get(f"/operations/default/{TRANSACTION}", wait=300)).body["state"] == "SUCCEEDED"


async def test_when_the_wait_is_over_it_is_told_as_it_is(postgres_dsn: str) -> None:
    """Still open, with its progress; or 404 when nobody has heard of it."""
    await store(postgres_dsn, deploy("dep-a")[:2])
    async with running_api(postgres_dsn) as api:
        open_, unknown = await asyncio.gather(
            api.get(f"/operations/default/{TRANSACTION}", wait=1), api.get("/operations/default/nobody", wait=1)
        )
        assert (open_.status, open_.body["state"], open_.body["progress"]["alive"]) == (200, "OPEN", 1)
        assert unknown.status == 404


async def test_a_lost_wake_up_is_made_up_for(postgres_dsn: str, connection: Any) -> None:
    """Nobody notified: the sweep finds the end."""
    async with running_api(postgres_dsn, wake_sweep_s=0.5) as api:
        await api.api.listening.wait()
        wait = await waiting(api, TRANSACTION)
        await store(postgres_dsn, deploy("dep-a")[:2])
        await connection.execute("UPDATE operations SET state = 'FAILED', ended_at = now()")
        assert (await wait).body["state"] == "FAILED"


async def test_a_broken_connection_is_not_trusted_until_it_listens_again(postgres_dsn: str, connection: Any) -> None:
    """What ended while nobody listened is found as soon as somebody does."""
    async with running_api(postgres_dsn, **NEVER_SWEPT) as api:
        await api.api.listening.wait()
        wait = await waiting(api, TRANSACTION)
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'esc-receiver-follower' "
            "AND datname = current_database()"
        )
        await store(postgres_dsn, deploy("dep-a"))
        assert (await wait).body["state"] == "SUCCEEDED"


async def test_many_wait_for_many(postgres_dsn: str) -> None:
    """Each is told of its own; several may wait for one."""
    names = [f"dep-{number}" for number in range(40)]
    transactions = [letter(of_deployment(DEPLOYED, name)).envelope.transaction_id or "" for name in names]
    async with running_api(postgres_dsn, **NEVER_SWEPT) as api, keeping(postgres_dsn) as elsewhere:
        await api.api.listening.wait()
        waits = [asyncio.create_task(api.get(f"/operations/default/{t}", wait=60)) for t in transactions * 2]
        await until_waiting(api, 80)
        for sample in (DEPLOYED, ALIVE, SERVICE_ALIVE):
            await elsewhere.write([letter(of_deployment(sample, name)) for name in names])
        answers = [answer.body for answer in await asyncio.gather(*waits)]
        assert [answer["transaction_id"] for answer in answers] == transactions * 2
        assert {answer["state"] for answer in answers} == {"SUCCEEDED"}


async def test_there_is_a_limit_to_those_who_wait(postgres_dsn: str) -> None:
    """Named in the answer; callbacks have the rest of the connections."""
    async with running_api(postgres_dsn, waits_max=1) as api:
        first = await waiting(api, "t1")
        answer = await api.get("/operations/default/t2", wait=60)
        assert (answer.status, "waits_max" in answer.body["detail"]) == (503, True)
        await api.api.stop()
        assert (await first).status == 503


async def left_waiting(api: RunningApi) -> None:
    """A client comes to wait for long, and leaves."""
    async with aiohttp.ClientSession() as impatient:
        waiting = asyncio.create_task(impatient.get(f"{api.url}/api/v1/operations/default/t1?wait=300").__aenter__())
        await until_waiting(api, 1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_who_has_left_makes_room_for_who_comes(postgres_dsn: str) -> None:
    """The server tells nobody when a client gives up; it is noticed when its place is needed."""
    async with running_api(postgres_dsn, waits_max=1, **NEVER_SWEPT) as api:
        await left_waiting(api)
        async with asyncio.timeout(30):
            while (answer := await api.get("/operations/default/t2", wait=1)).status == 503:  # its end is on its way
                pass
        assert answer.status == 404


async def test_who_has_left_is_forgotten_soon(postgres_dsn: str) -> None:
    """At the next sweep."""
    async with running_api(postgres_dsn, wake_sweep_s=0.2) as api:
        await left_waiting(api)
        await until_waiting(api, 0)


async def test_stopping_does_not_wait_for_those_who_wait(postgres_dsn: str) -> None:
    """They are answered 503, and may ask another receiver."""
    async with running_api(postgres_dsn) as api:
        wait = await waiting(api, "t1")
        await api.api.stop()
        answer = await wait
        assert (answer.status, "Retry-After" in answer.headers) == (503, True)


@pytest.mark.parametrize("ended", [1, 600])
async def test_the_wake_up_tells_what_ended(postgres_dsn: str, ended: int) -> None:
    """By the first digits of the row's id; of very many it says only that there are some."""
    told: asyncio.Queue[str] = asyncio.Queue()
    listener = await asyncpg.connect(postgres_dsn)
    channel = await listener.fetchval("SELECT channel FROM relay")
    await listener.add_listener(channel, lambda *heard: told.put_nowait(str(heard[-1])))
    letters = [one for number in range(ended) for one in deploy(f"dep-{number}")]
    await store(postgres_dsn, letters, together=len(letters))
    payload = await told.get()
    row = await listener.fetchrow("SELECT left(id::text, 8) AS digits FROM operations LIMIT 1")
    assert row is not None
    assert payload == (row["digits"] if ended == 1 else "*")
    await listener.close()
