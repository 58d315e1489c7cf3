"""How many deployments, VMs and operations are in which state: counted now and then by one receiver for all.

A scrape reads what was counted, and so costs the same with ten VMs and with a million. Counted on the indexes of
states, beside the writers and never in their way: a count kept with every batch would be a row that all fight over.
The same round looks how large the database is and until when there are partitions. Must not know NATS or HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import orjson
import structlog

from receiver.config.settings import Settings
from receiver.errors import describe
from receiver.observability.catalogue import Catalogue, operation_kind
from receiver.observability.definition import set_all
from receiver.observability.labels import Taken
from receiver.observability.metrics import Metrics
from receiver.observability.trouble_log import TroubleLog
from receiver.postgres.database import Database
from receiver.postgres.driver_errors import UNUSABLE
from receiver.postgres.statements import statements
from receiver.postgres.store import Connection

log = structlog.get_logger()

Rows = Sequence[Any]
"""Each has what it is, one or two labels, and a number."""


class EntityCounts:
    """Keeps the gauges of state right: `run` until cancelled, or `run_once`."""

    def __init__(self, database: Database, settings: Settings, metrics: Metrics) -> None:
        self._database = database
        self._interval = timedelta(seconds=settings.counts_interval_s)
        self._timeout_s = settings.counts_timeout_s
        self._metrics = metrics
        self._sql = statements("jobs/entity_counts.sql")
        self._trouble = TroubleLog("states cannot be counted now; it is tried again")
        for state in Taken:
            metrics.postgres_connections.labels(state).set_function(partial(_connections, database, state))

    async def run(self) -> None:
        """Count again and again, until cancelled."""
        while True:
            try:
                await self.run_once()
                self._trouble.clear()
            except UNUSABLE as error:
                self._trouble.report(describe(error))
            except Exception:  # a bug here must not stop those who keep callbacks: told with its trace, and tried again
                log.exception("counting failed")
            await asyncio.sleep(self._interval.total_seconds())

    async def run_once(self) -> bool:
        """Count, or read what another receiver has counted; whether it was counted here. Raises asyncpg's errors."""
        async with self._database.acquire(self._timeout_s) as connection:
            mine = await self._count(connection)
            told = await connection.fetchrow(self._sql["told"])
            surroundings = await connection.fetch(self._sql["surroundings"])
        assert told is not None  # the table has always one row
        self._show(orjson.loads(told["counts"]), told["counted_at_s"] or 0)
        self._surround(surroundings)
        return mine

    async def _count(self, connection: Connection) -> bool:
        async with connection.transaction():
            if not await connection.fetchval(self._sql["claim"], self._interval / 2):
                return False
            states = [list(one.labels[1].values) for one in (Catalogue.deployments, Catalogue.vms)]
            rows = await connection.fetch(self._sql["count"], *states)
            await connection.execute(self._sql["keep"], orjson.dumps([tuple(row) for row in rows]).decode())
        return True

    def _show(self, rows: Rows, counted_at_s: float) -> None:
        metrics = self._metrics
        for what, gauge in (("deployments", metrics.deployments), ("vms", metrics.vms)):
            set_all(gauge, {(one, two): number for name, one, two, number in rows if name == what})
        operations: dict[tuple[str, ...], float] = {}
        for what, kind, state, number in rows:
            if what == "operations":
                labels = operation_kind(kind), state
                operations[labels] = operations.get(labels, 0) + number
        set_all(metrics.operations, operations)
        metrics.operation_oldest_timestamp_seconds.set(next((row[3] for row in rows if row[0] == "oldest"), 0))
        metrics.counted_timestamp_seconds.set(counted_at_s)

    def _surround(self, rows: Rows) -> None:
        metrics = self._metrics
        metrics.database_bytes.set(next(number for what, _, number in rows if what == "bytes"))
        begin, end = metrics.partitions_begin_timestamp_seconds, metrics.partitions_end_timestamp_seconds
        for what, gauge in (("begin", begin), ("end", end)):
            set_all(gauge, {(table,): number for name, table, number in rows if name == what})


def _connections(database: Database, state: Taken) -> float:
    return database.connections()[state,]
