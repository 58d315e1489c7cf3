"""The states of one source, taken from one cell's PostgreSQL to another's while callbacks go on (docs/cells.md#move).

The receiving cell is held meanwhile: its receivers spool. What moves are the states, with the numbers of their last
ledger entries, so that numbers go on in the other cell; the ledger so far stays where it was written. Must not know
how the sender's way is switched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from io import BytesIO
from typing import Any, TypeAlias

import asyncpg

from receiver.errors import SetupError
from receiver.postgres.hosts import Hosts

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
TABLES = ("operations", "deployments", "vms", "vm_aliases", "resources", "sources")
CONNECT_TIMEOUT_S = 10.0
LOOK_S = 0.2
LOCK = f"LOCK TABLE {', '.join(TABLES)} IN EXCLUSIVE MODE"
COLUMNS = """
SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
LAST = "SELECT receipt FROM callbacks WHERE source = $1 ORDER BY xid DESC, position DESC LIMIT 1"
WAITING = "SELECT count(*) FROM outbox WHERE headers->>'ce-source' = '/esc/' || $1"


async def move(
    source: str, from_dsn: str, to_dsn: str, switch: Callable[[], Awaitable[None]], quiet_s: float, wait_s: float
) -> dict[str, int]:
    """The number of rows by table. `switch` sends the source's callbacks to the other cell from then on.

    Raises SetupError when there is something of the source in the other cell already, or the former one is not quiet in
    time; nothing has moved then, but for the way that was switched.
    """
    there, here = await _connected(to_dsn), await _connected(from_dsn)
    try:
        receiving, giving = there.transaction(), here.transaction()
        await receiving.start()
        await there.execute(LOCK)
        await _require_nothing(there, source)
        await switch()
        await _until_quiet(here, source, quiet_s, wait_s)
        await giving.start()
        await here.execute(LOCK)
        moved = {table: await _taken(here, there, table, source) for table in TABLES}
        await receiving.commit()
        await giving.commit()
    finally:
        here.terminate()
        there.terminate()
    return moved


async def _connected(dsn: str) -> Connection:
    return await Hosts(dsn, CONNECT_TIMEOUT_S).connect()


async def _require_nothing(there: Connection, source: str) -> None:
    for table in TABLES:
        if await there.fetchval(f"SELECT EXISTS (SELECT FROM {table} WHERE source = $1)", source):  # noqa: S608 - ours
            raise SetupError(
                f"the other cell has {table} of source {source} already: it lives there, or was moved there"
            )


async def _until_quiet(here: Connection, source: str, quiet_s: float, wait_s: float) -> None:
    """Nothing of it comes any more, and all there was is published."""
    try:
        async with asyncio.timeout(wait_s):
            last, since = await _state(here, source), 0.0
            while since < quiet_s:
                await asyncio.sleep(LOOK_S)
                now = await _state(here, source)
                since = since + LOOK_S if now == last and not now[1] else 0.0
                last = now
    except TimeoutError:
        raise SetupError(
            f"callbacks of source {source} still come to the former cell, or wait there to be published: "
            "is the way switched?"
        ) from None


async def _state(here: Connection, source: str) -> tuple[Any, int]:
    return await here.fetchval(LAST, source), await here.fetchval(WAITING, source)


async def _taken(here: Connection, there: Connection, table: str, source: str) -> int:
    """Rows go as text: both databases have the same schema."""
    names = [row["attname"] for row in await here.fetch(COLUMNS, table)]
    columns, rows = ", ".join(names), BytesIO()
    await here.copy_from_query(f"SELECT {columns} FROM {table} WHERE source = $1", source, output=rows)  # noqa: S608 - ours
    rows.seek(0)
    await there.copy_to_table(table, source=rows, columns=names)
    done = await here.execute(f"DELETE FROM {table} WHERE source = $1", source)  # noqa: S608 - ours
    return int(done.split()[-1])
