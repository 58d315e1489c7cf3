"""No question of a board reads a whole table: each one's plan, on tables that are large enough to have one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest_asyncio

from receiver.config.settings import Settings
from receiver.postgres.partitions import Partitions
from tests.support.boards import questions, sql

NOW = datetime.now(UTC)
DAYS = 40
CHOSEN = {"source": "lab1", "deployment": "dep-1000", "vm": "vm-1000"}
LARGE_ROWS = 5_000

FILL = """
INSERT INTO deployments (id, source, internal_deployment_id, incarnation, current, state, first_seen_at, changed_at,
                         tenant, degraded, vim_leak_suspected, vms, extra, sequence, memory)
SELECT md5('d' || n)::uuid, 'lab' || n % 3, 'dep-' || n, 1, true, CASE WHEN n % 100 = 0 THEN 'ERROR' ELSE 'ACTIVE' END,
       at, at, 't', false, false, '{}', '{}', 3, '{}'
FROM generate_series(1, 10000) AS n, LATERAL (SELECT $1::timestamptz + n * interval '5 minutes' AS at);
INSERT INTO vms (id, source, deployment_id, deployment, tenant, vm_name, state, first_seen_at, changed_at, interfaces,
                 recovery_open, needs_manual_recovery, extra, sequence, memory)
SELECT md5('v' || n)::uuid, 'lab' || n % 3, md5('d' || n)::uuid, 'dep-' || n, 't', 'vm-' || n,
       CASE WHEN n % 200 = 0 THEN 'ERROR' ELSE 'ALIVE' END, at, at, '[]', false, false, '{}', 2, '{}'
FROM generate_series(1, 10000) AS n, LATERAL (SELECT $1::timestamptz + n * interval '5 minutes' AS at);
INSERT INTO operations (id, source, transaction_id, kind, state, first_seen_at, last_seen_at, ended_at, revised,
                        deployment, vms_seen, vms_deployed, vms_alive, vms_failed, sequence, memory)
SELECT md5('o' || n)::uuid, 'lab' || n % 3, 'tx-' || n, 'deploy',
       CASE WHEN n % 500 = 0 THEN 'OPEN' WHEN n % 500 = 1 THEN 'OVERDUE' WHEN n % 50 = 2 THEN 'FAILED'
            ELSE 'SUCCEEDED' END, at, at, CASE WHEN n % 500 > 1 THEN at END, false, 'dep-' || n / 2, 1, 1, 1, 0, 2, '{}'
FROM generate_series(1, 20000) AS n, LATERAL (SELECT $1::timestamptz + n * interval '150 seconds' AS at);
INSERT INTO transitions (id, at, entity, entity_id, source, tenant, deployment, name, sequence, from_state, to_state,
                         change, trigger, rule, reason, operation)
SELECT gen_random_uuid(), $1::timestamptz + n * interval '1 minute', 'vm', md5('v' || (n / 4))::uuid,
       'lab' || (n / 4) % 3, 't', 'dep-' || n / 4, 'vm-' || n / 4, 1 + n % 4, 'INERT', 'ALIVE', 'alive', 'VM_ALIVE',
       'rule', 'reason', 'tx-' || n / 2
FROM generate_series(4, 40000) AS n;
ANALYZE;
"""


@pytest_asyncio.fixture
async def filled(postgres_dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A database of some weeks, with statistics; a session as Grafana has it."""
    connection = await asyncpg.connect(postgres_dsn)
    begins_at = NOW - timedelta(days=DAYS)
    times = [begins_at + timedelta(days=day) for day in range(DAYS + 1)]
    await Partitions(Settings()).ensure(connection, times)
    await connection.execute(FILL.replace("$1", f"'{begins_at.isoformat()}'"))
    yield connection
    await connection.close()


async def test_every_question_is_answered_by_indexes(filled: asyncpg.Connection[asyncpg.Record]) -> None:
    """Those of panels, annotations and variables: no large table or partition is read from end to end."""
    large = {
        row["relname"]
        for row in await filled.fetch("SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples > $1", LARGE_ROWS)
    }
    assert {"deployments", "vms", "operations"} <= large
    assert any(name.startswith("transitions_") for name in large)
    since, until = (NOW - timedelta(hours=6)).isoformat(), NOW.isoformat()
    for one in questions():
        plan = await filled.fetchval(f"EXPLAIN (FORMAT JSON) {sql(one.text, CHOSEN, since, until)}")
        assert not scanned(plan) & large, f"{one.name}\n{one.text}\n{plan}"
        assert "Index" in plan, one


def scanned(plan: str) -> set[str]:
    """Tables that a plan reads from end to end."""
    found, nodes = set(), [json.loads(plan)[0]["Plan"]]
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        if node["Node Type"] == "Seq Scan":
            found.add(node["Relation Name"])
    return found
