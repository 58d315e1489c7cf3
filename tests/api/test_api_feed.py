"""The live feed: complete, each entry once, also across receivers; and no reader slows the service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from receiver.api.position import Position
from receiver.api.subscription import EventFilter, Subscription
from tests.support.batches import keeping, letter, of_deployment
from tests.support.query_api import ALIVE, API, DEPLOYED, RunningApi, deploy, running_api, store


class Reader:
    """Reads events from an answer that does not end."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self.last_id: str | None = None
        self.comments = 0

    async def next(self) -> dict[str, Any]:
        """The next event that carries data."""
        data = None
        async with asyncio.timeout(30):
            while True:
                line = (await self._answer.content.readline()).decode()
                if not line:
                    raise EOFError
                field, _, value = line.rstrip("\n").partition(": ")
                if field == "id":
                    self.last_id = value
                elif field == "data":
                    data = json.loads(value)
                elif line.startswith(":"):
                    self.comments += 1
                elif line == "\n" and data is not None:
                    assert data["position"] == self.last_id
                    return dict(data)

    async def take(self, many: int) -> list[str]:
        """The ids of so many entries."""
        return [(await self.next())["id"] for _ in range(many)]


@asynccontextmanager
async def reading(api: RunningApi, last: str | None = None, query: str = "") -> AsyncIterator[Reader]:
    """A reader of the feed that has arrived: what is kept from now on is for it."""
    headers = {"Last-Event-ID": last} if last else {}
    async with api.client.get(f"{api.url}{API}/feed{query}", headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "text/event-stream"
        reader = Reader(answer)
        assert (await answer.content.readline()).startswith(b"retry: ")
        reader.last_id = (await answer.content.readline()).decode().strip().removeprefix("id: ")
        yield reader


async def ledger(api: RunningApi) -> list[str]:
    """All ids, in the order of visibility."""
    return [entry["id"] for entry in await api.all_items("/transitions", limit=1000)]


async def test_entries_are_told_as_they_happen(postgres_dsn: str) -> None:
    """From when the reader came, each once, in the order of visibility."""
    await store(postgres_dsn, deploy("before"))
    async with running_api(postgres_dsn) as api, reading(api) as reader:
        before = await ledger(api)
        for name in ("dep-a", "dep-b"):
            await store(postgres_dsn, deploy(name))
        everything = await ledger(api)
        assert await reader.take(len(everything) - len(before)) == everything[len(before) :]


async def test_a_reader_resumes_at_another_receiver(postgres_dsn: str) -> None:
    """Whatever came between, from whichever receiver: nothing is lost, nothing is told twice."""
    await store(postgres_dsn, deploy("dep-0"))
    heard: list[str] = []
    async with running_api(postgres_dsn, feed_batch_max=5) as one, running_api(postgres_dsn) as two:
        first = await ledger(one)
        last: str | None = (await one.get("/transitions", limit=1)).items[0]["position"]
        heard += first[:1]
        for number in range(1, 6):
            api = one if number % 2 else two
            async with reading(api, last) as reader, keeping(postgres_dsn) as keeper:
                writing = asyncio.create_task(keeper.write(deploy(f"dep-{number}")))
                missing = [i for i in await ledger(api) if i not in heard]
                heard += await reader.take(len(missing))
                await writing
                heard += await reader.take(2)
                last = reader.last_id
            await store(postgres_dsn, deploy(f"other-{number}"))
        async with reading(two, last) as reader:
            everything = await ledger(one)
            heard += await reader.take(len(everything) - len(heard))
        assert heard == everything


async def test_a_reader_may_be_ahead_of_this_receiver(postgres_dsn: str) -> None:
    """It has heard elsewhere what this one has not read yet: that is not told again."""
    async with running_api(postgres_dsn, feed_gather_s=3.0) as slow, reading(slow):
        await slow.api.listening.wait()
        await store(postgres_dsn, deploy("dep-a"))
        last = (await slow.all_items("/transitions"))[-1]["position"]
        async with reading(slow, last) as ahead:
            await store(postgres_dsn, deploy("dep-b"))
            assert (await ahead.next())["deployment"] == "dep-b"


async def test_filters_choose_and_may_be_several(postgres_dsn: str) -> None:
    """Values of one filter are alternatives; filters narrow each other."""
    query = "?entity=vm&entity=deployment&change=alive&change=active&deployment=dep-b"
    async with running_api(postgres_dsn) as api, reading(api, query=query) as reader:
        await store(postgres_dsn, [*deploy("dep-a"), *deploy("dep-b")])
        told = [await reader.next(), await reader.next()]
        assert {(entry["entity"], entry["change"], entry["deployment"]) for entry in told} == {
            ("vm", "alive", "dep-b"),
            ("deployment", "active", "dep-b"),
        }


async def test_an_idle_feed_says_that_it_is_there_and_how_far_it_is(postgres_dsn: str) -> None:
    """A reader that wants little need not look through all the rest when it comes back."""
    query = "?deployment=dep-b"
    async with running_api(postgres_dsn, feed_heartbeat_s=0.2) as api, reading(api, query=query) as reader:
        began = reader.last_id
        await store(postgres_dsn, deploy("dep-a"))
        newest = (await api.all_items("/transitions"))[-1]["position"]
        async with asyncio.timeout(30):
            while reader.last_id != newest or not reader.comments:
                line = (await reader._answer.content.readline()).decode().strip()
                reader.comments += line.startswith(":")
                reader.last_id = line[4:] if line.startswith("id: ") else reader.last_id
        assert reader.last_id != began


async def test_a_slow_reader_is_dropped_and_resumes(postgres_dsn: str) -> None:
    """One that reads nothing is cut off, and others are not held up; when it comes back it has lost nothing."""
    async with running_api(postgres_dsn, feed_queue_bytes_max=2_000, feed_gather_s=0.0) as api:
        async with reading(api) as quick, reading(api) as slow:
            begin = slow.last_id
            slow._answer.content._protocol.pause_reading()  # as a client that hangs
            written = 0
            async with asyncio.timeout(90):
                while not api.metrics.registry.get_sample_value("esc_receiver_feed_dropped_total"):
                    await store(postgres_dsn, [one for n in range(100) for one in deploy(f"dep-{written}-{n}")])
                    written += 1
                    for _ in range(100):
                        await quick.next()
        async with reading(api, begin) as again:
            everything = await ledger(api)
            assert await again.take(len(everything)) == everything


def test_a_queue_is_bounded_by_bytes() -> None:
    """The portion that does not fit loses the reader; a single one always fits, or nothing large could be told."""
    cut: list[bool] = []
    reader = Subscription(EventFilter(), Position(1, 1), 100, lambda: cut.append(True))
    assert reader.offer(b"x" * 500, Position(2, 2))
    assert not reader.offer(b"x", Position(3, 3))
    assert (reader.closed, cut) == (True, [True])


async def test_there_is_a_limit_to_readers(postgres_dsn: str) -> None:
    """Named in the answer."""
    async with running_api(postgres_dsn, feed_readers_max=1) as api, reading(api):
        answer = await api.get("/feed")
        assert (answer.status, "feed_readers_max" in answer.body["detail"]) == (503, True)


async def test_stopping_ends_the_feed(postgres_dsn: str) -> None:
    """At once, so that nobody waits for readers."""
    async with running_api(postgres_dsn) as api, reading(api) as reader:
        await api.api.stop()
        with pytest.raises(EOFError):
            await reader.next()


async def test_a_broken_connection_loses_nothing(postgres_dsn: str, connection: Any) -> None:
    """What was committed while the ledger was not followed comes afterwards, to the same reader."""
    async with running_api(postgres_dsn) as api, reading(api) as reader:
        await api.api.listening.wait()
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'esc-receiver-follower' "
            "AND datname = current_database()"
        )
        await store(postgres_dsn, [letter(of_deployment(sample, "dep-a")) for sample in (DEPLOYED, ALIVE)])
        everything = await ledger(api)
        assert await reader.take(len(everything)) == everything
