"""A few seeds of `make chaos`, and the audit itself: it must see what is wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from chaos.audit import audited
from chaos.plan import Event, Plan, drawn
from chaos.run import Result, played, run
from chaos.stage import Stage, World
from esc_lab.simulator.delivery_faults import Faults
from tests.support.servers import passable

FAULTS = (
    ("kill-receiver", "kill-postgres"),
    ("kill-draining", "cut-postgres", "stall-nats"),
    ("both-down", "one-of-two-killed"),
    ("clock-back", "empty-nats"),
    ("restart-edit-restart", "trim-stream", "strangers-publish"),
    ("restore-stream", "hole-in-stream"),
    ("two-databases",),
)

SWAP = """
UPDATE vms SET state = CASE state WHEN 'INERT' THEN 'ALIVE' ELSE 'INERT' END WHERE state IN ('INERT', 'ALIVE')
"""
DAMAGES = (
    (
        "kept",
        r"UPDATE callbacks SET body = body || '\x20'::bytea",
        "UPDATE callbacks SET body = substr(body, 1, length(body) - 1)",
    ),
    ("state", SWAP, SWAP),
    (
        "ledger",
        "UPDATE transitions SET sequence = sequence + 1000",
        "UPDATE transitions SET sequence = sequence - 1000",
    ),
    ("feed", "UPDATE transitions SET reason = 'X' || reason", "UPDATE transitions SET reason = substr(reason, 2)"),
    ("kept", "DELETE FROM callbacks WHERE receipt = (SELECT receipt FROM callbacks LIMIT 1)", "SELECT"),
)
"""What finds it, the damage, and how it is undone."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Servers of this file's own, as they are killed."""
    async with World(passable(tmp_path_factory.mktemp("chaos"))).running() as world:
        yield world


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("faults", FAULTS, ids=" ".join)
async def test_nothing_is_lost(world: World, tmp_path: Path, faults: tuple[str, ...]) -> None:
    """Whatever strikes: every receipt is kept once, the ledger is whole, feed, states and counts are right."""
    result = await run(world, drawn(FAULTS.index(faults) + 1, faults), tmp_path)
    assert not result.findings, result.told
    assert result.kept > 50


@pytest.mark.asyncio(loop_scope="module")
async def test_the_audit_sees_damage(world: World, tmp_path: Path) -> None:
    """A calm run has no finding; whatever is then damaged in PostgreSQL is one."""
    plan = Plan(seed=0, receivers=1, retries=0, rate=150, faults=Faults(), duration_s=1.0)
    async with Stage(world, plan, tmp_path).set() as stage, aiohttp.ClientSession() as session:
        summary, traffic = await played(stage, session, Result(plan))
        assert not await audited(stage, summary, traffic)
        for finder, damage, repair in DAMAGES:
            async with stage.connection() as connection:
                await connection.execute(damage)
                findings = await audited(stage, summary, traffic)
                assert any(finding.startswith(finder) for finding in findings), damage
                await connection.execute(repair)
        stage.taken.append("a message that nobody told of")
        assert any(finding.startswith("mended") for finding in await audited(stage, summary, traffic))


def test_a_seed_gives_the_same_plan() -> None:
    """So that a failing seed can be tried again."""
    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
    assert all(isinstance(event, Event) for event in drawn(7).events)
