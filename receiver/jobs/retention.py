"""Makes partitions ahead and drops those past retention, every `maintenance_interval_s`, and distrusts clocks.

A clock that has jumped ahead makes everything look old. So nothing is dropped while this machine's clock and
PostgreSQL's differ, or while the callback stored last comes from the future; a partition stays until as many days as it
is to be kept have come after it, whatever the clocks say; and one interval drops no more than an interval brings. What
holds retention back is told. Must not know HTTP or NATS.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import structlog

from receiver.config.settings import Settings
from receiver.errors import describe
from receiver.observability.metrics import Metrics
from receiver.observability.trouble_log import TroubleLog
from receiver.postgres.database import Database
from receiver.postgres.driver_errors import UNUSABLE
from receiver.postgres.partitions import DAYS, MONTHS, Partition, Partitions
from receiver.postgres.session import Connection

DAYS_OF_A_MONTH_MAX = 31
DAY_S = 86_400

log = structlog.get_logger()


class Retention:
    """Of one receiver: `run` until cancelled, or `run_once`."""

    def __init__(self, database: Database, partitions: Partitions, settings: Settings, metrics: Metrics) -> None:
        self._database = database
        self._partitions = partitions
        self._settings = settings
        self._metrics = metrics
        self._retention = {
            DAYS: timedelta(days=settings.callbacks_retention_days),
            MONTHS: timedelta(days=settings.ledger_retention_days),
        }
        self._kept_min = {
            DAYS: settings.callbacks_retention_days + 1,
            MONTHS: settings.ledger_retention_days // DAYS_OF_A_MONTH_MAX + 1,
        }
        """The present one and as many before it as time alone would leave."""
        self._ahead = {DAYS: settings.partitions_ahead_days, MONTHS: 1}
        self._at_once_max = math.ceil(settings.maintenance_interval_s / DAY_S)
        self._held_back = TroubleLog("nothing is dropped by age now: clocks or history look wrong")

    @property
    def trouble(self) -> str:
        """Why retention waits; empty while it does not. For /readyz."""
        return self._held_back.why

    async def run(self) -> None:
        """Look after the partitions until cancelled."""
        while True:
            try:
                async with self._database.acquire() as connection:
                    await self.run_once(connection, datetime.now(UTC))
            except UNUSABLE as error:
                log.warning("partitions could not be looked after; they are tried again", why=describe(error))
            except Exception:  # a bug here must not stop those who keep callbacks: told with its trace, and tried again
                log.exception("looking after partitions failed")
            await asyncio.sleep(self._settings.maintenance_interval_s)

    async def run_once(self, connection: Connection, now: datetime) -> list[str]:
        """Make the partitions of the days ahead, drop those past retention; the names of the dropped."""
        await self._partitions.make_ahead(connection, now)
        wrong_clock = await self._wrong_clock(connection, now)
        waiting: list[str] = []
        dropped: list[str] = []
        for table in (DAYS, MONTHS):
            due, stay = self._past_retention(table, await self._partitions.present(connection, table), now)
            self._metrics.retention_waiting_partitions.labels(table).set(len(stay))
            waiting += stay
            if not wrong_clock:
                dropped += [name for name in due if await self._partitions.drop(connection, name)]
        self._tell(wrong_clock or _too_few_followed(waiting), dropped)
        return dropped

    async def _wrong_clock(self, connection: Connection, now: datetime) -> str:
        """What is wrong with this machine's clock, or PostgreSQL's; empty when nothing is."""
        theirs, skew_max_s = await self._partitions.clock(connection), self._settings.query_clock_skew_s
        skew_s = (now - theirs["now"]).total_seconds()
        self._metrics.clock_skew_seconds.set(skew_s)
        if abs(skew_s) > skew_max_s:
            side = "ahead of" if skew_s > 0 else "behind"
            return f"this machine's clock is {abs(skew_s):.0f} s {side} PostgreSQL's (query_clock_skew_s)"
        newest_at = theirs["newest_at"]
        if newest_at and (newest_at - now).total_seconds() > skew_max_s:
            return f"the callback stored last was received at {newest_at:%Y-%m-%d %H:%M:%S} UTC, which is yet to come"
        return ""

    def _past_retention(
        self, table: str, partitions: Sequence[Partition], now: datetime
    ) -> tuple[list[str], list[str]]:
        """Those to drop now, oldest first, and those that stay because too few have followed them."""
        begun = [one for one in partitions if one.begins_at <= now]
        past = [one.name for one in begun if one.ends_at <= now - self._retention[table]]
        # Before a hole in time stand those that were made ahead of days which never came.
        holes = sum(one.ends_at < following.begins_at for one, following in pairwise(begun))
        may_go = max(0, len(begun) - self._kept_min[table] - holes * self._ahead[table])
        return past[: min(may_go, self._at_once_max)], past[may_go:]

    def _tell(self, trouble: str, dropped: Sequence[str]) -> None:
        if trouble:
            self._held_back.report(trouble)
        else:
            self._held_back.clear()
        if dropped:
            log.info("partitions past retention were dropped", partitions=dropped)


def _too_few_followed(waiting: Sequence[str]) -> str:
    if not waiting:
        return ""
    return (
        f"{waiting[0]} and later ones ({len(waiting)}) look past retention, but too few days followed them: "
        "the service was off, or a clock has jumped ahead"
    )
