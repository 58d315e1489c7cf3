"""Ledger entries for tests of the feed, rows in the outbox, and what the broker has of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import asyncpg
import jsonschema
import nats
import nats.js.errors
import orjson

from esc_receiver_client import EscFeed
from receiver.events.cloudevents import OutboxRow, transition_event
from receiver.model.entities import Deployment, Entity, Operation, Resource, Source, Transition, Vm
from tests.support import waiting

PATIENCE_S, until = waiting.PATIENCE_S, waiting.until

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)

INSERT = """
INSERT INTO outbox (id, at, subject, headers, payload, kv_key, kv_ended)
SELECT * FROM unnest(
    $1::uuid[], $2::timestamptz[], $3::text[], $4::text[]::json[], $5::text[]::json[], $6::text[], $7::bool[]
)
"""


def vm(name: str = "vm-1", **facts: Any) -> Vm:
    """A VM that is ALIVE, unless `facts` say otherwise."""
    common: dict[str, Any] = {
        "id": UUID(int=1),
        "source": "lab1",
        "deployment_id": UUID(int=2),
        "deployment": "dep-1",
        "tenant": "tenant-1",
        "state": "ALIVE",
        "first_seen_at": NOW,
        "changed_at": NOW,
        "sequence": 1,
    }
    return Vm(**common | {"vm_name": name} | facts)


def deployment(**facts: Any) -> Deployment:
    """A deployment that is ACTIVE, unless `facts` say otherwise."""
    common: dict[str, Any] = {
        "id": UUID(int=2),
        "source": "lab1",
        "internal_deployment_id": "dep-1",
        "incarnation": 1,
        "current": True,
        "state": "ACTIVE",
        "first_seen_at": NOW,
        "changed_at": NOW,
        "tenant": "tenant-1",
        "sequence": 1,
    }
    return Deployment(**common | facts)


def operation(**facts: Any) -> Operation:
    """An operation that is OPEN, unless `facts` say otherwise."""
    common: dict[str, Any] = {
        "id": UUID(int=3),
        "source": "lab1",
        "transaction_id": "t-1",
        "kind": "deploy",
        "state": "OPEN",
        "first_seen_at": NOW,
        "last_seen_at": NOW,
        "sequence": 1,
    }
    return Operation(**common | facts)


def resource(**facts: Any) -> Resource:
    """A network that is CREATED, unless `facts` say otherwise."""
    common: dict[str, Any] = {
        "id": UUID(int=4),
        "source": "lab1",
        "kind": "network",
        "resource_id": "net-1",
        "state": "CREATED",
        "first_seen_at": NOW,
        "changed_at": NOW,
        "sequence": 1,
    }
    return Resource(**common | facts)


def source(**facts: Any) -> Source:
    """An ESC that is out of service, unless `facts` say otherwise."""
    common: dict[str, Any] = {
        "id": UUID(int=5),
        "source": "lab1",
        "state": "OUT_OF_SERVICE",
        "first_seen_at": NOW,
        "changed_at": NOW,
        "sequence": 1,
    }
    return Source(**common | facts)


def transition(entity: Entity, **facts: Any) -> Transition:
    """The ledger entry that brought `entity` to where it is."""
    place: tuple[str, str | None, str | None, str]
    match entity:
        case Vm():
            place = ("vm", entity.tenant, entity.deployment, entity.vm_name)
        case Deployment():
            place = ("deployment", entity.tenant, entity.internal_deployment_id, entity.internal_deployment_id)
        case Operation():
            place = ("operation", entity.tenant, entity.deployment, entity.transaction_id)
        case Resource():
            place = ("resource", entity.tenant, entity.deployment, f"{entity.kind}/{entity.resource_id}")
        case Source():
            place = ("source", None, None, entity.source)
    kind, tenant, deployment_id, name = place
    common: dict[str, Any] = {
        "id": uuid4(),
        "at": NOW,
        "entity": kind,
        "entity_id": entity.id,
        "source": entity.source,
        "tenant": tenant,
        "deployment": deployment_id,
        "incarnation": 1,
        "name": name,
        "sequence": entity.sequence,
        "from_state": "UNSEEN",
        "to_state": entity.state,
        "change": entity.state.lower(),
        "trigger": "VM_ALIVE",
        "rule": "vm-alive",
        "reason": "because the test says so",
        "receipt": uuid4(),
        "operation": "t-1",
        "ref": None,
    }
    return Transition(**common | facts)


def event(entity: Entity, **facts: Any) -> OutboxRow:
    """The outbox row of a ledger entry of `entity`."""
    return transition_event(transition(entity, **facts), entity)


def vm_events(number: int, *, vms: int = 10) -> list[OutboxRow]:
    """`number` entries of `vms` VMs in turns, each VM's numbered 1, 2, 3 …"""
    return [event(vm(f"vm-{n % vms}", sequence=n // vms + 1)) for n in range(number)]


async def insert(connection: Connection, rows: Iterable[OutboxRow], *, notify: bool = True) -> None:
    """Put rows into the outbox as the store does."""
    async with connection.transaction():
        await connection.execute(INSERT, *map(list, zip(*rows, strict=True)))
        if notify:
            await connection.execute("SELECT pg_notify(channel, '') FROM relay")


@dataclass(frozen=True)
class Stored:
    """One message of a stream."""

    sequence: int
    subject: str
    headers: dict[str, str]
    payload: bytes

    @property
    def id(self) -> UUID:
        """Its `Nats-Msg-Id`."""
        return UUID(self.headers["Nats-Msg-Id"])

    @property
    def has_id(self) -> bool:
        """A stranger's may have none."""
        return "Nats-Msg-Id" in self.headers

    @property
    def event(self) -> Any:
        """Its payload, read."""
        return orjson.loads(self.payload)


@asynccontextmanager
async def jetstream(url: str) -> AsyncIterator[nats.js.JetStreamContext]:
    """A client of the test's own."""
    client = await nats.connect(url)
    yield client.jetstream()
    await client.close()


async def stored(url: str, stream: str = "ESC") -> list[Stored]:
    """All messages of a stream, in order, as any consumer reads them; none when there is no stream."""
    async with jetstream(url) as js:
        try:
            number = (await js.stream_info(stream)).state.messages
        except nats.js.errors.NotFoundError:
            return []
    messages: list[Stored] = []
    async with EscFeed(url, stream=stream) as esc_feed, aclosing(esc_feed.subscribe(subjects=[">"])) as events:
        while len(messages) < number:
            event = await anext(events)
            messages.append(Stored(event.stream_sequence, event.nats_subject, dict(event.headers), event.raw))
    return messages


async def items(url: str) -> dict[str, Any]:
    """What the KV bucket shows: items by key."""
    return {
        message.subject.removeprefix("$KV.esc-state."): orjson.loads(message.payload)
        for message in await stored(url, "KV_esc-state")
    }


def validate(message: Stored) -> None:
    """Raises when a message of the feed does not follow its published schema."""
    schema = orjson.loads(
        files("receiver").joinpath("events", "schemas", f"{message.event['entity']}.json").read_bytes()
    )
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER).validate(
        message.event
    )
