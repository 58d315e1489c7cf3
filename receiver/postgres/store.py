"""PostgreSQL: one batch of callbacks, decided and written in one transaction.

Callback, state, ledger and outbox are written together or not at all (docs/promises.md#promise-3). Rows are
locked in key order, so that many receivers share one database. Must not know HTTP, XML or NATS.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg

from receiver.events.cloudevents import OutboxRow, malformed_event, transition_event, unclassified_event
from receiver.lifecycle import Windows, decide, is_about_every_vm, is_about_source
from receiver.model.entities import Alias, Decision, Deployment, Operation, Resource, Source, Transition, Vm
from receiver.model.entity_ids import entity_id
from receiver.model.envelope import BODY_LEFT_OUT
from receiver.model.notification import Notification, Outcome
from receiver.parsing.parsed_callback import ParsedCallback
from receiver.postgres.looked_up import look_up
from receiver.postgres.session import Connection
from receiver.postgres.statements import statements
from receiver.postgres.unit_of_work import UnitOfWork, operation_id, resource_id

WARNING = "01000"

_KINDS = (Operation, Deployment, Vm, Resource)
ROWS: Mapping[str, tuple[str, ...]] = {
    kind.__name__.lower(): kind._fields for kind in (*_KINDS, Source, Alias, Transition)
}
"""The columns that statements read and write of a table, by the name of its tuple. One that a later release has added
is left alone (migration 0008)."""


def do_nothing() -> None:
    """The default for callers that need not know when a batch is decided."""


class Store:
    """Writes batches. Holds no connection: each call is given one."""

    def __init__(self, windows: Windows) -> None:
        self.windows = windows
        self._sql = statements("postgres/batch.sql", ROWS)
        self._sequence_floor = 0
        """As it was when a batch was written last; the one that finds another is judged again."""

    async def write_batch(
        self, connection: Connection, callbacks: Sequence[ParsedCallback], on_decided: Callable[[], None] = do_nothing
    ) -> list[Decision]:
        """Decide and write callbacks in their order, in one transaction; the decision on each.

        `on_decided` is called between the two.
        Raises asyncpg's errors; then nothing was written (unless the connection broke while committing).
        """
        async with _replicated(connection), connection.transaction():
            await self.look_up(connection, callbacks)
            unit = await self.lock(connection, [c.notification for c in callbacks if c.notification])
            decided: list[tuple[ParsedCallback, Decision]] = []
            events: list[OutboxRow] = []
            for callback in callbacks:  # one after the other, while its rows lie in the processor's cache
                decision = self._decide(unit, callback)
                decided.append((callback, decision))
                events += events_of(callback, decision)
            decisions = [decision for _, decision in decided]
            on_decided()
            await self.write(connection, unit, decided, decisions, events)
        return decisions

    async def find_stored(self, connection: Connection, callbacks: Sequence[ParsedCallback]) -> dict[UUID, Decision]:
        """By receipt, the decisions on those that are in PostgreSQL already."""
        times = [callback.envelope.received_at for callback in callbacks]
        receipts = [callback.envelope.receipt for callback in callbacks]
        rows = await connection.fetch(self._sql["find_stored"], receipts, min(times), max(times))
        if rows:  # their own commit may not have waited for a standby: this one does, so they are there too
            async with _replicated(connection):
                await connection.fetchval(self._sql["barrier"])
        return {row["receipt"]: Decision(Outcome(row["outcome"]), row["rule"], row["reason"]) for row in rows}

    async def probe(self, connection: Connection) -> None:
        """A commit like that of a batch, with nothing in it. Raises asyncpg's errors, and ConnectionError."""
        async with _replicated(connection), connection.transaction():
            await connection.execute(self._sql["write_nothing"])
            await connection.fetchval(self._sql["barrier"])

    def _decide(self, unit: UnitOfWork, callback: ParsedCallback) -> Decision:
        decision, n = callback.decision_without_lifecycle(), callback.notification
        if decision is None:
            assert n is not None  # a callback was either read or is malformed
            decision = decide(unit.current(n), n, self.windows, callback.delayed)
            unit.apply(decision)
        return decision

    async def lock(
        self, connection: Connection, notifications: Sequence[Notification], unit: UnitOfWork | None = None
    ) -> UnitOfWork:
        """The rows that these notifications are decided against, locked until the transaction ends.

        `unit`: what an earlier batch changed without writing it.
        """
        unit, sql = unit or UnitOfWork(), self._sql
        unit.sequence_floor = self._sequence_floor
        if operations := {i for n in notifications if (i := operation_id(n))}:
            rows = await connection.fetch(sql["lock_operations"], list(operations))
            unit.add(Operation(*row) for row in rows)
        if names := {(n.source, name) for n in notifications if (name := unit.deployment_name(n))}:
            rows = await connection.fetch(sql["lock_deployments"], *zip(*names, strict=True))
            unit.add(Deployment(*row) for row in rows)
            await self._add_vms(connection, unit, notifications)
        if resources := {i for n in notifications if (i := resource_id(n))}:
            rows = await connection.fetch(sql["lock_resources"], list(resources))
            unit.add(Resource(*row) for row in rows)
        if sources := {entity_id("source", n.source) for n in notifications if is_about_source(n)}:
            rows = await connection.fetch(sql["lock_sources"], list(sources))
            unit.add(Source(*row) for row in rows)
        return unit

    async def look_up(self, connection: Connection, callbacks: Sequence[ParsedCallback]) -> None:
        """Find the deployments of those that do not tell the internal id."""
        await look_up(connection, self._sql["look_up"], callbacks)

    async def _add_vms(self, connection: Connection, unit: UnitOfWork, notifications: Sequence[Notification]) -> None:
        by_id, of_deployments, by_instance = set(), set(), set()
        wide = {operation_id(n) or n.receipt for n in notifications if is_about_every_vm(n, unit.operation(n))}
        for n in notifications:
            if (deployment := unit.deployment(n)) is None:
                continue
            if wide and (operation_id(n) or n.receipt) in wide:
                of_deployments.add(deployment.id)
            for vm in (n.vm, n.target):
                if vm and vm.name:
                    by_id.add(entity_id("vm", deployment.id.hex, vm.name))
                elif vm and vm.uuid:
                    by_instance.add((n.source, vm.uuid))
        if by_id or of_deployments:
            unit.add(Vm(*row) for row in await connection.fetch(self._sql["vms"], list(by_id), list(of_deployments)))
        if by_instance:
            rows = await connection.fetch(self._sql["vms_by_instance"], *zip(*by_instance, strict=True))
            unit.add(Vm(*row) for row in rows)

    async def write(
        self,
        connection: Connection,
        unit: UnitOfWork,
        new: Sequence[tuple[ParsedCallback, Decision]],
        decisions: Sequence[Decision],
        events: Sequence[OutboxRow],
    ) -> None:
        """Write what `decisions` changed in `unit`, and the `new` callbacks, which are not stored yet.

        The caller has locked the rows and holds the transaction.
        """
        rows_of = unit.changed_rows()
        for stored, name in ((False, "add_sources"), (True, "change_sources")):
            if rows := rows_of.get((Source, stored)):
                await connection.executemany(self._sql[name], [tuple(row) for row in rows])
        ledger = [transition for decision in decisions for transition, _ in decision.transitions]
        floor = await connection.fetchval(
            self._sql["write"],
            [callback_row(callback, decision) for callback, decision in new],
            *(rows_of.get((kind, stored), []) for kind in _KINDS for stored in (False, True)),
            list(unit.aliases.values()),
            ledger,
            *_by_column(events),
            column=1,
        )
        if floor != unit.sequence_floor:
            self._sequence_floor = floor
            raise asyncpg.SerializationError(f"ledger entries have numbers above {floor} by now (docs/epoch.md)")


@asynccontextmanager
async def _replicated(connection: Connection) -> AsyncIterator[None]:
    """Raises ConnectionError when PostgreSQL warns that a commit stopped waiting for its synchronous standby: it would
    not outlive a failover."""
    warnings: list[str] = []

    def collect(_: object, message: asyncpg.PostgresLogMessage) -> None:
        if message.sqlstate == WARNING:
            warnings.append(str(message))

    connection.add_log_listener(collect)
    try:
        yield
    finally:
        connection.remove_log_listener(collect)  # of a broken one too: the pool would warn of it
    if warnings:
        raise ConnectionError(warnings[0])


def events_of(callback: ParsedCallback, decision: Decision) -> list[OutboxRow]:
    """What is published of it, in order."""
    traceparent = callback.envelope.traceparent
    events = [transition_event(transition, entity, traceparent) for transition, entity in decision.transitions]
    if decision.outcome is Outcome.UNCLASSIFIED and callback.notification:
        events.append(unclassified_event(callback.notification, decision.reason, decision.rule, traceparent))
    elif decision.outcome is Outcome.MALFORMED:
        events.append(malformed_event(callback.envelope, decision.reason, decision.rule))
    return events


def _by_column(events: Sequence[OutboxRow]) -> list[list[Any]]:
    return [list(column) for column in zip(*events, strict=True)] if events else [[] for _ in OutboxRow._fields]


READING = ("transaction_id", "status_code", "status_message", "family", "trigger", "deployment", "vm_name")
"""Columns of `callbacks` that tell how it was read."""


def reading(callback: ParsedCallback) -> tuple[Any, ...]:
    """The values of these columns."""
    e, n = callback.envelope, callback.notification
    said = n or e
    vm = (n.vm or n.target) if n else None
    return (
        e.transaction_id, said.status_code, said.status_message, callback.family, n.raw_trigger if n else None,
        n.deployment.internal_id if n and n.deployment else None, vm.name if vm else None,
    )  # fmt: skip


def callback_row(callback: ParsedCallback, decision: Decision) -> tuple[Any, ...]:
    """A `callback_row` (migration 0008)."""
    e, n = callback.envelope, callback.notification
    notes, body = list(n.notes if n else e.notes), e.body
    if callback.body_is_spare and decision.outcome is Outcome.DUPLICATE:
        notes, body = [*notes, BODY_LEFT_OUT], b""
    return (
        e.receipt, e.received_at, e.source, callback.channel, e.remote, e.ref, e.headers, body, e.redacted,
        *reading(callback),
        decision.outcome, decision.rule, decision.reason, notes,
    )  # fmt: skip
