"""No question can read a whole table: each filter's plan, on tables that are large enough to have one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest_asyncio

from receiver.api.entity_lists import DEPLOYMENTS, OPERATIONS, RESOURCES, VMS
from receiver.api.ledger_lists import CALLBACKS, TRANSITIONS, Ledger, make_query
from receiver.api.position import Position
from receiver.api.read_pool import SESSION, Snapshot
from receiver.api.row_shapes import sql
from receiver.config.settings import Settings
from receiver.postgres.partitions import Partitions
from receiver.postgres.session import set_codecs
from tests.support.query_api import deploy, store

NOW = datetime.now(UTC)
DAYS = 4

FILL = """
INSERT INTO callbacks (receipt, received_at, source, channel, headers, body, redacted, transaction_id, family, trigger,
                       deployment, vm_name, outcome, rule, reason, notes)
SELECT gen_random_uuid(), $1::timestamptz + n * interval '17 seconds', 'lab' || n % 3, 'callback', '[]', '', false,
       'tx-' || n / 5, 'deployment', 'VM_ALIVE', 'dep-' || n / 20, 'vm-' || n / 4,
       CASE WHEN n % 500 = 0 THEN 'malformed' WHEN n % 50 = 0 THEN 'late' ELSE 'applied' END, 'rule', 'reason', '{}'
FROM generate_series(1, 20000) AS n;
"""
FILL_LEDGER = """
INSERT INTO transitions (id, at, entity, entity_id, source, tenant, deployment, name, sequence, from_state, to_state,
                         change, trigger, rule, reason, operation)
SELECT gen_random_uuid(), $1::timestamptz + n * interval '17 seconds', 'vm', md5((n / 4)::text)::uuid, 'lab' || n % 3,
       't', 'dep-' || n / 20, 'vm-' || n / 4, 1 + n % 4, 'INERT', 'ALIVE', 'alive', 'VM_ALIVE', 'rule', 'reason',
       'tx-' || n / 5
FROM generate_series(1, 20000) AS n;
"""


@pytest_asyncio.fixture
async def filled(postgres_dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection like the API's, to tables of some days, with statistics."""
    await store(postgres_dsn, deploy("dep-a"))
    connection = await asyncpg.connect(postgres_dsn)
    begins_at = NOW - timedelta(days=DAYS)
    times = [begins_at + timedelta(days=day) for day in range(DAYS + 1)]
    await Partitions(Settings()).ensure(connection, times)
    marked = f"'{begins_at.isoformat()}'::timestamptz"
    await connection.execute(f"INSERT INTO order_marks VALUES ({marked}, {marked}, '4')")  # noqa: S608 - a time of ours
    for fill in (FILL, FILL_LEDGER):
        await connection.execute(fill.replace("$1", f"'{begins_at.isoformat()}'"))
    await connection.execute("ANALYZE")
    await set_codecs(connection)
    for name, value in SESSION.items():
        await connection.execute(f"SET {name} = '{value}'")
    yield connection
    await connection.close()


async def plan(connection: Any, question: str, values: list[Any]) -> str:
    """How PostgreSQL would answer, without doing it."""
    return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {question}", *values))


async def planned(connection: Any, ledger: Ledger, **query: Any) -> str:
    """The plan of a page, and of the look for where the next one begins."""
    snapshot = Snapshot(connection, sql())
    statement = await make_query(snapshot, Settings(), ledger, {"limit": 100, **query})
    plans = await plan(connection, *statement.rows)
    return plans + "\n" + await plan(connection, *statement.scan_end) if statement.filtered.texts else plans


SINCE = NOW - timedelta(hours=3)


CASES: list[tuple[Ledger, dict[str, Any], str]] = [
    (CALLBACKS, {}, "xid_position"),
    (CALLBACKS, {"source": "lab1"}, "xid_position"),
    (CALLBACKS, {"tenant": "t"}, "xid_position"),
    (CALLBACKS, {"family": "unknown"}, "xid_position"),
    (CALLBACKS, {"outcome": ("late",)}, "xid_position"),
    (CALLBACKS, {"outcome": ("malformed", "unclassified")}, "xid_position"),
    (CALLBACKS, {"vm_name": "vm-7"}, "xid_position"),
    (CALLBACKS, {"deployment": "dep-7"}, "deployment_xid_position"),
    (CALLBACKS, {"transaction_id": "tx-7"}, "transaction_id_xid_position"),
    (CALLBACKS, {"cursor": Position(5, 5)}, "xid_position"),
    (CALLBACKS, {"since": SINCE}, "xid_position"),
    (CALLBACKS, {"until": SINCE}, "xid_position"),
    (CALLBACKS, {"deployment": "dep-7", "source": "lab1", "since": SINCE, "outcome": ("late",)}, "deployment_xid"),
    (TRANSITIONS, {}, "xid_position"),
    (TRANSITIONS, {"entity": "vm", "source": "lab1", "tenant": "t", "name": "vm-7", "state": "ERROR"}, "xid_position"),
    (TRANSITIONS, {"change": "alive"}, "xid_position"),
    (TRANSITIONS, {"operation": "tx-7"}, "operation_xid_position"),
    (TRANSITIONS, {"entity_id": uuid4()}, "entity_id_sequence"),
    (TRANSITIONS, {"deployment": "dep-a"}, "entity_id_sequence"),
    (TRANSITIONS, {"since": SINCE, "until": NOW}, "xid_position"),
]
"""Questions, and what the names of the indexes hold that may answer them."""


async def test_every_filter_of_what_happened_uses_an_index(filled: Any) -> None:
    """The rows are chosen by an index, in order or so few that they can be sorted; never by reading all."""
    for ledger, asked, index in CASES:
        for order in ("oldest", "newest"):
            shown = await planned(filled, ledger, **asked, order=order)
            assert "Seq Scan" not in shown, (asked, order, shown)
            assert index in shown, (asked, order, shown)


async def test_times_leave_partitions_out(filled: Any) -> None:
    """A span within one day looks into that day's callbacks only, and into that month's entries."""
    day = (NOW - timedelta(days=1)).replace(hour=10, minute=0)
    for ledger in (CALLBACKS, TRANSITIONS):
        shown = await planned(filled, ledger, since=day, until=day + timedelta(hours=1))
        touched = {word for word in shown.split() if word.startswith(f"{ledger.table.removeprefix('looked_at_')}_2")}
        assert len({word.split("_")[1] for word in touched}) == 1, shown


async def test_every_filter_of_what_is_uses_an_index(filled: Any) -> None:
    """Lists of entities, too."""
    filters = {"source": "s", "tenant": "t", "state": "ERROR", "deployment": "d", "since": NOW, "until": NOW}
    filters["ref"] = "order-4711"
    for listing in (DEPLOYMENTS, VMS, RESOURCES, OPERATIONS):
        for asked in ({}, *({name: value} for name, value in filters.items())):
            question, values = listing.statement({"limit": 100, **asked})
            shown = await plan(filled, question, values)
            assert "Seq Scan" not in shown, (asked, shown)
            assert "Index" in shown, (asked, shown)
        question, values = listing.statement({"limit": 100, "order": "newest"})
        shown = await plan(filled, question, values)
        assert f"Index Scan Backward using {listing.name}s_by_" in shown, shown


async def test_every_statement_fits_the_schema(filled: Any) -> None:
    """PostgreSQL prepares each, with the columns in place."""
    for name, text in sql().items():
        assert "{" not in text.replace("'{}'", ""), name
        await filled.prepare(text)
