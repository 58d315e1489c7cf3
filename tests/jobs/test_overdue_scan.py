"""Operations whose end does not come: found once, named with what they left behind, told on the feed, ended late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from receiver.app import running
from receiver.config.settings import Settings
from receiver.jobs.overdue_scan import OverdueScan
from receiver.lifecycle import Windows
from receiver.observability.metrics import Metrics
from receiver.parsing.parsed_callback import ParsedCallback, read
from receiver.postgres.batch_writer import BatchWriter
from receiver.postgres.database import Database
from receiver.postgres.partitions import Partitions
from receiver.postgres.session import WRITING
from receiver.postgres.statements import statements
from receiver.postgres.store import ROWS, Store
from tests.lifecycle.test_source import IN, OUT
from tests.support import feed
from tests.support.auditor import Connection, assert_feed_equals_ledger, assert_ledger_is_whole, in_feed, published
from tests.support.batches import decisions, keeping, letter, of_deployment
from tests.support.field import Post
from tests.support.samples import SEQUENCES, Sample

STORY = next(one for one in SEQUENCES if one.scenario == "deploy-ok").samples
DEPLOYED, ALIVE, CLOSING = (
    next(s for s in STORY if s.event == event) for event in ("VM_DEPLOYED", "VM_ALIVE", "SERVICE_ALIVE")
)
BEGAN_AT = datetime.now(UTC) - timedelta(hours=2)
LATER = BEGAN_AT + timedelta(hours=1, seconds=1)


@asynccontextmanager
async def watching(dsn: str, **changed: Any) -> AsyncIterator[OverdueScan]:
    """What one receiver looks with; `changed` are settings."""
    settings = Settings(postgres_dsn=dsn, **changed)
    metrics = Metrics(settings.all_sources)
    database = Database(settings, metrics)
    await database.open()
    try:
        yield OverdueScan(database, Store(Windows()), Partitions(settings), settings, metrics)
    finally:
        await database.close()


@pytest.fixture
async def keeper(postgres_dsn: str) -> AsyncIterator[BatchWriter]:
    """For the callbacks."""
    async with keeping(postgres_dsn) as keeper:
        yield keeper


async def begin(keeper: BatchWriter, names: Iterable[str]) -> None:
    """A deploy of each of these deployments, of which nothing but the first message has come, long ago."""
    await decisions(keeper, [letter(of_deployment(DEPLOYED, name), received_at=BEGAN_AT) for name in names])


async def hear(keeper: BatchWriter, sample: Sample, name: str) -> None:
    """One message more."""
    await decisions(keeper, [letter(of_deployment(sample, name), received_at=LATER + timedelta(minutes=1))])


async def states(connection: Connection) -> list[str]:
    """Of all operations, by transaction id."""
    return [row["state"] for row in await connection.fetch("SELECT state FROM operations ORDER BY transaction_id")]


async def test_it_is_found_once_across_receivers(
    postgres_dsn: str, keeper: BatchWriter, connection: Connection
) -> None:
    """Several look at the same time, again and again: each operation has one entry, in the ledger and in the outbox."""
    await begin(keeper, [f"d{n}" for n in range(40)])
    await connection.execute("DELETE FROM outbox")
    async with watching(postgres_dsn, overdue_batch_max=7) as one, watching(postgres_dsn, overdue_batch_max=7) as other:
        found = await asyncio.gather(*((one, other)[n % 2].run_once(LATER) for n in range(20)))
        assert all(len(batch) <= 7 for batch in found)
        assert sum(map(len, found)) == 40
        assert await one.run_once(LATER + timedelta(days=300)) == []
    assert await states(connection) == ["OVERDUE"] * 40
    entries = await connection.fetch("SELECT * FROM transitions WHERE to_state = 'OVERDUE'")
    assert [entry["sequence"] for entry in entries] == [2] * 40
    assert {(entry["trigger"], entry["rule"], entry["receipt"]) for entry in entries} == {
        ("timer", "operation-overdue", None)
    }
    posted = await connection.fetch("SELECT id FROM outbox")
    assert {row["id"] for row in posted} == {entry["id"] for entry in entries}
    await assert_ledger_is_whole(connection)


async def test_nothing_is_overdue_before_its_time(
    postgres_dsn: str, keeper: BatchWriter, connection: Connection
) -> None:
    """The limit of its kind, from the last that was heard of it."""
    await begin(keeper, ["d1"])
    async with watching(postgres_dsn) as overdue:
        assert await overdue.run_once(BEGAN_AT + timedelta(hours=1)) == []
    async with watching(postgres_dsn, overdue_after_s={"deploy": 4000}) as overdue:
        assert await overdue.run_once(LATER) == []
    assert await states(connection) == ["OPEN"]


async def test_the_vms_left_between_states_are_named(
    postgres_dsn: str, keeper: BatchWriter, connection: Connection
) -> None:
    """In the reason, which is what the operator reads first."""
    await begin(keeper, ["d1"])
    async with watching(postgres_dsn) as overdue:
        (decision,) = await overdue.run_once(LATER)
    vm = await connection.fetchval("SELECT vm_name FROM vms")
    assert decision.reason.endswith(f"left between states: {vm} (INERT)")
    assert decision.reason.startswith("deploy: nothing heard for 1 h (limit 1 h); its closing message may be lost")


async def test_one_that_is_in_hand_elsewhere_is_passed_over(
    postgres_dsn: str, keeper: BatchWriter, connection: Connection
) -> None:
    """Whoever holds its row may be about to end it; nobody waits for that."""
    await begin(keeper, ["d1", "d2"])
    async with watching(postgres_dsn) as overdue:
        async with connection.transaction():
            await connection.fetch("SELECT FROM operations WHERE transaction_id LIKE 'd1-%' FOR UPDATE")
            assert len(await overdue.run_once(LATER)) == 1
            assert await states(connection) == ["OPEN", "OVERDUE"]
        assert len(await overdue.run_once(LATER)) == 1


async def test_a_closing_message_still_ends_it(postgres_dsn: str, keeper: BatchWriter, connection: Connection) -> None:
    """And the ledger tells the whole story."""
    await begin(keeper, ["d1"])
    async with watching(postgres_dsn) as overdue:
        await overdue.run_once(LATER)
        await hear(keeper, ALIVE, "d1")
        assert await states(connection) == ["OPEN"]
        assert await overdue.run_once(LATER + timedelta(minutes=60)) == []
        assert len(await overdue.run_once(LATER + timedelta(minutes=62))) == 1
    await hear(keeper, CLOSING, "d1")
    entries = await connection.fetch("SELECT * FROM transitions WHERE entity = 'operation' ORDER BY sequence")
    assert [entry["to_state"] for entry in entries] == ["OPEN", "OVERDUE", "OPEN", "OVERDUE", "SUCCEEDED"]
    await assert_ledger_is_whole(connection)


async def test_metrics_show_it(postgres_dsn: str, keeper: BatchWriter) -> None:
    """How many are overdue now, and how many became so."""
    await begin(keeper, ["d1", "d2"])
    async with watching(postgres_dsn) as overdue:
        registry = overdue._metrics.registry
        labels = {"entity": "operation", "to_state": "OVERDUE"}
        assert registry.get_sample_value("esc_receiver_transitions_total", labels) == 0
        await overdue.run_once(LATER)
        assert registry.get_sample_value("esc_receiver_operations_overdue") == 2
        assert registry.get_sample_value("esc_receiver_transitions_total", labels) == 2
        became = registry.get_sample_value("esc_receiver_operations_became_overdue_total", {"source": "default"})
        assert became == 2
        await hear(keeper, CLOSING, "d1")
        await overdue.run_once(LATER)
        assert registry.get_sample_value("esc_receiver_operations_overdue") == 1


async def test_the_look_is_cheap(postgres_dsn: str) -> None:
    """Neither ended operations nor those known to be overdue are passed over again and again."""
    connection = await asyncpg.connect(postgres_dsn, server_settings=WRITING)
    for name, index in (("silent_operations", "operations_open"), ("overdue", "operations_overdue")):
        statement = await connection.prepare(statements("jobs/overdue_scan.sql", ROWS)[name])
        types = [parameter.name for parameter in statement.get_parameters()]
        nulls = ", ".join(f"NULL::{kind.removeprefix('_')}{'[]' if kind.startswith('_') else ''}" for kind in types)
        prepared = f"PREPARE look ({', '.join(types) or 'int'}) AS {statement.get_query()}"
        await connection.execute(prepared)
        plan = await connection.fetch(f"EXPLAIN EXECUTE look ({nulls or '1'})")
        assert any(index in row[0] for row in plan), plan
        await connection.execute("DEALLOCATE look")
    await connection.close()


async def test_a_receiver_that_is_behind_does_not_judge(
    postgres_dsn: str, keeper: BatchWriter, connection: Connection
) -> None:
    """The message that is missing may lie in its own spool."""
    await begin(keeper, ["d1"])
    asked = asyncio.Event()

    def is_behind() -> bool:
        asked.set()
        return True

    async with watching(postgres_dsn, overdue_check_s=0.001) as made:
        overdue = OverdueScan(made._database, made._store, made._partitions, made._settings, made._metrics, is_behind)
        running_on = asyncio.create_task(overdue.run())
        await asked.wait()
        running_on.cancel()
        await asyncio.gather(running_on, return_exceptions=True)
    assert await states(connection) == ["OPEN"]


async def test_the_whole_service_tells_the_feed(
    postgres_dsn: str, nats_url: str, connection: Connection, tmp_path: Path
) -> None:
    """From a POST to an overdue operation on the feed, and to its end, with nobody doing anything."""
    settings = Settings(
        postgres_dsn=postgres_dsn, nats_url=nats_url, port=0, stream_name="ESC", data_dir=tmp_path,
        reorder_window_s=0.1, overdue_after_s={"default": 0.2}, overdue_check_s=0.05,
    )  # fmt: skip
    async with running(settings) as app, aiohttp.ClientSession(app.url) as session:
        await app.until_ready()
        await post(session, DEPLOYED)
        await feed.until(lambda: is_overdue(connection))
        await post(session, CLOSING)
        messages = await published(connection, nats_url)
    assert "SUCCEEDED" in [state["state"] for state in in_feed(messages)["operations"].values()]
    (overdue,) = [message for message in messages if message.event["change"] == "overdue"]
    assert overdue.subject.startswith("esc.v1.operation.overdue.default.")
    assert (overdue.event["trigger"], overdue.event["receipt"]) == ("timer", None)
    await assert_feed_equals_ledger(connection, messages)
    await assert_ledger_is_whole(connection)


async def post(session: aiohttp.ClientSession, sample: Sample) -> None:
    """As ESC does."""
    async with session.post("/", data=sample.body, headers=dict(sample.headers)) as response:
        assert response.status == 200


async def is_overdue(connection: Connection) -> bool:
    """Whether there is such an operation."""
    return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM operations WHERE state = 'OVERDUE')"))


async def test_an_esc_that_is_out_of_service_makes_no_operation_overdue(
    postgres_dsn: str, keeper: BatchWriter, connection: Connection
) -> None:
    """Its silence says nothing meanwhile; when it is back, silence begins anew. Other sources are looked at as ever."""
    await begin(keeper, ["d1"])
    other = letter(of_deployment(DEPLOYED, "d2"), received_at=BEGAN_AT, source="lab1")
    await decisions(keeper, [other, said_by_esc(OUT, BEGAN_AT + timedelta(minutes=1))])
    async with watching(postgres_dsn) as watch:
        (found,) = await watch.run_once(LATER)
        assert {transition.source for transition, _ in found.transitions} == {"lab1"}
        assert await watch.run_once(LATER + timedelta(days=1)) == []
        back = LATER + timedelta(days=2)
        await decisions(keeper, [said_by_esc(IN, back)])
        assert await watch.run_once(back + timedelta(minutes=59)) == []
        assert len(await watch.run_once(back + timedelta(minutes=61))) == 1
    assert await states(connection) == ["OVERDUE", "OVERDUE"]


def said_by_esc(post: Post, at: datetime) -> ParsedCallback:
    """What an ESC says of itself, received at this time."""
    received = letter(DEPLOYED, received_at=at).envelope
    said = post.envelope()
    return read(said._replace(received_at=at, receipt=received.receipt), 64)
