"""Batches in PostgreSQL: one transaction each, sequences without gaps, no letter sunk by its neighbours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg
import orjson
import pytest

from receiver.errors import RefusedError
from receiver.events.cloudevents import OutboxRow
from receiver.model.entities import Alias, Decision, Deployment, Operation, Resource, Transition, Vm
from receiver.model.notification import Outcome, VmReport
from receiver.parsing.parsed_callback import ParsedCallback
from receiver.postgres.batch_writer import BatchWriter
from receiver.postgres.statements import statements
from receiver.postgres.store import ROWS
from tests.support.auditor import Connection, assert_ledger_is_whole, ledger
from tests.support.batches import decisions, keeping, letter
from tests.support.samples import MALFORMED, SAMPLES, SEQUENCES, WELL_FORMED, Sequence

SMALL_VM = "50217d2d-8afb-41c2-cffd-d76b1239f51d"
ADDED_VM = "50217d2d-8afb-41c2-cffd-d76b1239f51e"
STOPPED_VM = "cb86a952-c030-46f6-96f6-e81069bcea3a"
FIRST_VM = "1dd943b9-93a4-4987-b26b-1b8fd264774d"
REDEPLOYED_VM = "22d210a1-15e1-4e2b-a7a9-9796ec7b259c"
SCALED_VM = "6d0f9f0e-6d54-4ac1-8c93-9b6f6f6f2a31"


@dataclass(frozen=True)
class End:
    """How a replay ends: the column `expected_end`, spelled out."""

    deployment: str
    vms: Mapping[str, str] = field(default_factory=dict)
    """States by the instance id that is current."""
    operations: Mapping[str, int] = field(default_factory=lambda: {"SUCCEEDED": 1})
    """How many are in which state. One stays open where a sample is borrowed from another recovery."""
    leak: bool = False
    nics: int = 1


ENDS = {
    "deploy-ok-seed": End("ACTIVE", {SMALL_VM: "ALIVE"}),
    "update-add-vm-seed": End("ACTIVE", {SMALL_VM: "ALIVE", ADDED_VM: "ALIVE"}),
    "update-interface-seed": End("ACTIVE", {ADDED_VM: "ALIVE"}, nics=2),
    "service-stop-seed": End("STOPPED", {STOPPED_VM: "STOPPED"}),
    "vm-stop-seed": End("UNSEEN", {STOPPED_VM: "STOPPED"}),
    "deploy-ok": End("ACTIVE", {FIRST_VM: "ALIVE"}),
    "deploy-fail": End("ERROR", {}, {"FAILED": 1}),
    "recovery-reboot-ok": End("ACTIVE", {FIRST_VM: "ALIVE"}, {"SUCCEEDED": 2, "OPEN": 1}),
    "recovery-redeploy-ok": End("ACTIVE", {REDEPLOYED_VM: "ALIVE"}, {"SUCCEEDED": 2}),
    "recovery-fail": End("ERROR", {FIRST_VM: "ERROR"}, {"SUCCEEDED": 1, "FAILED": 1, "OPEN": 1}),
    "recovery-cancelled": End("ACTIVE", {FIRST_VM: "ALIVE"}, {"SUCCEEDED": 1, "CANCELLED": 1, "OPEN": 1}),
    "scale-out-in": End("ACTIVE", {FIRST_VM: "ALIVE", SCALED_VM: "UNDEPLOYED"}, {"SUCCEEDED": 3}),
    "scale-out-fail": End("ACTIVE", {FIRST_VM: "ALIVE"}, {"SUCCEEDED": 1, "FAILED": 1}),
    "service-start": End("ACTIVE", {FIRST_VM: "ALIVE"}),
    "service-reboot": End("ACTIVE", {FIRST_VM: "ALIVE"}),
    "undeploy-ok": End("UNDEPLOYED", {REDEPLOYED_VM: "UNDEPLOYED"}),
    "undeploy-fail": End("UNDEPLOYED", {}, {"FAILED": 1}, leak=True),
    "reordered-deploy": End("ACTIVE", {FIRST_VM: "ALIVE"}),
    "duplicated-deploy": End("ACTIVE", {FIRST_VM: "ALIVE"}),
}


@pytest.fixture
async def keeper(postgres_dsn: str) -> AsyncIterator[BatchWriter]:
    """A keeper on the test's database."""
    async with keeping(postgres_dsn) as made:
        yield made


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        ("operations", Operation),
        ("deployments", Deployment),
        ("vms", Vm),
        ("resources", Resource),
        ("vm_aliases", Alias),
        ("transitions", Transition),
    ],
)
async def test_a_table_has_the_columns_of_its_tuple(connection: Connection, table: str, kind: type[Any]) -> None:
    """What PostgreSQL gives by itself stands at the end."""
    given = ["xid", "position"] if kind is Transition else []
    assert await columns(connection, table) == [*kind._fields, *given]


@pytest.mark.parametrize("kind", [Operation, Deployment, Vm, Resource, Alias, Transition])
async def test_a_row_type_has_the_fields_of_its_tuple(connection: Connection, kind: type[Any]) -> None:
    """In the same order, because a row goes in by position."""
    assert await columns(connection, f"{kind.__name__.lower()}_row") == list(kind._fields)


async def test_the_outbox_has_the_columns_of_its_rows(connection: Connection) -> None:
    """Behind the position, which PostgreSQL gives."""
    assert await columns(connection, "outbox") == ["position", *OutboxRow._fields]


async def columns(connection: Connection, table: str) -> list[str]:
    """In their order."""
    rows = await connection.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 ORDER BY attnum", table
    )
    return [row["attname"] for row in rows]


@pytest.mark.parametrize(
    "file", ["postgres/batch.sql", "postgres/partitions.sql", "publishing/outbox.sql", "jobs/entity_counts.sql"]
)
async def test_every_statement_fits_the_schema(connection: Connection, file: str) -> None:
    """PostgreSQL prepares each against the migrated schema."""
    for name, sql in statements(file, ROWS).items():
        try:
            await connection.prepare(sql)
        except asyncpg.PostgresError as error:
            pytest.fail(f"{file}: {name}: {error}")


async def test_invariants_have_names(connection: Connection) -> None:
    """What must be unique is known by name, so that an error tells which promise was at stake."""
    rows = await connection.fetch(
        "SELECT relname FROM pg_index JOIN pg_class AS c ON c.oid = indexrelid "
        "WHERE (indisunique OR indisexclusion) AND relnamespace = 'public'::regnamespace AND NOT relispartition"
    )
    assert {row["relname"] for row in rows} == {
        "acknowledgements_pkey",
        "callbacks_pkey",
        "counts_by_day_pkey",
        "deployments_identity",
        "deployments_one_current",
        "deployments_pkey",
        "epochs_pkey",
        "learned_durations_pkey",
        "learned_silences_pkey",
        "learning_pkey",
        "operations_identity",
        "operations_pkey",
        "order_marks_pkey",
        "outbox_pkey",
        "reconciliations_pkey",
        "relay_pkey",
        "resources_identity",
        "resources_pkey",
        "schema_migrations_pkey",
        "source_activity_pkey",
        "source_silences_pkey",
        "sources_identity",
        "sources_pkey",
        "state_counts_pkey",
        "transitions_of_an_entity",
        "transitions_pkey",
        "vm_aliases_pkey",
        "vms_identity",
        "vms_pkey",
        "webhooks_pkey",
    }


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda s: s.scenario)
@pytest.mark.parametrize("together", [True, False], ids=["one-batch", "one-by-one"])
async def test_replays_end_as_expected(
    keeper: BatchWriter, connection: Connection, sequence: Sequence, together: bool
) -> None:
    """Every row of sequences.tsv, in one transaction and in many."""
    letters = [letter(sample) for sample in sequence.samples]
    for batch in [letters] if together else [[one] for one in letters]:
        await decisions(keeper, batch)
    end = ENDS[sequence.scenario]
    (deployment,) = await connection.fetch("SELECT * FROM deployments")
    assert (deployment["state"], deployment["vim_leak_suspected"]) == (end.deployment, end.leak)
    assert not deployment["degraded"]
    vms = await connection.fetch("SELECT * FROM vms")
    assert {vm["vm_uuid"]: vm["state"] for vm in vms} == end.vms
    assert {len(orjson.loads(vm["interfaces"])) for vm in vms} <= {end.nics}
    assert not any(vm["recovery_open"] or vm["needs_manual_recovery"] for vm in vms)
    operations = await connection.fetch("SELECT state, count(*) FROM operations GROUP BY state")
    assert {row["state"]: row["count"] for row in operations} == end.operations
    await assert_ledger_is_whole(connection)


@pytest.mark.parametrize("together", [True, False], ids=["one-batch", "one-by-one"])
async def test_a_redeployed_vm_has_both_aliases(keeper: BatchWriter, connection: Connection, together: bool) -> None:
    """The instance that recovery removed is an alias that has ended, the new one goes on."""
    letters = [letter(sample) for sample in replay("recovery-redeploy-ok").samples]
    for batch in [letters] if together else [[one] for one in letters]:
        await decisions(keeper, batch)
    aliases = await connection.fetch("SELECT vm_uuid, valid_from, valid_to FROM vm_aliases ORDER BY valid_from")
    (old, new) = aliases
    assert (old["vm_uuid"], new["vm_uuid"]) == (FIRST_VM, REDEPLOYED_VM)
    assert old["valid_from"] < old["valid_to"] == new["valid_from"]
    assert new["valid_to"] is None


@pytest.mark.parametrize("together", [True, False], ids=["one-batch", "one-by-one"])
async def test_repeats_make_no_transitions(keeper: BatchWriter, connection: Connection, together: bool) -> None:
    """A deploy of which every message comes twice writes the ledger of the deploy, and the repeats are `duplicate`."""
    for sequence in (replay("deploy-ok"), replay("duplicated-deploy")):
        letters = [letter(sample, source=sequence.scenario) for sample in sequence.samples]
        batches = [letters] if together else [[one] for one in letters]
        outcomes = [decision.outcome for batch in batches for decision in await decisions(keeper, batch)]
        if len(letters) == 6:
            assert outcomes == [Outcome.APPLIED, Outcome.DUPLICATE] * 3
    entries = await ledger(connection)
    once, twice = (
        sorted(
            (e["entity"], e["sequence"], e["from_state"], e["to_state"], e["change"], e["rule"])
            for e in entries
            if e["source"] == source
        )
        for source in ("deploy-ok", "duplicated-deploy")
    )
    assert once == twice
    assert len(once) > 0


async def test_every_sample_is_kept_as_it_came(keeper: BatchWriter, connection: Connection) -> None:
    """All samples, good and broken, in one batch: exact bytes, headers in order, and the outcome that was told."""
    letters = [letter(sample) for sample in (*WELL_FORMED, *MALFORMED)]
    told = await decisions(keeper, letters)
    rows = {row["receipt"]: row for row in await connection.fetch("SELECT * FROM callbacks")}
    assert len(rows) == len(letters)
    for one, decision in zip(letters, told, strict=True):
        row = rows[one.envelope.receipt]
        assert row["body"] == one.envelope.body
        assert [tuple(pair) for pair in orjson.loads(row["headers"])] == one.envelope.headers
        assert (row["outcome"], row["rule"], row["reason"]) == (decision.outcome, decision.rule, decision.reason)
        assert row["received_at"] == one.envelope.received_at
        assert row["notes"] == list(one.notification.notes if one.notification else one.envelope.notes)
    await assert_ledger_is_whole(connection)


async def test_unclassified_callbacks_are_announced(keeper: BatchWriter, connection: Connection) -> None:
    """They have an outbox row under their receipt; malformed ones have none."""
    letters = [letter(sample) for sample in (*WELL_FORMED, *MALFORMED)]
    told = await decisions(keeper, letters)
    posted = {
        row["id"] for row in await connection.fetch("SELECT id FROM outbox WHERE subject LIKE '%.unclassified.%'")
    }
    assert posted == {
        one.envelope.receipt
        for one, decision in zip(letters, told, strict=True)
        if decision.outcome is Outcome.UNCLASSIFIED
    }
    assert len(posted) > 0


def cannot_be_written() -> ParsedCallback:
    """Its VM's name holds what no text column takes."""
    return spoilt(vm=VmReport("nul\0", state="INERT"))


def cannot_be_encoded() -> ParsedCallback:
    """Half a character does not make UTF-8."""
    return spoilt(raw_trigger="\ud800")


def cannot_be_judged() -> ParsedCallback:
    """No rule is prepared for a resource's event of this name."""
    tenant = letter(SAMPLES["seed-01-tenant-create"])
    assert tenant.notification
    return replace(tenant, notification=replace(tenant.notification, trigger="EXPLODE_TENANT"))


def spoilt(**changed: Any) -> ParsedCallback:
    """A good letter, of which the parser is made to have said something unfit."""
    good = letter(SAMPLES["seed-04-deploy-vm-deployed"])
    assert good.notification
    return replace(good, notification=replace(good.notification, **changed))


@pytest.mark.parametrize("bad", [cannot_be_written, cannot_be_encoded, cannot_be_judged])
@pytest.mark.parametrize("place", [0, 4, 8])
async def test_one_bad_letter_does_not_sink_its_neighbours(
    keeper: BatchWriter, connection: Connection, bad: Any, place: int
) -> None:
    """It is kept as it came and announced, without being applied; the others are judged as if it were not there."""
    letters = [letter(sample) for sample in replay("recovery-redeploy-ok").samples]
    letters.insert(place, bad())
    told = await decisions(keeper, letters)
    assert [decision.outcome for decision in told] == [
        Outcome.UNCLASSIFIED if number == place else Outcome.APPLIED for number in range(9)
    ]
    row = await connection.fetchrow(
        "SELECT c.body, c.rule, o.subject FROM callbacks AS c JOIN outbox AS o ON o.id = c.receipt WHERE receipt = $1",
        letters[place].envelope.receipt,
    )
    assert row
    assert (row["body"], row["rule"]) == (letters[place].envelope.body, "internal-error")
    assert await connection.fetchval("SELECT state FROM deployments") == "ACTIVE"
    assert await connection.fetchval("SELECT vm_uuid FROM vms") == REDEPLOYED_VM
    assert await connection.fetchval("SELECT count(*) FROM callbacks") == 9
    await assert_ledger_is_whole(connection)


async def test_a_letter_that_cannot_be_kept_at_all_is_refused_alone(
    keeper: BatchWriter, connection: Connection
) -> None:
    """An envelope that PostgreSQL does not take is not acknowledged; all others are kept."""
    letters = [letter(sample) for sample in replay("deploy-ok").samples]
    bad = letter(SAMPLES["seed-01-tenant-create"], status_code=2**40)
    kept = await keeper.write([letters[0], bad, *letters[1:]])
    assert [type(what) for what in kept] == [Decision, RefusedError, Decision, Decision]
    assert await connection.fetchval("SELECT count(*) FROM callbacks") == 3


async def test_a_batch_is_one_transaction(keeper: BatchWriter, connection: Connection) -> None:
    """Callbacks, state, ledger and outbox of a batch carry the same transaction's number."""
    await decisions(keeper, [letter(sample) for sample in replay("scale-out-in").samples])
    numbers = [
        row["xmin"]
        for table in ("callbacks", "operations", "deployments", "vms", "transitions", "outbox")
        for row in await connection.fetch(f"SELECT xmin::text FROM {table}")  # noqa: S608 - a name from above
    ]
    assert len(numbers) > 20
    assert len(set(numbers)) == 1


def replay(scenario: str) -> Sequence:
    """A row of sequences.tsv."""
    return next(one for one in SEQUENCES if one.scenario == scenario)
