"""What is known of deployments is read, and what an answer changed is written: in one transaction, under the locks that
callbacks take, in their order.

Must not know HTTP, nor how an answer is judged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from receiver.config.settings import Settings
from receiver.lifecycle import Windows
from receiver.lifecycle.answer import Answer, Known, judge
from receiver.model.entities import Decision, Deployment, Operation, Vm
from receiver.model.envelope import Envelope
from receiver.model.notification import Outcome
from receiver.observability.metrics import Metrics
from receiver.parsing.parsed_callback import ParsedCallback
from receiver.postgres.database import Database
from receiver.postgres.driver_errors import CONFLICTS
from receiver.postgres.partitions import Partitions
from receiver.postgres.session import Connection
from receiver.postgres.statements import statements
from receiver.postgres.store import ROWS, Store, events_of
from receiver.postgres.unit_of_work import UnitOfWork
from receiver.postgres.wake_ups import ended_operations, wake

Answered = tuple[Answer, Envelope]


class AnswerStore:
    """For all sources of one database. Its methods raise `UNUSABLE` errors."""

    def __init__(
        self, database: Database, store: Store, partitions: Partitions, settings: Settings, metrics: Metrics
    ) -> None:
        self._metrics = metrics
        self._database = database
        self._store = store
        self._partitions = partitions
        self._races_max = settings.commit_races_max
        self._sql = statements("reconcile/answers.sql", ROWS)
        self._me = uuid4()

    @property
    def windows(self) -> Windows:
        """Within which callbacks may change order."""
        return self._store.windows

    # Whose turn it is.

    async def lease(self, source: str, for_s: float) -> tuple[datetime | None, datetime] | None:
        """When the source was swept last, and the time now; None while another receiver asks it."""
        async with self._database.acquire() as connection:
            row = await connection.fetchrow(self._sql["lease"], source, self._me, timedelta(seconds=for_s))
        return (row["swept_at"], row["now"]) if row else None

    async def release(self, source: str) -> None:
        """Somebody else may ask it."""
        async with self._database.acquire() as connection:
            await connection.execute(self._sql["release"], source, self._me)

    async def note_asked(self, source: str, trouble: str | None, health: str | None) -> None:
        """It was asked."""
        async with self._database.acquire() as connection:
            await connection.execute(self._sql["asked"], source, trouble is None, trouble, health)

    async def note_swept(self, source: str, deployments: int, mended: int, missing: int) -> None:
        """It was asked for everything."""
        async with self._database.acquire() as connection:
            await connection.execute(self._sql["swept"], source, deployments, mended, missing)

    # What is known.

    async def clock(self) -> datetime:
        """PostgreSQL's."""
        async with self._database.acquire() as connection:
            now: datetime = await connection.fetchval(self._sql["clock"])
        return now

    async def names(self, source: str) -> tuple[set[str], set[str]]:
        """The deployments that are not gone, and those that operations which have not ended are about."""
        async with self._database.acquire() as connection:
            live = await connection.fetch(self._sql["live"], source)
            about = await connection.fetch(self._sql["asked_about"], source)
        return {row[0] for row in live}, {row[0] for row in about}

    async def judge_all(self, answers: Sequence[Answered]) -> list[Decision]:
        """What each would change, as things stand."""
        async with self._database.acquire() as connection, connection.transaction():
            known = await self._known(connection, [answer for answer, _ in answers], "")
        return [judge(known[answer.internal_id], answer, self.windows) for answer, _ in answers]

    async def write(self, answers: Sequence[Answered]) -> list[Decision]:
        """Judge them once more, under locks, and write what they change."""
        for left in reversed(range(self._races_max)):
            try:
                decisions = await self._write(answers)
            except CONFLICTS:
                if not left:
                    raise
                continue  # a callback was quicker; it is judged again
            for decision in decisions:
                self._metrics.count_decision(decision)
            return decisions
        return []

    async def keep_malformed(self, envelope: Envelope, why: str) -> None:
        """An answer that is not understood: a dead letter."""
        callback = ParsedCallback(envelope, malformed=why)
        decision = Decision(Outcome.MALFORMED, "malformed", why)
        async with self._database.acquire() as connection:
            await self._partitions.ensure(connection, (envelope.received_at,))
            async with connection.transaction():
                unit = await self._unit(connection)
                await self._store.write(connection, unit, [(callback, decision)], (), events_of(callback, decision))
                await wake(connection, set())

    async def _write(self, answers: Sequence[Answered]) -> list[Decision]:
        async with self._database.acquire() as connection:
            await self._partitions.ensure(connection, (answer.answered_at for answer, _ in answers))
            async with connection.transaction():
                known = await self._known(connection, [answer for answer, _ in answers], "lock_")
                decisions = [judge(known[answer.internal_id], answer, self.windows) for answer, _ in answers]
                if any(decision.transitions for decision in decisions):
                    await self._write_decided(connection, answers, decisions, known)
        return decisions

    async def _write_decided(
        self,
        connection: Connection,
        answers: Sequence[Answered],
        decisions: Sequence[Decision],
        known: Mapping[str, Known],
    ) -> None:
        unit, new = await self._unit(connection), []
        unit.stored = {row.id for one in known.values() for row in _rows(one)}
        for (answer, envelope), decision in zip(answers, decisions, strict=True):
            if decision.transitions:
                unit.apply(decision)
                new.append((ParsedCallback(envelope, answer.notification()), decision))
        events = [event for callback, decision in new for event in events_of(callback, decision)]
        told = [decision for _, decision in new]
        await self._store.write(connection, unit, new, told, events)
        await wake(connection, ended_operations(told))

    async def _unit(self, connection: Connection) -> UnitOfWork:
        unit = UnitOfWork()
        unit.sequence_floor = await connection.fetchval(self._sql["sequence_floor"])
        return unit

    async def _known(self, connection: Connection, answers: Sequence[Answer], lock: str) -> dict[str, Known]:
        """What is known of them, by name; all are of one source."""
        source, names = answers[0].source, [answer.internal_id for answer in answers]
        operations = await connection.fetch(self._sql[f"{lock}operations"], source, names)
        rows = await connection.fetch(self._sql[f"{lock}deployments"], source, names)
        deployments = {one.internal_deployment_id: one for one in (Deployment(*row) for row in rows)}
        vms = _by_deployment(await connection.fetch(self._sql["vms"], [one.id for one in deployments.values()]))
        floor = await connection.fetchval(self._sql["sequence_floor"])
        known = {name: Known(deployments.get(name), {}, [], floor) for name in names}
        for name, deployment in deployments.items():
            known[name].vms = vms.get(deployment.id, {})
        for operation in (Operation(*row) for row in operations):
            known[str(operation.deployment)].operations = [*known[str(operation.deployment)].operations, operation]
        return known


def _by_deployment(rows: Iterable[Any]) -> dict[UUID, dict[str, Vm]]:
    found: defaultdict[UUID, dict[str, Vm]] = defaultdict(dict)
    for vm in (Vm(*row) for row in rows):
        found[vm.deployment_id][vm.vm_name] = vm
    return found


def _rows(known: Known) -> Iterable[Any]:
    yield from known.operations
    yield from known.vms.values()
    if known.deployment:
        yield known.deployment
