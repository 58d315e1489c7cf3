"""Kept callbacks applied again: what is different is appended, what is the same changes nothing."""

from __future__ import annotations

import asyncio
import gzip
import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from receiver.app import running
from receiver.config.settings import Settings
from receiver.model.envelope import Envelope
from receiver.parsing.parsed_callback import ParsedCallback
from receiver.postgres.session import set_codecs
from receiver.postgres.statements import statements
from receiver.replay.results import Fate, ReplayResult, Selection
from receiver.replay.runs import Summary, replay
from tests.support.auditor import Connection, assert_ledger_is_whole, published
from tests.support.batches import decisions, keeping, letter, of_deployment
from tests.support.replays import everything, letters, traffic
from tests.support.samples import MALFORMED, SAMPLES, SEQUENCES

STORY = next(one for one in SEQUENCES if one.scenario == "deploy-ok").samples
QUARANTINE = Selection(quarantine=True)


def misread(letters: Iterable[ParsedCallback]) -> list[ParsedCallback]:
    """As a program keeps them that cannot read or judge them: in turns malformed and unclassified."""
    return [
        one.without_content() if number % 2 else ParsedCallback(one.envelope, malformed="its reader was broken")
        for number, one in enumerate(letters)
    ]


def stories(*names: str) -> list[ParsedCallback]:
    """The deploy of each deployment, message by message."""
    return [letter(of_deployment(sample, name)) for sample in STORY for name in names]


async def keep(dsn: str, told: Iterable[ParsedCallback]) -> None:
    """By a receiver, one after the other."""
    async with keeping(dsn) as keeper:
        for one in told:
            await decisions(keeper, [one])


async def run(dsn: str, selection: Selection = QUARANTINE, **how: Any) -> tuple[Summary, list[ReplayResult]]:
    """One replay in batches of three, and what it showed."""
    shown: list[ReplayResult] = []
    settings = Settings(postgres_dsn=dsn, batch_callbacks_max=3)
    return await replay(settings, selection, show=shown.append, **how), shown


def told(shown: Iterable[ReplayResult]) -> list[tuple[str, ...]]:
    """The ledger entries of a run, in words."""
    return [(t.name, t.entity, t.from_state, t.to_state, t.rule) for one in shown for t, _ in one.entries]


async def states(connection: Connection) -> dict[str, set[str]]:
    """Of all entities."""
    tables = ("deployments", "vms", "operations")
    rows = {table: await connection.fetch(f"SELECT state FROM {table}") for table in tables}  # noqa: S608 - from above
    return {table: {row["state"] for row in rows[table]} for table in tables}


UP = {"deployments": {"ACTIVE"}, "vms": {"ALIVE"}, "operations": {"SUCCEEDED"}}


@pytest.mark.parametrize("gap_s", [0.5, 60.0, 1000.0], ids=["close", "minutes", "far-apart"])
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_what_was_applied_changes_nothing(
    postgres_dsn: str, connection: Connection, seed: int, gap_s: float
) -> None:
    """Whatever was sent, repeated, out of order, soon or long after: no row is different after a replay of it all."""
    rng, sent = random.Random(seed), letters(traffic(seed, gap_s=gap_s))
    async with keeping(postgres_dsn) as keeper:
        while sent:
            size = rng.randint(1, 40)
            await decisions(keeper, sent[:size])
            sent = sent[size:]
    before = await everything(connection)
    for _ in range(2):
        summary = await replay(Settings(postgres_dsn=postgres_dsn, batch_callbacks_max=50), Selection())
        assert summary.fates.keys() <= {Fate.UNCHANGED, Fate.REPEAT, Fate.QUARANTINED}
        assert (summary.callbacks, summary.entries) == (len(before["callbacks"]), 0)
    assert await everything(connection) == before


async def test_the_quarantine_is_applied_once_its_reader_is_mended(postgres_dsn: str, connection: Connection) -> None:
    """In order of arrival; the ledger says that it was a replay, `callbacks` what each is taken for today."""
    await keep(postgres_dsn, misread(stories("d1", "d2")))
    before = await connection.fetch("SELECT receipt, headers, body, received_at FROM callbacks ORDER BY receipt")
    summary, shown = await run(postgres_dsn)
    assert summary.fates == {Fate.APPLIED: len(before)}
    assert await states(connection) == UP
    await assert_ledger_is_whole(connection)
    entries = await connection.fetch("SELECT * FROM transitions")
    assert {entry["trigger"] for entry in entries} == {"replay"}
    assert len(entries) == summary.entries == len(told(shown))
    assert await connection.fetchval(
        "SELECT count(*) FROM callbacks WHERE outcome = 'applied' AND trigger <> ''"
    ) == len(before)
    assert (
        await connection.fetch("SELECT receipt, headers, body, received_at FROM callbacks ORDER BY receipt") == before
    )
    kept = await everything(connection)
    assert (await run(postgres_dsn))[0].callbacks == 0
    assert (await run(postgres_dsn, Selection()))[0].fates == {Fate.UNCHANGED: len(before)}
    assert await everything(connection) == kept


async def test_a_dry_run_tells_what_a_run_then_does(postgres_dsn: str, connection: Connection) -> None:
    """Also of what follows from what it would have written; and nothing is different after it."""
    await keep(postgres_dsn, stories("d0"))
    await keep(postgres_dsn, misread(stories("d1", "d2")))
    before = await everything(connection)
    foretold, shown = await run(postgres_dsn, dry_run=True)
    assert await everything(connection) == before
    summary, done = await run(postgres_dsn)
    assert told(shown) == told(done)
    assert replace(foretold, dry_run=False) == summary
    assert summary.entries > 0


async def test_a_different_result_is_appended(postgres_dsn: str, connection: Connection) -> None:
    """Nothing that was written changes; what follows now is added, once."""
    sent = stories("d1")
    alive = next(one for one in sent if one.notification and one.notification.trigger == "VM_ALIVE")
    assert alive.notification
    misunderstood = replace(alive, notification=replace(alive.notification, vm=None))
    await keep(postgres_dsn, [misunderstood if one is alive else one for one in sent])
    assert await states(connection) == {**UP, "vms": {"INERT"}}
    ledger = await connection.fetch("SELECT * FROM transitions ORDER BY position")
    summary, _ = await run(postgres_dsn, Selection())
    assert summary.fates == {Fate.CHANGED: 1, Fate.UNCHANGED: len(sent) - 1}
    assert await states(connection) == UP
    appended = await connection.fetch("SELECT * FROM transitions ORDER BY position")
    assert appended[: len(ledger)] == ledger
    (entry,) = appended[len(ledger) :]
    assert (entry["from_state"], entry["to_state"], entry["trigger"]) == ("INERT", "ALIVE", "replay")
    assert entry["receipt"] == alive.envelope.receipt
    assert entry["at"] > ledger[-1]["at"]
    row = await connection.fetchrow("SELECT * FROM callbacks WHERE receipt = $1", alive.envelope.receipt)
    assert row
    assert (row["outcome"], row["rule"], bool(row["vm_name"])) == ("applied", "vm-alive", True)
    await assert_ledger_is_whole(connection)
    kept = await everything(connection)
    assert (await run(postgres_dsn, Selection()))[0].entries == 0
    assert await everything(connection) == kept


async def test_what_another_operation_moved_since_stays(postgres_dsn: str, connection: Connection) -> None:
    """An old message from the quarantine is late for what came after it."""
    await keep(postgres_dsn, stories("d1"))
    old = datetime.now(UTC) - timedelta(hours=1)
    body = STORY[-1].body.replace(b"SERVICE_ALIVE", b"SERVICE_STOPPED")
    headers = {name: "t9" if "transaction" in name.lower() else text for name, text in STORY[-1].headers.items()}
    stopped = letter(of_deployment(replace(STORY[-1], body=body, headers=headers), "d1"), received_at=old)
    assert stopped.notification
    assert stopped.notification.trigger == "SERVICE_STOPPED"
    await keep(postgres_dsn, [stopped.without_content()])
    summary, _ = await run(postgres_dsn)
    assert summary.fates == {Fate.APPLIED: 1}
    assert (await states(connection))["deployments"] == {"ACTIVE"}
    assert await connection.fetchval("SELECT state FROM operations WHERE kind = 'stop'") == "SUCCEEDED"


async def test_two_runs_at_once_apply_it_once(postgres_dsn: str, connection: Connection) -> None:
    """And a receiver beside them goes on keeping."""
    await keep(postgres_dsn, misread(stories("d1", "d2", "d3")))
    runs = [run(postgres_dsn) for _ in range(3)]
    await asyncio.gather(*runs, keep(postgres_dsn, stories("d3", "d4")))
    assert await states(connection) == UP
    await assert_ledger_is_whole(connection)
    posted = await connection.fetchval(
        "SELECT count(DISTINCT id) FROM outbox WHERE subject NOT LIKE 'esc.v1.callback.%'"
    )
    assert posted == await connection.fetchval("SELECT count(*) FROM transitions")


async def test_only_what_was_chosen_is_applied(postgres_dsn: str, connection: Connection) -> None:
    """By time and by source."""
    noon = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=6)
    for source, hour in (("lab1", 0), ("lab1", 1), ("lab2", 1), ("lab1", 2)):
        name = f"d{source[-1]}{hour}"
        told = [letter(of_deployment(STORY[0], name), source=source, received_at=noon + timedelta(hours=hour))]
        await keep(postgres_dsn, misread(told))
    one = timedelta(hours=1)
    chosen = Selection(noon + one, noon + 2 * one, "lab1", quarantine=True)
    assert (await run(postgres_dsn, chosen))[0].callbacks == 1
    rows = await connection.fetch("SELECT source, internal_deployment_id FROM deployments")
    assert [row["source"] for row in rows] == ["lab1"]
    assert (await run(postgres_dsn, Selection(since=noon + one)))[0].callbacks == 3
    assert (await run(postgres_dsn, Selection(source="lab2", quarantine=True)))[0].callbacks == 0


async def test_what_still_cannot_be_applied_stays_in_quarantine(postgres_dsn: str, connection: Connection) -> None:
    """As it was, and without being told of again: also what is readable by now was told of when it came."""
    unknown = letter(replace(STORY[0], body=b"<unheard><of/></unheard>"))
    malformed = [letter(sample) for sample in MALFORMED]
    await keep(postgres_dsn, [unknown, *(one for one in malformed if one.malformed)])
    before = await everything(connection)
    summary, _ = await run(postgres_dsn)
    assert summary.fates == {Fate.QUARANTINED: len(before["callbacks"])}
    assert await everything(connection) == before
    other = letter(replace(STORY[0], body=b"<unheard><of/></unheard>"))
    await keep(postgres_dsn, [ParsedCallback(other.envelope, malformed="its reader was broken")])
    assert (await run(postgres_dsn))[0].entries == 0
    posted = await connection.fetch("SELECT id, split_part(subject, '.', 4) FROM outbox ORDER BY position")
    told = [(one.envelope.receipt, "malformed") for one in malformed if one.malformed]
    assert [tuple(row) for row in posted] == [
        (unknown.envelope.receipt, "unclassified"), *told, (other.envelope.receipt, "malformed"),
    ]  # fmt: skip
    reasons = await connection.fetch("SELECT reason FROM callbacks WHERE outcome = 'unclassified'")
    assert len({row["reason"] for row in reasons}) == 1


async def test_what_could_not_be_unpacked_is_read_once_it_can_be(postgres_dsn: str, connection: Connection) -> None:
    """It is kept packed, as it was received; the bytes stay."""
    one = letter(STORY[0])
    headers = [*one.envelope.headers, ("Content-Encoding", "gzip")]
    packed = one.envelope._replace(body=gzip.compress(one.envelope.body), headers=headers)
    await keep(postgres_dsn, [ParsedCallback(packed, malformed="unknown Content-Encoding")])
    assert (await run(postgres_dsn))[0].fates == {Fate.APPLIED: 1}
    assert await connection.fetchval("SELECT body FROM callbacks") == packed.body


async def test_one_that_fails_does_not_sink_its_neighbours(postgres_dsn: str, connection: Connection) -> None:
    """It is named, and nothing came of it; the run may be repeated."""
    await keep(postgres_dsn, misread(stories("d1", "d2", "d3")))
    await connection.execute("ALTER TABLE vms ADD CONSTRAINT bad_name CHECK (vm_name NOT LIKE 'd2%')")
    summary, shown = await run(postgres_dsn)
    assert summary.fates[Fate.FAILED] == 2
    assert "bad_name" in summary.failures[0]
    assert {one.fate for one in shown} == {Fate.APPLIED, Fate.FAILED}
    await assert_ledger_is_whole(connection)
    await connection.execute("ALTER TABLE vms DROP CONSTRAINT bad_name")
    assert (await run(postgres_dsn))[0].fates == {Fate.APPLIED: 2}
    assert await states(connection) == UP


async def test_a_kept_callback_is_opened_as_it_arrived(postgres_dsn: str, connection: Connection) -> None:
    """Every sample: the envelope made of its row is the one that was kept, but for the URL it came to."""
    sent = [letter(sample, ref="r1", remote=None) for sample in SAMPLES.values()]
    await keep(postgres_dsn, sent)
    await set_codecs(connection)
    rows = {row["receipt"]: row for row in await connection.fetch("SELECT * FROM callbacks")}
    for one in sent:
        again = Envelope.of_row(rows[one.envelope.receipt])
        assert [tuple(pair) for pair in again.headers] == one.envelope.headers
        assert again._replace(headers=[], channel=None) == one.envelope._replace(headers=[], channel=None)


async def test_the_feed_tells_of_a_replay(
    postgres_dsn: str, nats_url: str, connection: Connection, tmp_path: Path
) -> None:
    """Receivers that are running publish what it appends: in order, once, as the schemas say."""
    await keep(postgres_dsn, misread(stories("d1")))
    settings = Settings(postgres_dsn=postgres_dsn, nats_url=nats_url, port=0, data_dir=tmp_path)
    async with running(settings):
        await run(postgres_dsn)
        messages = await published(connection, nats_url)
    assert {message.event["trigger"] for message in messages if "item" in message.event} == {"replay"}
    ledger = await connection.fetch("SELECT id FROM transitions ORDER BY position")
    ids = [message.id for message in messages if "item" in message.event]
    assert ids == [entry["id"] for entry in ledger]


async def test_every_statement_fits_the_schema(postgres_dsn: str) -> None:
    """PostgreSQL prepares each against the migrated schema."""
    connection = await asyncpg.connect(postgres_dsn)
    sql = statements("replay/replay.sql")
    await connection.execute(sql["make_selection"])
    for statement in sql.values():
        await connection.prepare(statement)
    await connection.close()
