"""A later release has added a column to every table while this one runs: each of its statements goes on as before."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from receiver.config.settings import Settings
from receiver.jobs.overdue_scan import OverdueScan
from receiver.lifecycle import Windows
from receiver.observability.metrics import Metrics
from receiver.parsing.body_readers import BodyReaders
from receiver.postgres.database import Database
from receiver.postgres.partitions import Partitions
from receiver.postgres.store import Store
from receiver.publishing.outbox import Outbox
from receiver.publishing.rebuild import StreamRebuild
from receiver.replay.results import Selection
from receiver.replay.runs import replay
from tests.support.auditor import Connection, assert_ledger_is_whole
from tests.support.batches import decisions, keeping, letter, of_deployment
from tests.support.query_api import RunningApi, running_api
from tests.support.samples import SAMPLES, SEQUENCES

STORY = next(one for one in SEQUENCES if one.scenario == "deploy-ok").samples
OTHERS = [sample for name, sample in SAMPLES.items() if name.startswith("seed-")]
TABLES = """
SELECT relname FROM pg_class
WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace
"""


async def add_columns(connection: Connection) -> None:
    """To each table, at the end, filled."""
    for row in await connection.fetch(TABLES):
        await connection.execute(f"ALTER TABLE {row['relname']} ADD COLUMN of_later text NOT NULL DEFAULT 'x'")


async def look(api: RunningApi, name: str) -> list[int]:
    """At everything the query API shows of a deployment; the answers' statuses."""
    (vm, *_) = await api.all_items("/vms", deployment=name)
    paths = [
        "/deployments", "/vms", "/resources", "/operations", "/transitions", "/callbacks", "/stats",
        f"/deployments/default/{name}", f"/vms/default/{vm['vm_name']}", f"/explain/default/{vm['vm_name']}",
    ]  # fmt: skip
    return [(await api.get(path)).status for path in paths]


async def test_statements_go_on_when_tables_are_given_columns(postgres_dsn: str, connection: Connection) -> None:
    """On connections that have used these tables before, and on new ones."""
    settings = Settings(postgres_dsn=postgres_dsn)
    metrics = Metrics()
    database, store, partitions = Database(settings, metrics), Store(Windows()), Partitions(settings)
    await database.open()
    scan = OverdueScan(database, store, partitions, settings, metrics)
    outbox = Outbox(database.connect, settings, lambda: None)
    async with keeping(postgres_dsn) as keeper, running_api(postgres_dsn) as api:
        for turn in ("before", "after"):
            for sample in [*(of_deployment(sample, turn) for sample in STORY), *OTHERS]:
                await decisions(keeper, [letter(sample)])
            assert await outbox.elect()
            assert await outbox.next_rows(1_000)
            await scan.run_once(datetime.now(UTC) + timedelta(days=2))
            assert set(await look(api, turn)) == {200}
            if turn == "before":
                await add_columns(connection)
        await outbox.close()
        unread = replace(STORY[0], body=b"<unknown/>")
        await decisions(keeper, [letter(unread)])
        assert await StreamRebuild(database, settings, BodyReaders(settings)).run("stream", 0) > 0
        summary = await replay(settings, Selection(quarantine=False), show=lambda _: None)
        assert not summary.failures
        assert summary.callbacks
    await database.close()
    await assert_ledger_is_whole(connection)
