"""What is left in PostgreSQL and in NATS after a run, and whether it keeps the promises (docs/promises.md).

The functions that begin with `assert_` say what is wrong; `in_postgres` and `in_feed` say what there is, in the words
of the simulator's expected state, which is compared with it (`ExpectedState.check`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from hashlib import sha256
from itertools import groupby
from typing import Any, TypeAlias
from uuid import UUID

import aiohttp
import asyncpg
import orjson
from prometheus_client.parser import text_string_to_metric_families

from esc_lab.simulator.audit_log import Receipt
from receiver.model.entity_ids import overdue_transition_id, replay_transition_id, transition_id
from tests.support import feed
from tests.support.feed import Stored

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Actual: TypeAlias = dict[str, dict[Any, Any]]

ENTITIES = """
SELECT id, sequence, state FROM operations UNION ALL SELECT id, sequence, state FROM deployments
UNION ALL SELECT id, sequence, state FROM vms UNION ALL SELECT id, sequence, state FROM resources
UNION ALL SELECT id, sequence, state FROM sources
"""
NOT_IN_STEP = {"vms", "current"}
"""Of a deployment's item: what changes with its VMs and its next incarnation, for which it has no entry of its own."""


async def in_postgres(connection: Connection) -> Actual:
    """The states that the tables hold."""
    deployments = {row["id"]: row for row in await connection.fetch("SELECT * FROM deployments")}
    aliases: dict[UUID, set[str]] = defaultdict(set)
    for row in await connection.fetch("SELECT * FROM vm_aliases"):
        aliases[row["vm_id"]].add(row["vm_uuid"])
    vms = await connection.fetch("SELECT * FROM vms")
    outcomes = await connection.fetch("SELECT outcome, count(*) FROM callbacks GROUP BY outcome")
    return {
        "deployments": {_deployment_key(row): _state(row) for row in deployments.values()},
        "vms": {
            (*_deployment_key(deployments[row["deployment_id"]]), row["vm_name"]): {
                **_state(row),
                "vm_uuid": row["vm_uuid"],
                "aliases": aliases[row["id"]],
            }
            for row in vms
        },
        **await _others(connection),
        "outcomes": {row["outcome"]: row["count"] for row in outcomes},
    }


async def _others(connection: Connection) -> Actual:
    operations = await connection.fetch("SELECT * FROM operations")
    resources = await connection.fetch("SELECT * FROM resources")
    return {
        "operations": {_operation_key(row): _state(row) for row in operations},
        "resources": {_resource_key(row): _state(row) for row in resources},
    }


def in_feed(messages: Iterable[Stored]) -> Actual:
    """The states that somebody knows who has read nothing but the feed."""
    last = {message.event["item"]["id"]: message.event for message in messages if "item" in message.event}
    items: dict[str, list[Any]] = defaultdict(list)
    for event in last.values():
        items[event["entity"]].append(event["item"])
    deployments = {item["id"]: item for item in items["deployment"]}
    return {
        "deployments": {_deployment_key(item): _state(item) for item in deployments.values()},
        "vms": {
            (*_deployment_key(deployments[item["deployment_id"]]), item["vm_name"]): {
                **_state(item),
                "vm_uuid": item["vm_uuid"],
            }
            for item in items["vm"]
            if item["deployment_id"] in deployments
        },
        "operations": {_operation_key(item): _state(item) for item in items["operation"]},
        "resources": {_resource_key(item): _state(item) for item in items["resource"]},
    }


async def ledger(connection: Connection) -> list[asyncpg.Record]:
    """All entries, entity by entity in order."""
    return await connection.fetch("SELECT * FROM transitions ORDER BY entity_id, sequence, at")


async def assert_ledger_is_whole(connection: Connection) -> None:
    """Sequences 1, 2, 3 …, or on above an epoch's floor; each entry goes on from the one before, to where it stands."""
    rows = {row["id"]: row for row in await connection.fetch(ENTITIES)}
    entries = await ledger(connection)
    floors = [row["sequence_floor"] for row in await connection.fetch("SELECT sequence_floor FROM epochs")]
    for entity, group in groupby(entries, key=lambda entry: entry["entity_id"]):
        chain = list(group)
        name = f"{chain[0]['entity']} {chain[0]['name']}"
        numbers = [entry["sequence"] for entry in chain]
        for before, number in zip([0, *numbers], numbers, strict=False):
            assert number == before + 1 or any(before <= floor < number for floor in floors), name
        assert [entry["from_state"] for entry in chain] == ["UNSEEN", *(e["to_state"] for e in chain[:-1])], name
        row = rows.pop(entity)
        assert (row["sequence"], row["state"]) == (numbers[-1], chain[-1]["to_state"]), name
    assert {row["sequence"] for row in rows.values()} <= {0}
    assert_ids_are_derived(entries)


def assert_ids_are_derived(entries: Sequence[asyncpg.Record]) -> None:
    """Each id follows from receipt, entity and ordinal, so that applying again gives the same; or from the sequence."""
    ordinals: Counter[tuple[UUID, UUID]] = Counter()
    for entry in entries:
        pair, place = (entry["receipt"], entry["entity_id"]), (entry["entity_id"], entry["sequence"])
        if entry["trigger"] == "timer":
            assert entry["id"] == overdue_transition_id(*place)
        elif entry["trigger"] == "replay":
            assert entry["id"] == replay_transition_id(entry["receipt"], *place)
        else:
            assert entry["id"] == transition_id(*pair, ordinals[pair])
            ordinals[pair] += 1


async def published(connection: Connection, nats_url: str, strangers: str = "-") -> list[Stored]:
    """The feed, when the outbox is empty; every message is as its schema says. Those of strangers are passed over."""
    await feed.until(lambda: is_empty(connection))
    messages = [message for message in await feed.stored(nats_url) if not message.subject.startswith(strangers)]
    for message in messages:
        feed.validate(message)
    return messages


async def is_complete(connection: Connection, nats_url: str) -> bool:
    """Whether the stream has all that the ledger has."""
    entries = await connection.fetch("SELECT id FROM transitions")
    return {entry["id"] for entry in entries} <= {
        message.id for message in await feed.stored(nats_url) if message.has_id
    }


async def is_empty(connection: Connection) -> bool:
    """Whether all that was to be published is published."""
    return not await connection.fetchval("SELECT EXISTS (SELECT FROM outbox)")


async def assert_feed_equals_ledger(
    connection: Connection, messages: Sequence[Stored], late: Container[str] = ()
) -> None:
    """Every ledger entry once, in order per entity, and every callback that was not understood once; nothing else.

    Of `late` messages the order is not asked.
    """
    entries = await ledger(connection)
    dead = await connection.fetch("SELECT receipt FROM callbacks WHERE outcome IN ('malformed', 'unclassified')")
    ids = [message.id for message in messages]
    assert len(ids) == len(set(ids)), f"published twice: {[i for i, times in Counter(ids).items() if times > 1]}"
    assert set(ids) == {entry["id"] for entry in entries} | {row["receipt"] for row in dead}
    order: dict[str, list[int]] = defaultdict(list)
    for message in messages:
        if "item" in message.event and str(message.id) not in late:
            order[message.event["item"]["id"]].append(message.event["sequence"])
    for entity, sequences in order.items():
        assert sequences == sorted(sequences), entity
    found = {entry["id"]: entry for entry in entries}
    for message in messages:
        if entry := found.get(message.id):
            for name in ("source", "name", "sequence", "from_state", "to_state", "change", "rule", "reason"):
                assert message.event[name] == entry[name]


async def assert_bucket_follows(connection: Connection, messages: Sequence[Stored], items: Mapping[str, Any]) -> None:
    """Each key holds the item last published for it, and that is the row as it stands."""
    last: dict[tuple[str, ...], Any] = {}
    for message in messages:
        event = message.event
        if event["entity"] in {"deployment", "vm"} and event["item"].get("current", True):
            place = (event["item"]["vm_name"],) if event["entity"] == "vm" else ()
            last[event["entity"], event["source"], event["deployment"], *place] = event["item"]
    bucket, feed_says = ({orjson.dumps(item) for item in found} for found in (items.values(), last.values()))
    assert bucket == feed_says, f"bucket only: {bucket - feed_says}; feed only: {feed_says - bucket}"
    assert len(items) == len(last)
    for table in ("deployments", "vms"):
        for row in await connection.fetch(f"SELECT to_jsonb(t) - 'memory' AS item FROM {table} AS t"):  # noqa: S608
            _assert_in_step(orjson.loads(row["item"]), items.values())


def _assert_in_step(row: Mapping[str, Any], items: Iterable[Mapping[str, Any]]) -> None:
    """Times apart, which PostgreSQL spells in its own way, the item is the row."""
    for item in items:
        if item["id"] == row["id"]:
            same = {name for name in row if not name.endswith("_at") and name not in NOT_IN_STEP}
            apart = {name: (item[name], row[name]) for name in same if item[name] != row[name]}
            assert not apart, f"published and kept, {item['id']}: {apart}"


async def assert_counts_add_up(session: aiohttp.ClientSession) -> dict[str, float]:
    """docs/promises.md#promise-8, as /metrics shows it; all figures, summed over their labels."""
    figures: dict[str, float] = defaultdict(float)
    async with session.get("/metrics") as response:
        for family in text_string_to_metric_families(await response.text()):
            for sample in family.samples:
                figures[sample.name] += sample.value
    came = figures["esc_receiver_received_total"] + figures["esc_receiver_recovered_total"]
    went = ("stored_total", "spool_callbacks", "in_flight", "refused_total")
    assert came == sum(figures[f"esc_receiver_{name}"] for name in went)
    return figures


async def assert_kept(connection: Connection, receipts: Sequence[Receipt]) -> None:
    """Every receipt that was given is in PostgreSQL once, with the bytes that were sent; nothing else is there."""
    assert await assert_kept_at_least(connection, receipts) == []


async def assert_kept_at_least(connection: Connection, receipts: Sequence[Receipt]) -> list[bytes]:
    """Every receipt that was given is in PostgreSQL once, with the bytes that were sent.

    The digests of what is there besides: kept, but the answer was lost on its way.
    """
    rows = await connection.fetch("SELECT receipt, source, body, redacted FROM callbacks")
    kept = {str(row["receipt"]): row for row in rows}
    assert len(kept) == len(rows), f"{len(rows) - len(kept)} callbacks are there twice"
    given = {one.receipt for one in receipts}
    assert len(given) == len(receipts), "a receipt was given twice"
    assert not given - set(kept), f"lost, of {len(given)}: {sorted(given - set(kept))[:5]} and so on"
    for one in receipts:
        row = kept[one.receipt]
        assert not row["redacted"], one.receipt
        assert (sha256(row["body"]).hexdigest(), row["source"]) == (one.sha256, one.source), one.receipt
    return [sha256(kept[receipt]["body"]).digest() for receipt in set(kept) - given]


def _deployment_key(row: Any) -> tuple[Any, ...]:
    return row["source"], row["internal_deployment_id"], row["incarnation"]


def _operation_key(row: Any) -> tuple[Any, ...]:
    return row["source"], row["transaction_id"]


def _resource_key(row: Any) -> tuple[Any, ...]:
    return row["source"], row["kind"], row["resource_id"]


def _state(row: Any) -> dict[str, Any]:
    return {"state": row["state"]}
