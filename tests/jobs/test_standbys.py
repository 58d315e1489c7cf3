"""PostgreSQL's standbys: that they exist and none is synchronous is told, with a real one."""

from __future__ import annotations

from pathlib import Path

import asyncpg

from receiver.config.settings import Settings
from receiver.embedded.servers import EmbeddedPostgres
from receiver.jobs.entity_counts import NONE_SYNCHRONOUS, EntityCounts
from receiver.observability.metrics import Metrics
from receiver.postgres.database import Database
from receiver.postgres.partitions import Partitions
from tests.support.feed import until
from tests.support.standby import IN_SYNC, demand_standby, standby_of

STREAMING = "SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'"


async def test_standbys_of_which_none_is_synchronous_are_told(tmp_path: Path) -> None:
    """Also to a user without rights over others; not without a standby, nor when one is named."""
    async with EmbeddedPostgres(tmp_path / "postgres") as postgres:
        connection = await asyncpg.connect(postgres.dsn)
        settings, metrics = Settings(postgres_dsn=postgres.dsn, counts_interval_s=0.001), Metrics()
        database = Database(settings, metrics)
        await database.open()
        await database.prepare(Partitions(settings))
        counts = EntityCounts(database, settings, metrics)

        async def told() -> tuple[int, int, str | None]:
            await counts.run_once()
            found = metrics.registry.get_sample_value
            return (
                int(found("esc_receiver_postgres_standbys") or 0),
                int(found("esc_receiver_postgres_synchronous_standbys_named") or 0),
                counts.warning,
            )

        assert await told() == (0, 0, None)
        async with standby_of(postgres, tmp_path / "standby"):
            await until(lambda: connection.fetchval(STREAMING))
            assert await told() == (1, 0, NONE_SYNCHRONOUS)
            await connection.execute("CREATE ROLE somebody; SET ROLE somebody")
            assert await connection.fetchval("SELECT count(*) FROM pg_stat_replication") == 1
            await connection.execute("RESET ROLE")
            await demand_standby(connection, "standby")
            await until(lambda: connection.fetchval(IN_SYNC))
            assert await told() == (1, 1, None)
            await demand_standby(connection, "")
        await connection.close()
        await database.close()
