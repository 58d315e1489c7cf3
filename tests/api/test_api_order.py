"""Paging while rows arrive: nothing is lost, nothing is shown twice, whichever receiver commits when."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from itertools import count
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.api.position import read_position
from tests.support.batches import keeping, letter, of_deployment
from tests.support.query_api import ALIVE, DEPLOYED, RunningApi, deploy, running_api, store

ROW = """
INSERT INTO transitions
    (id, at, entity, entity_id, source, name, sequence, from_state, to_state, change, trigger, rule, reason)
VALUES ($1, now(), 'vm', $1, 'lab1', $2, 1, 'UNSEEN', 'ALIVE', 'alive', 'VM_ALIVE', 'vm-alive', 'test')
"""


async def follow(api: RunningApi, path: str, after: str | None, **asked: Any) -> list[dict[str, Any]]:
    """All pages from a position on."""
    return await api.all_items(path, after=after, **asked)


async def test_what_commits_later_is_never_overtaken(postgres_dsn: str, pool: Any) -> None:
    """A row whose transaction began first, but commits last, is not passed over: what came after waits for it."""
    await store(postgres_dsn, deploy("dep-a"))  # makes the partitions
    async with running_api(postgres_dsn) as api, pool.acquire() as early, pool.acquire() as late:
        before = (await api.all_items("/transitions"))[-1]["position"]
        async with early.transaction():
            await early.execute(ROW, uuid4(), "early")
            await late.execute(ROW, uuid4(), "late")
            assert await follow(api, "/transitions", before) == []
        assert [shown["name"] for shown in await follow(api, "/transitions", before)] == ["early", "late"]


async def test_positions_follow_the_order_in_which_a_batch_was_judged(postgres_dsn: str, connection: Any) -> None:
    """Within one transaction, an entity's entries are shown in the order of their sequences."""
    await store(postgres_dsn, [one for number in range(20) for one in deploy(f"dep-{number}")], together=60)
    async with running_api(postgres_dsn) as api:
        shown = await api.all_items("/transitions", limit=7)
        positions = [read_position(entry["position"]) for entry in shown]
        assert positions == sorted(positions)
        of_entity: dict[str, list[int]] = {}
        for entry in shown:
            of_entity.setdefault(entry["entity_id"], []).append(entry["sequence"])
        assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in of_entity.values())
        assert len({entry["id"] for entry in shown}) == len(shown)
        assert len(shown) == await connection.fetchval("SELECT count(*) FROM transitions")


@pytest.mark.parametrize("path", ["/callbacks", "/transitions"])
async def test_nothing_is_lost_or_repeated_while_two_receivers_write(postgres_dsn: str, path: str) -> None:
    """A reader that follows the cursors while both commit sees every row once, in the order of positions."""
    await store(postgres_dsn, deploy("first"))
    numbers = count()
    async with running_api(postgres_dsn) as api, keeping(postgres_dsn) as one, keeping(postgres_dsn) as two:

        async def write(keeper: Any) -> None:
            for size in (1, 7, 2, 5, 1, 9, 3, 4, 1, 6):
                names = [f"dep-{next(numbers)}" for _ in range(size)]
                await keeper.write([letter(of_deployment(s, name)) for name in names for s in (DEPLOYED, ALIVE)])

        writing = asyncio.gather(write(one), write(two))
        seen: list[dict[str, Any]] = []
        after = None
        while True:
            finished = writing.done()
            new = await follow(api, path, after, limit=3)
            seen += new
            after = new[-1]["position"] if new else after
            if finished and not new:
                break
        await writing
        key = "receipt" if path == "/callbacks" else "id"
        everything = await api.all_items(path)
        assert [shown[key] for shown in seen] == [shown[key] for shown in everything]
        assert len({shown[key] for shown in seen}) == len(seen)
        assert len(seen) >= 2 * 2 * 39


@pytest.mark.parametrize("order", ["", "newest"])
@pytest.mark.parametrize("name", ["/deployments", "/vms", "/operations", "/callbacks", "/transitions"])
async def test_pages_joined_are_the_list(postgres_dsn: str, name: str, order: str) -> None:
    """Whatever the limit; also backwards, and while others change what is listed."""
    await store(postgres_dsn, [one for number in range(12) for one in deploy(f"dep-{number}")])
    if order and name in ("/deployments", "/vms"):
        return  # these have but one order
    asked: dict[str, Any] = {"order": order or None}
    async with running_api(postgres_dsn) as api, keeping(postgres_dsn) as keeper:
        whole = await api.all_items(name, limit=1000, **asked)
        assert len(whole) >= 12
        key = "receipt" if "receipt" in whole[0] and name == "/callbacks" else "id"
        for limit in (1, 5, 12):
            pages, cursor = [], None
            while True:
                page = await api.get(name, limit=limit, cursor=cursor, **asked)
                pages += page.items
                cursor = page.body["next"]
                if key == "id" and name != "/transitions":
                    await keeper.write([letter(of_deployment(ALIVE, "dep-3"))])
                if cursor is None:
                    break
            assert [shown[key] for shown in pages] == [shown[key] for shown in whole]


async def test_a_rare_match_is_found_page_by_page(postgres_dsn: str) -> None:
    """A page looks through so many rows and no more; the next one goes on where it ended, and none is left out."""
    names = [f"dep-{number}" for number in range(30)]
    await store(postgres_dsn, [letter(of_deployment(DEPLOYED, name)) for name in names])
    async with running_api(postgres_dsn, query_scan_rows_max=10) as api:
        wanted = (await api.get("/callbacks", limit=1000)).items[25]
        page = await api.get("/callbacks", vm_name=wanted["vm_name"], limit=5)
        assert (page.items, page.body["next"] is None) == ([], False)
        assert await api.all_items("/callbacks", vm_name=wanted["vm_name"]) == [wanted]
        assert await api.all_items("/callbacks", vm_name=wanted["vm_name"], order="newest") == [wanted]
        assert await api.all_items("/callbacks", vm_name="nobody") == []


async def test_a_position_of_another_database_is_refused(postgres_dsn: str) -> None:
    """Rather than that a client waits for ever for what was there before a restore."""
    async with running_api(postgres_dsn) as api:
        for path, name in (("/transitions", "after"), ("/callbacks", "cursor"), ("/feed", "after")):
            answer = await api.ask("GET", path, params={name: "999999999999-1"})
            assert (answer.status, answer.body["parameter"]) == (409, name)
        answer = await api.get("/feed", {"Last-Event-ID": "999999999999-1"})
        assert (answer.status, answer.body["parameter"]) == (409, "Last-Event-ID")


async def test_after_a_restore_all_is_shown_again(postgres_dsn: str, connection: Any) -> None:
    """Rows from another server's dump bear transaction ids that this one has not reached: they are put in order."""
    await store(postgres_dsn, deploy("dep-a"))
    ids = [row["id"] for row in await connection.fetch("SELECT id FROM transitions ORDER BY xid, position")]
    await connection.execute("UPDATE transitions SET xid = '9000000000'; UPDATE callbacks SET xid = '9000000000'")
    async with running_api(postgres_dsn) as api:
        async with asyncio.timeout(30):
            while not (shown := await api.all_items("/transitions")):  # noqa: ASYNC110 - nothing tells when it is done
                await asyncio.sleep(0.05)
        assert [entry["id"] for entry in shown] == [str(i) for i in ids]
        assert len(await api.all_items("/callbacks")) == 3


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["write", "commit", "read"])), min_size=4, max_size=24))
async def test_any_interleaving_of_transactions_is_read_once(postgres_dsn: str, steps: list[tuple[int, str]]) -> None:
    """Three writers begin, write and commit in any order, while a reader follows."""
    await store(postgres_dsn, deploy("dep-a"))  # makes the partitions
    async with running_api(postgres_dsn) as api, AsyncExitStack() as stack:
        writers = [await asyncpg.connect(postgres_dsn) for _ in range(3)]
        for writer in writers:
            stack.callback(writer.terminate)
        seen = [(await api.all_items("/transitions"))[-1]]
        written = 0
        for number, step in [*steps, *((number, "commit") for number in range(3)), (0, "read")]:
            writer = writers[number]
            if step == "read":
                seen += await api.all_items("/transitions", after=seen[-1]["position"], limit=2)
            elif step == "commit" and writer.is_in_transaction():
                await writer.execute("COMMIT")
            elif step == "write":
                if not writer.is_in_transaction():
                    await writer.execute("BEGIN")
                await writer.execute(ROW, uuid4(), f"row-{written}")
                written += 1
        names = [entry["name"] for entry in seen[1:]]
        assert sorted(names) == sorted(f"row-{number}" for number in range(written))
