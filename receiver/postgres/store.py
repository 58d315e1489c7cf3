"""PostgreSQL: one batch of callbacks, judged and kept in one transaction.

Callback, state, ledger and outbox are written together or not at all (docs/promises.md#promise-3). Rows are
locked in key order, so that many receivers share one database. Must not know HTTP, XML or NATS.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from operator import attrgetter
from typing import Any, TypeAlias

import asyncpg
import orjson

from receiver.events.cloudevents import OutboxRow, transition_event, unclassified_event
from receiver.lifecycle import Windows, decide
from receiver.model.entities import Decision, Deployment, Entity, Operation, Resource, Vm, entity_id
from receiver.model.notification import Notification, Outcome
from receiver.parsing.parsed_callback import ParsedCallback
from receiver.postgres.statements import statements
from receiver.postgres.unit_of_work import UnitOfWork, operation_id, resource_id

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

WARNING = "01000"

SESSION = {
    "application_name": "esc-receiver",
    "synchronous_commit": "on",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    "enable_material": "off",
}
"""A writing session's settings: durable commits, and plans that stay right while the tables grow under them."""


async def prepare(connection: Connection) -> None:
    """Make JSON columns read and write Python values, also inside the rows of an array."""
    await connection.set_type_codec(
        "json", schema="pg_catalog", format="binary", encoder=orjson.dumps, decoder=orjson.loads
    )  # fmt: skip


_GIVEN_BY_POSTGRESQL = (None, None)
"""`xid` and `position`, the last columns of a callback and of a ledger entry (migration 0004)."""


def nobody_waits() -> None:
    """For letters whose judgement nobody waits for."""


class Store:
    """Keeps batches. Holds no connection: each call is given one."""

    def __init__(self, windows: Windows) -> None:
        self.windows = windows
        self._sql = statements("postgres/batch.sql")

    async def keep(
        self, connection: Connection, letters: Sequence[ParsedCallback], judged: Callable[[], None] = nobody_waits
    ) -> list[Decision]:
        """Judge and write `letters` in their order, in one transaction; what became of each.

        `judged` is called between the two.
        Raises asyncpg's errors; then nothing was written (unless the connection broke while committing).
        """
        async with _replicated(connection), connection.transaction():
            known = await self.lock(connection, [x.notification for x in letters if x.notification])
            kept: list[tuple[ParsedCallback, Decision]] = []
            events: list[OutboxRow] = []
            for letter in letters:  # one after the other, while what it is about lies in the processor's cache
                decision = self._judge(known, letter)
                kept.append((letter, decision))
                events += events_of(letter, decision)
            decisions = [decision for _, decision in kept]
            judged()
            await self.write(connection, known, kept, decisions, events)
        return decisions

    async def kept_before(self, connection: Connection, letters: Sequence[ParsedCallback]) -> dict[Any, Decision]:
        """By receipt, the callbacks among `letters` that are in PostgreSQL already."""
        times = [letter.envelope.received_at for letter in letters]
        receipts = [letter.envelope.receipt for letter in letters]
        rows = await connection.fetch(self._sql["kept"], receipts, min(times), max(times))
        if rows:  # their own commit may not have waited for a standby: this one does, so they are there too
            async with _replicated(connection):
                await connection.fetchval(self._sql["barrier"])
        return {row["receipt"]: Decision(Outcome(row["outcome"]), row["rule"], row["reason"]) for row in rows}

    async def probe(self, connection: Connection) -> None:
        """A commit like that of a batch, with nothing in it. Raises asyncpg's errors, and ConnectionError."""
        async with _replicated(connection), connection.transaction():
            await connection.execute(self._sql["keep_nothing"])
            await connection.fetchval(self._sql["barrier"])

    def _judge(self, known: UnitOfWork, letter: ParsedCallback) -> Decision:
        decision = letter.decision_without_lifecycle()
        if decision is None and letter.notification:
            decision = decide(known.current(letter.notification), letter.notification, self.windows, letter.delayed)
            known.apply(decision)
        assert decision is not None  # a letter was either read or is malformed
        return decision

    async def lock(
        self, connection: Connection, notifications: Sequence[Notification], known: UnitOfWork | None = None
    ) -> UnitOfWork:
        """The rows that these notifications are judged against, locked until the transaction ends.

        `known`: what an earlier batch changed without writing it.
        """
        known, sql = known or UnitOfWork(), self._sql
        if operations := {i for n in notifications if (i := operation_id(n))}:
            rows = await connection.fetch(sql["lock_operations"], list(operations))
            known.add(Operation(*row) for row in rows)
        names = {(n.source, name) for n in notifications if (name := _deployment_named(known, n))}
        if names:
            rows = await connection.fetch(sql["lock_deployments"], *zip(*names, strict=True))
            known.add(Deployment(*row) for row in rows)
            await self._vms(connection, known, notifications)
        if resources := {i for n in notifications if (i := resource_id(n))}:
            rows = await connection.fetch(sql["lock_resources"], list(resources))
            known.add(Resource(*row) for row in rows)
        return known

    async def _vms(self, connection: Connection, known: UnitOfWork, notifications: Sequence[Notification]) -> None:
        named, gone, instances = set(), set(), set()
        for n in notifications:
            deployment = known.deployment(n)
            if deployment is None:
                continue
            if n.trigger == "SERVICE_UNDEPLOYED":
                gone.add(deployment.id)
            for side in (n.vm, n.target):
                if side and side.name:
                    named.add(entity_id("vm", deployment.id.hex, side.name))
                elif side and side.uuid:
                    instances.add((n.source, side.uuid))
        if named or gone:
            known.add(Vm(*row) for row in await connection.fetch(self._sql["vms"], list(named), list(gone)))
        if instances:
            rows = await connection.fetch(self._sql["vms_by_instance"], *zip(*instances, strict=True))
            known.add(Vm(*row) for row in rows)

    async def write(
        self,
        connection: Connection,
        known: UnitOfWork,
        kept: Sequence[tuple[ParsedCallback, Decision]],
        decisions: Sequence[Decision],
        events: Sequence[OutboxRow],
    ) -> None:
        """Write what `decisions` did to `known`, and the new callbacks among those they are about (`kept`).

        The caller has locked the rows and holds the transaction.
        """
        ledger = [transition for decision in decisions for transition, _ in decision.transitions]
        await connection.fetch(
            self._sql["write"],
            [callback_row(letter, decision) for letter, decision in kept],
            *(rows for kind in (Operation, Deployment, Vm, Resource) for rows in self._rows(known, kind)),
            list(known.aliases.values()),
            [transition + _GIVEN_BY_POSTGRESQL for transition in ledger],
            *_by_column(events),
        )

    def _rows(self, known: UnitOfWork, kind: type[Entity]) -> Iterable[list[Entity]]:
        """New rows and old rows of one table, in key order."""
        for entities in (known.new(kind), known.old(kind)):
            yield sorted(entities, key=attrgetter("id"))


@asynccontextmanager
async def _replicated(connection: Connection) -> AsyncIterator[None]:
    """Raises ConnectionError when PostgreSQL warns: a commit that was told to stop waiting for its synchronous standby
    is done, says so, and would not outlive a failover."""
    warnings: list[str] = []

    def heard(_: object, message: asyncpg.PostgresLogMessage) -> None:
        if message.sqlstate == WARNING:
            warnings.append(str(message))

    connection.add_log_listener(heard)
    try:
        yield
    finally:
        connection.remove_log_listener(heard)  # of a broken one too: the pool would warn of it
    if warnings:
        raise ConnectionError(warnings[0])


def _deployment_named(known: UnitOfWork, n: Notification) -> str | None:
    return n.deployment.internal_id if n.deployment else known.operation_deployment(n)


def events_of(letter: ParsedCallback, decision: Decision) -> list[OutboxRow]:
    """What is published of it, in order."""
    traceparent = letter.envelope.traceparent
    events = [transition_event(transition, entity, traceparent) for transition, entity in decision.transitions]
    if decision.outcome is Outcome.UNCLASSIFIED and letter.notification:
        events.append(unclassified_event(letter.notification, decision.reason, decision.rule, traceparent))
    return events


def _by_column(events: Sequence[OutboxRow]) -> list[list[Any]]:
    return [list(column) for column in zip(*events, strict=True)] if events else [[] for _ in OutboxRow._fields]


READING = ("transaction_id", "status_code", "status_message", "family", "trigger", "deployment", "vm_name")
"""Columns of `callbacks` that tell how it was read."""


def reading(letter: ParsedCallback) -> tuple[Any, ...]:
    """The values of these columns."""
    e, n = letter.envelope, letter.notification
    vm = (n.vm or n.target) if n else None
    return (
        e.transaction_id, e.status_code, e.status_message, letter.family, n.raw_trigger if n else None,
        n.deployment.internal_id if n and n.deployment else None, vm.name if vm else None,
    )  # fmt: skip


def callback_row(letter: ParsedCallback, decision: Decision) -> tuple[Any, ...]:
    """A row of `callbacks`, in the order of its columns."""
    e, n = letter.envelope, letter.notification
    return (
        e.receipt, e.received_at, e.source, letter.channel, e.remote, e.ref, e.headers, e.body, e.redacted,
        *reading(letter),
        decision.outcome, decision.rule, decision.reason, list(n.notes if n else e.notes),
        *_GIVEN_BY_POSTGRESQL,
    )  # fmt: skip
