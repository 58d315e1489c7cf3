"""Learns how long operations usually take, and how long sources are silent, now and then, in one receiver for all.

Operations teach that succeeded; of silence, the looks of `jobs.entity_counts`. What follows for an operation that is
silent is for `lifecycle.learned` and `lifecycle.overdue`. Days that are over are counted in the same turn, for looks at
the past (`api.past`). Must not know HTTP.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from receiver.config.settings import Settings
from receiver.lifecycle.learned import LearnedDuration, LearnedDurations
from receiver.observability.trouble_log import TroubleLog
from receiver.postgres.database import Database
from receiver.postgres.driver_errors import UNUSABLE
from receiver.postgres.session import Connection
from receiver.postgres.statements import statements

log = structlog.get_logger()


class Learning:
    """`run` until cancelled, or `run_once`."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._sql = statements("jobs/learning.sql")
        self._trouble = TroubleLog("nothing can be learned now of how long operations take; it is tried again")

    async def run(self) -> None:
        """Learn every `learn_every_s`, until cancelled; nothing when that is 0."""
        while self._settings.learn_every_s:
            with self._trouble.attempt(UNUSABLE, bug="learning failed"):
                await self.run_once()
            await asyncio.sleep(self._settings.learn_every_s)

    async def run_once(self) -> bool:
        """Learn, unless another receiver has just done it; whether it was done here. Raises `UNUSABLE` errors."""
        half = timedelta(seconds=self._settings.learn_every_s / 2)
        async with self._database.acquire(self._settings.counts_timeout_s) as connection, connection.transaction():
            if not await connection.fetchval(self._sql["claim"], half):
                return False
            await connection.execute(self._sql["read_all"])
            await connection.execute(self._sql["forget"])
            days, least = self._settings.learn_days, self._settings.learn_samples_min
            done = await connection.execute(self._sql["learn"], days, least)
            await connection.execute(self._sql["drop_looks"], days)
            await connection.execute(self._sql["forget_silences"])
            await connection.execute(self._sql["learn_silences"], days, least)
        log.info("how long operations take was learned", kinds=int(done.rpartition(" ")[2]))
        await self._count_days()
        return True

    async def _count_days(self) -> None:
        """On a connection and in a transaction of its own: the first time, all of the ledger is read."""
        async with self._database.dedicated(self._settings.learn_every_s) as connection, connection.transaction():
            await connection.execute(self._sql["read_all"])
            await connection.execute(self._sql["count_days"])


async def learned_durations(connection: Connection, settings: Settings) -> LearnedDurations:
    """What was learned last, by whichever receiver."""
    rows = await connection.fetch(statements("jobs/learning.sql")["learned"])
    return LearnedDurations((LearnedDuration(*row) for row in rows), settings.learn_factor)
