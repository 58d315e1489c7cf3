"""Seeded traffic against the whole service, audited by the simulator's own idea of the truth.

The simulator knows nothing of our lifecycle: where both disagree, one of them is wrong.
"""

from __future__ import annotations

import os
from pathlib import Path

import aiohttp
import pytest

from esc_lab.simulator import Faults, SimulateOptions, Summary, simulate
from receiver.app import running
from receiver.config.settings import Settings
from receiver.config.sources import Source
from tests.support import feed
from tests.support.auditor import (
    Connection,
    assert_bucket_follows,
    assert_counts_add_up,
    assert_feed_equals_ledger,
    assert_kept,
    assert_ledger_is_whole,
    in_feed,
    in_postgres,
    published,
)

SOURCES = ("lab1", "lab2", "default")
ALL_FAULTS = Faults(duplicate=0.05, reorder=0.1, gap=0.03, malformed=0.02, unknown=0.02, wrong_token=0.01)
DRAWN_SEED = int(os.environ.get("SIMULATION_SEED", "5"))
"""`make random` draws another in every run."""


@pytest.mark.parametrize(
    ("seed", "faults"),
    [
        pytest.param(1, Faults(), id="without-faults"),
        pytest.param(2, Faults(duplicate=0.3), id="duplicates"),
        pytest.param(3, Faults(reorder=0.5, gap=0.1), id="disorder-and-gaps"),
        pytest.param(4, ALL_FAULTS, id="all-faults"),
        pytest.param(DRAWN_SEED, ALL_FAULTS, id=f"all-faults-seed-{DRAWN_SEED}"),
    ],
)
async def test_what_the_simulator_claims_is_so(
    postgres_dsn: str, nats_url: str, connection: Connection, tmp_path: Path, seed: int, faults: Faults
) -> None:
    """Every receipt is kept once with its bytes, states are true, the ledger is whole, feed and bucket follow it."""
    sources = {source: Source(tokens=(f"token-of-{source}",)) for source in SOURCES}
    settings = Settings(postgres_dsn=postgres_dsn, nats_url=nats_url, port=0, data_dir=tmp_path, sources=sources)
    async with running(settings) as app, aiohttp.ClientSession(app.url) as session:
        await app.until_ready()
        summary = await simulate(options(app.url, seed, faults))
        messages = await published(connection, nats_url)
        figures = await assert_counts_add_up(session)
        items = await feed.items(nats_url)
    assert not summary.surprises
    await audit(summary, connection, messages)
    await assert_bucket_follows(connection, messages, items)
    wrong_tokens = summary.sent["wrong-token"]
    assert figures["esc_receiver_stored_total"] == summary.sent.total() - wrong_tokens
    assert figures["esc_receiver_refused_total"] == wrong_tokens
    if faults == Faults(duplicate=faults.duplicate):
        outcomes = (await in_postgres(connection))["outcomes"]
        assert outcomes.get("duplicate", 0) == summary.sent["duplicate"]


def options(target: str, seed: int, faults: Faults) -> SimulateOptions:
    """A run of a few seconds without any pause."""
    return SimulateOptions(
        target=target,
        seed=seed,
        sources=SOURCES,
        tokens={source: f"token-of-{source}" for source in SOURCES},
        deployments=12,
        operations=8,
        rate=0.0,
        faults=faults,
        suspected=True,
        keep_audit_log=True,
    )


async def audit(summary: Summary, connection: Connection, messages: list[feed.Stored]) -> None:
    """The promises (docs/promises.md), one by one."""
    assert summary.audit_log is not None
    truth = summary.audit_log.expected
    await assert_kept(connection, summary.audit_log.receipts)
    await assert_ledger_is_whole(connection)
    await assert_feed_equals_ledger(connection, messages)
    for actual in (await in_postgres(connection), in_feed(messages)):
        differences = truth.check(actual)
        assert not differences, "\n".join(map(str, differences[:20]))
