"""Counts entities by state, and reads what is known of sources, every `counts_interval_s`: one receiver for all.

A scrape reads the last counts, so that it costs the same with ten VMs and with a million. The counts are queries on
indexes: a counter updated with every batch would be a row that all writers wait for. The same round reads the size of
the database and the bounds of its partitions. Must not know NATS or HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import orjson

from receiver.config.settings import Settings
from receiver.jobs.learned_figures import LearnedFigures
from receiver.observability.catalogue import Catalogue, operation_kind
from receiver.observability.definition import set_all
from receiver.observability.labels import Taken
from receiver.observability.metrics import Metrics
from receiver.observability.trouble_log import TroubleLog
from receiver.postgres.database import Database
from receiver.postgres.driver_errors import UNUSABLE
from receiver.postgres.session import Connection
from receiver.postgres.statements import statements

NONE_SYNCHRONOUS = (
    "standbys of PostgreSQL exist and none is synchronous (synchronous_standby_names is empty):"
    " what was answered with 200 may be missing after a failover"
)
Rows = Sequence[Any]
"""Each has the name of a count, one or two labels, and a number."""


class EntityCounts:
    """Sets the gauges of state: `run` until cancelled, or `run_once`."""

    def __init__(self, database: Database, settings: Settings, metrics: Metrics) -> None:
        self._database = database
        self._interval = timedelta(seconds=settings.counts_interval_s)
        self._timeout_s = settings.counts_timeout_s
        self._metrics = metrics
        self._sql = statements("jobs/entity_counts.sql")
        self._learned = LearnedFigures(settings, metrics)
        self._listens_since = datetime.now(UTC)
        self.warning: str | None = None
        """What is wrong with PostgreSQL's standbys, for `/readyz`."""
        self._trouble = TroubleLog("states cannot be counted now; it is tried again")
        for state in Taken:
            metrics.postgres_connections.labels(state).set_function(partial(_connections, database, state))

    async def run(self) -> None:
        """Count every `counts_interval_s`, until cancelled."""
        while True:
            with self._trouble.attempt(UNUSABLE, bug="counting failed"):
                await self.run_once()
            await asyncio.sleep(self._interval.total_seconds())

    async def run_once(self) -> bool:
        """Count, or read what another receiver has counted; whether it was counted here. Raises `UNUSABLE` errors."""
        async with self._database.acquire(self._timeout_s) as connection:
            await self._add_activity(connection)
            counted_here = await self._count(connection)
            await self._learned.set(connection)
            latest = await connection.fetchrow(self._sql["told"])
            surroundings = await connection.fetch(self._sql["surroundings"])
        assert latest is not None  # the table has always one row
        self._set_counts(orjson.loads(latest["counts"]), latest["counted_at_s"] or 0)
        self._set_surroundings(surroundings)
        return counted_here

    async def _add_activity(self, connection: Connection) -> None:
        """What this receiver has heard of sources since the last round."""
        taken = self._metrics.activity.take()
        try:
            if taken:
                await connection.executemany(self._sql["add_activity"], taken)
        except BaseException:
            self._metrics.activity.give_back(taken)
            raise

    async def _count(self, connection: Connection) -> bool:
        async with connection.transaction():
            if not await connection.fetchval(self._sql["claim"], self._interval / 2):
                return False
            states = [list(one.labels[1].values) for one in (Catalogue.deployments, Catalogue.vms)]
            rows = await connection.fetch(self._sql["count"], *states)
            await connection.execute(self._sql["look"], list(self._metrics.sources), self._listens_since)
            await connection.execute(self._sql["keep"], orjson.dumps([tuple(row) for row in rows]).decode())
        return True

    def _set_counts(self, rows: Rows, counted_at_s: float) -> None:
        metrics = self._metrics
        for what, gauge in (("deployments", metrics.deployments), ("vms", metrics.vms)):
            set_all(gauge, {(one, two): number for name, one, two, number in rows if name == what})
        operations: dict[tuple[str, ...], float] = {}
        for name, kind, state, number in rows:
            if name == "operations":
                labels = operation_kind(kind), state
                operations[labels] = operations.get(labels, 0) + number
        set_all(metrics.operations, operations)
        metrics.operation_oldest_timestamp_seconds.set(next((row[3] for row in rows if row[0] == "oldest"), 0))
        for what, gauge in (
            ("out_of_service", metrics.source_out_of_service), ("since", metrics.source_state_timestamp_seconds),
            ("heard", metrics.source_last_message_timestamp_seconds), ("refused", metrics.source_refused_callbacks),
            ("manual", metrics.manual_recovery_vms),
        ):  # fmt: skip
            set_all(gauge, {(one,): number for name, one, _, number in rows if name == what and one in metrics.sources})
        dead: dict[tuple[str, ...], float] = {}
        for name, source, _, number in rows:
            if name == "unacknowledged":
                dead[metrics.source_label(source),] = dead.get((metrics.source_label(source),), 0) + number
        set_all(metrics.quarantine_unacknowledged_callbacks, dead)
        metrics.counted_timestamp_seconds.set(counted_at_s)

    def _set_surroundings(self, rows: Rows) -> None:
        metrics = self._metrics
        one = {what: number for what, _, number in rows}
        metrics.database_bytes.set(one["bytes"])
        metrics.postgres_standbys.set(one["standbys"])
        metrics.postgres_synchronous_standbys_named.set(one["synchronous"])
        self.warning = NONE_SYNCHRONOUS if one["standbys"] and not one["synchronous"] else None
        begin, end = metrics.partitions_begin_timestamp_seconds, metrics.partitions_end_timestamp_seconds
        for what, gauge in (("begin", begin), ("end", end)):
            set_all(gauge, {(table,): number for name, table, number in rows if name == what})


def _connections(database: Database, state: Taken) -> float:
    return database.connections()[state,]
