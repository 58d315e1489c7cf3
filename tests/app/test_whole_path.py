"""From a POST to state in PostgreSQL and a message on the feed, with everything real between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from receiver.app import App, running
from receiver.config.settings import Settings
from receiver.model.notification import Outcome
from tests.support import feed
from tests.support.auditor import (
    Connection,
    assert_bucket_follows,
    assert_counts_add_up,
    assert_feed_equals_ledger,
    assert_ledger_is_whole,
    in_feed,
    in_postgres,
    published,
)
from tests.support.samples import MALFORMED, SAMPLES, SEQUENCES, WELL_FORMED, Sample


@pytest.fixture
async def app(postgres_dsn: str, nats_url: str, tmp_path: Path) -> AsyncIterator[App]:
    """The whole service."""
    async with running(Settings(postgres_dsn=postgres_dsn, nats_url=nats_url, port=0, data_dir=tmp_path)) as app:
        await app.until_ready()
        yield app


@pytest.fixture
async def session(app: App) -> AsyncIterator[aiohttp.ClientSession]:
    """Posts to it."""
    async with aiohttp.ClientSession(app.url) as session:
        yield session


async def post(session: aiohttp.ClientSession, sample: Sample, path: str = "/") -> tuple[int, dict[str, Any]]:
    """As ESC does: one message, its headers as they are printed. Status and body of the answer."""
    async with session.post(path, data=sample.body, headers=dict(sample.headers)) as response:
        answer = await response.json(content_type=None)
        assert response.headers["ESC-Receipt-Id"] == answer["receipt"]
        return response.status, answer


def seed(*, printed: bool) -> Sequence[Sample]:
    """The callbacks of the ESC document in its order: as it prints them, noise and all, or with the noise repaired."""
    repaired = [
        sample for name, sample in SAMPLES.items() if name.startswith("seed-") and not name.endswith(".printed")
    ]
    return [SAMPLES.get(f"{one.name}.printed", one) if printed else one for one in repaired]


STORY = """
resource created tenant/tentest
operation open d53f0047
operation succeeded d53f0047
resource created image/my_image_id
resource created flavor/my_flavor_id
vm inert ASA-1
deployment deploying my_dep_id
operation open d53f0047
vm alive ASA-1
deployment inert my_dep_id
deployment active my_dep_id
operation succeeded d53f0047
vm inert CSR-1
vm alive CSR-1
deployment updated my_dep_id
vm updated CSR-1
vm stopped cirros
deployment updated test-tenant1test-dep1-cirros
operation open 5e47b5ff
deployment stopped test-tenant1test-dep1-cirros
operation succeeded 5e47b5ff
vm updated cirros
operation open 4546c40a
operation succeeded 4546c40a
"""
"""What the feed tells of the ESC document: one placeholder id is shared by tenant, image, flavor, deploy and update."""
CONFLICT = "vm inert CSR-1\ndeployment updated my_dep_id\n"
"""As printed, the update's first callback gives the deployment another external id, which is noted
(docs/esc-callbacks.md#6.3)."""
NAMES = {
    "ASA-1": "Sanity-vmware-de_ASA-1_0_b323effd-7f70-4055-b11e-0ef66f0a758d",
    "CSR-1": "Sanity-vmware-de_CSR-1_0_b323effd-7f70-4055-b11e-0ef66f0a758d",
    "cirros": "test-dep1-cirros_overid_0_cfeefcee-a1fe-4e94-9ffc-81792b265788",
}
SHORT = {name: short for short, name in NAMES.items()}


def told(event: dict[str, Any]) -> str:
    """One message of the feed in three words."""
    name = (
        event["name"].partition("-")[0] if event["entity"] == "operation" else SHORT.get(event["name"], event["name"])
    )
    return f"{event['entity']} {event['change']} {name}"


@pytest.mark.parametrize("printed", [False, True], ids=["repaired", "as-printed"])
async def test_the_story_of_the_esc_document_is_on_the_feed(
    session: aiohttp.ClientSession, connection: Connection, nats_url: str, printed: bool
) -> None:
    """Its callbacks, posted to `/` one after the other as it prints them, become states, a feed in order and keys."""
    for sample in seed(printed=printed):
        status, answer = await post(session, sample)
        assert (status, answer["outcome"]) == (200, "duplicate" if sample.name.startswith("seed-11") else "applied")
    messages = await published(connection, nats_url)
    story = STORY.replace("vm inert CSR-1\n", CONFLICT) if printed else STORY
    assert [told(message.event) for message in messages] == story.split("\n")[1:-1]
    await assert_ledger_is_whole(connection)
    await assert_feed_equals_ledger(connection, messages)
    items = await feed.items(nats_url)
    await assert_bucket_follows(connection, messages, items)
    assert {key: item["state"] for key, item in items.items()} == {
        "deployment.default.my_dep_id": "ACTIVE",
        "deployment.default.test-tenant1test-dep1-cirros": "STOPPED",
        f"vm.default.my_dep_id.{NAMES['ASA-1']}": "ALIVE",
        f"vm.default.my_dep_id.{NAMES['CSR-1']}": "ALIVE",
        f"vm.default.test-tenant1test-dep1-cirros.{NAMES['cirros']}": "STOPPED",
    }


async def test_every_sample_is_answered_kept_and_told(
    session: aiohttp.ClientSession, connection: Connection, nats_url: str
) -> None:
    """Good, broken and unknown ones: the answer each should get, exact bytes, the feed in step, counts that add up."""
    receipts: dict[UUID, Sample] = {}
    for sample in (*WELL_FORMED, *MALFORMED):
        status, answer = await post(session, sample)
        assert status == (400 if sample in MALFORMED else 200), sample.name
        receipts[UUID(answer["receipt"])] = sample
    messages = await published(connection, nats_url)
    rows = await connection.fetch("SELECT * FROM callbacks")
    assert len(rows) == len(receipts)
    redacted = {receipts[row["receipt"]].name for row in rows if row["redacted"]}
    assert redacted == {"guess-vim-user-create"}
    assert all(row["redacted"] or row["body"] == receipts[row["receipt"]].body for row in rows)
    dead = {message.id for message in messages if message.event["entity"] == "callback"}
    assert dead == {row["receipt"] for row in rows if row["outcome"] in (Outcome.UNCLASSIFIED, Outcome.MALFORMED)}
    assert len(dead) > 5
    await assert_ledger_is_whole(connection)
    await assert_feed_equals_ledger(connection, messages)
    await assert_bucket_follows(connection, messages, await feed.items(nats_url))
    figures = await assert_counts_add_up(session)
    assert figures["esc_receiver_stored_total"] == len(receipts)
    assert figures["esc_receiver_published_total"] > len(messages)


@pytest.mark.parametrize("sample", MALFORMED, ids=lambda sample: sample.name)
async def test_a_body_that_is_no_document_is_kept_and_answered_with_a_problem(
    session: aiohttp.ClientSession, connection: Connection, sample: Sample
) -> None:
    """400 names the fault and the receipt; the bytes are in quarantine."""
    async with session.post("/", data=sample.body, headers=dict(sample.headers)) as response:
        assert (response.status, response.content_type) == (400, "application/problem+json")
        problem = await response.json(content_type=None)
    assert problem["type"] == "urn:esc-receiver:problem:malformed"
    assert problem["outcome"] == "malformed"
    row = await connection.fetchrow("SELECT * FROM callbacks WHERE receipt = $1", UUID(problem["receipt"]))
    assert row
    assert (row["body"], row["outcome"], row["reason"]) == (sample.body, "malformed", problem["detail"])


async def test_source_channel_and_reference_go_all_the_way(
    session: aiohttp.ClientSession, connection: Connection, nats_url: str
) -> None:
    """What the URL says is kept with the callback and told on the feed."""
    await post(session, SAMPLES["rec-deploy-01-vm-deployed"], "/esc/default/callback?ref=order 4711/ä")
    await post(session, SAMPLES["rec-recovery-01-init"], "/esc/default/events")
    rows = await connection.fetch("SELECT source, channel, ref FROM callbacks ORDER BY received_at")
    assert [tuple(row) for row in rows] == [("default", "callback", "order 4711/ä"), ("default", "events", None)]
    messages = await published(connection, nats_url)
    assert {message.event["ref"] for message in messages} == {"order 4711/ä", None}
    assert {message.headers["ce-source"] for message in messages} == {"/esc/default"}


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda one: one.scenario)
async def test_who_reads_only_the_feed_knows_what_postgresql_knows(
    session: aiohttp.ClientSession, connection: Connection, nats_url: str, sequence: Any
) -> None:
    """After each replay the states told last are those of the tables."""
    for sample in sequence.samples:
        await post(session, sample)
    messages = await published(connection, nats_url)
    there, heard = await in_postgres(connection), in_feed(messages)
    for section in ("operations", "deployments", "vms"):
        shown = {key: {"state": row["state"]} for key, row in heard[section].items()}
        silent = {key: row for key, row in there[section].items() if key not in shown}
        assert all(row["state"] == "UNSEEN" for row in silent.values())
        assert shown == {key: {"state": row["state"]} for key, row in there[section].items() if key in shown}
    await assert_bucket_follows(connection, messages, await feed.items(nats_url))
