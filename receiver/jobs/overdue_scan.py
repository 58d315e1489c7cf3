"""Makes operations OVERDUE that have been silent for too long: state, ledger and outbox in one transaction.

Every receiver scans; each operation is decided once, by whoever locks its row. `lifecycle.overdue` decides whether it
is due; this file brings the rows and the time. The loop and the work are apart: `run` and `run_once`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from receiver.config.settings import Settings
from receiver.errors import describe
from receiver.events.cloudevents import transition_event
from receiver.jobs.learning import learned_durations
from receiver.lifecycle.overdue import BETWEEN, KINDS, RESOURCE, Limits, decide_overdue
from receiver.model.entities import Decision, Operation, Vm
from receiver.observability.metrics import Metrics
from receiver.postgres.database import Database
from receiver.postgres.driver_errors import UNUSABLE, is_partition_missing
from receiver.postgres.partitions import Partitions
from receiver.postgres.session import Connection
from receiver.postgres.statements import statements
from receiver.postgres.store import ROWS, Store
from receiver.postgres.unit_of_work import UnitOfWork
from receiver.postgres.wake_ups import ended_operations, wake

log = structlog.get_logger()


class OverdueScan:
    """Decides on the silent operations of one database."""

    def __init__(
        self,
        database: Database,
        store: Store,
        partitions: Partitions,
        settings: Settings,
        metrics: Metrics,
        is_behind: Callable[[], bool] = lambda: False,
        on_overdue: Callable[[Sequence[Decision]], None] = lambda _: None,
    ) -> None:
        """`is_behind`: whether received callbacks wait to be applied, so that silence proves nothing. `on_overdue`
        hears what became overdue."""
        self._on_overdue = on_overdue
        self._database = database
        self._store = store
        self._partitions = partitions
        self._settings = settings
        self._metrics = metrics
        self._is_behind = is_behind
        self._sql = statements("jobs/overdue_scan.sql", ROWS)
        self._limits = Limits(settings.overdue_after_s, settings.reorder_window_s, settings.overdue_vms_named_max)

    async def run(self) -> None:
        """Scan every `overdue_check_s`, until cancelled."""
        while True:
            await asyncio.sleep(self._settings.overdue_check_s)
            try:
                if not self._is_behind():
                    await self._run_all()
            except UNUSABLE as error:
                if is_partition_missing(error):
                    self._partitions.forget()
                log.warning("overdue operations could not be looked for; it is tried again", why=describe(error))
            except Exception:  # a bug in a background job must not stop the service; it is logged and tried again
                log.exception("looking for overdue operations failed")

    async def run_once(self, now: datetime) -> list[Decision]:
        """Decide on one batch at the time `now`; what became overdue, oldest first. Raises `UNUSABLE` errors."""
        async with self._database.acquire() as connection:
            await self._partitions.ensure(connection, (now,))
            limits = replace(self._limits, learned=await learned_durations(connection, self._settings))
            async with connection.transaction():
                decisions = await self._decide(connection, now, limits)
                if decisions:
                    await self._write(connection, decisions)
            self._metrics.operations_overdue.set(await connection.fetchval(self._sql["overdue"]))
        for decision in decisions:
            self._metrics.count_decision(decision)
        if decisions:
            log.warning("operations are overdue", operations=len(decisions), first=decisions[0].reason)
            self._on_overdue(decisions)
        return decisions

    async def _run_all(self) -> None:
        found = self._settings.overdue_batch_max
        while found == self._settings.overdue_batch_max:
            async with asyncio.timeout(self._settings.commit_timeout_s):
                found = len(await self.run_once(await self._now()))

    async def _now(self) -> datetime:
        """The earlier of this machine's clock and PostgreSQL's: one that has jumped ahead makes nothing overdue."""
        async with self._database.acquire() as connection:
            theirs: datetime = await connection.fetchval(self._sql["clock"])
        return min(datetime.now(UTC), theirs)

    async def _decide(self, connection: Connection, now: datetime, limits: Limits) -> list[Decision]:
        operations = await self._silent_operations(connection, now, limits)
        vms = await self._unfinished_vms(connection, operations) if operations else {}
        decided = (decide_overdue(operation, vms.get(operation.id, ()), now, limits) for operation in operations)
        return [decision for decision in decided if decision]

    async def _silent_operations(self, connection: Connection, now: datetime, limits: Limits) -> list[Operation]:
        since: Mapping[tuple[str, str], datetime] = {
            (source, kind): now - timedelta(seconds=limits.of(kind, source))
            for source, kind in (*(("", kind) for kind in (*KINDS, RESOURCE)), *limits.learned.limits_s)
        }
        sources, kinds = zip(*since, strict=True)
        rows = await connection.fetch(
            self._sql["silent_operations"], sources, kinds, list(since.values()), since["", RESOURCE],
            max(since.values()), self._settings.overdue_batch_max,
        )  # fmt: skip
        floor = await connection.fetchval(self._sql["sequence_floor"]) if rows else 0
        operations = [Operation(*row) for row in rows]
        return [one._replace(sequence=max(one.sequence, floor)) for one in operations]

    async def _unfinished_vms(self, connection: Connection, operations: Sequence[Operation]) -> dict[UUID, list[Vm]]:
        """The VMs that each operation left between two states: at most one more than a reason names."""
        rows = await connection.fetch(
            self._sql["vms_left"], [operation.id for operation in operations], list(BETWEEN),
            self._settings.overdue_vms_named_max + 1,
        )  # fmt: skip
        vms: defaultdict[UUID, list[Vm]] = defaultdict(list)
        for operation, *vm in rows:
            vms[operation].append(Vm(*vm))
        return vms

    async def _write(self, connection: Connection, decisions: Sequence[Decision]) -> None:
        unit = UnitOfWork()
        unit.sequence_floor = await connection.fetchval(self._sql["sequence_floor"])
        unit.stored = {entity.id for decision in decisions for entity in decision.entities}
        for decision in decisions:
            unit.apply(decision)
        events = [transition_event(*entry) for decision in decisions for entry in decision.transitions]
        await self._store.write(connection, unit, (), decisions, events)
        await wake(connection, ended_operations(decisions))
