"""PostgreSQL that is read-only again and again, as around a failover: nothing is lost, refused or out of order."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg

from receiver.embedded.servers import EmbeddedPostgres
from receiver.postgres.migrations import migrate
from tests.spool.test_router import QUICK, deployed
from tests.support import feed
from tests.support.batches import accepting

FLIPS = 12


async def test_read_only_and_back_twelve_times(tmp_path: Path) -> None:
    """Each callback is stored or spooled, all come in order, and the direct way is taken again."""
    async with EmbeddedPostgres(tmp_path / "postgres") as server:
        connection = await asyncpg.connect(server.dsn)
        await migrate(connection)
        outcomes = []
        async with accepting(server.dsn, tmp_path, **QUICK) as place:
            await feed.until(place.is_direct)
            for flip in range(FLIPS):
                for state in ("on", "off"):
                    await connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {state}")
                    await connection.execute("SELECT pg_reload_conf()")
                    accepted = [await place.accept(deployed(flip)) for _ in range(3)]
                    outcomes += [one.outcome for one in accepted]
                    await asyncio.sleep(0.05)
            await feed.until(place.is_direct)
            sums = place.sums()
        rows = await connection.fetch("SELECT received_at FROM callbacks ORDER BY xid, position")
        await connection.close()
    assert None in outcomes  # it went into the spool at times
    assert sums == {"received": 6 * FLIPS, "stored": 6 * FLIPS}
    assert [row["received_at"] for row in rows] == sorted(row["received_at"] for row in rows)
