"""A database with a long past: a million ledger entries of a hundred thousand VMs, made with SQL in a minute or two.

What it holds looks as the receiver would have written it, also where it lies: entries of one time lie together, and
transaction ids rise with times. This file must not know what is asked of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg

from receiver.config.settings import Settings
from receiver.model.entities import OperationState
from receiver.model.entity_ids import entity_id
from receiver.postgres.migrations import migrate
from receiver.postgres.partitions import Partitions

VMS = 100_000
ENTRIES_OF_A_VM = 10
VMS_OF_A_DEPLOYMENT = 10
APART = timedelta(hours=12)
"""From one entry of a VM to its next: the ledger covers some days."""


@dataclass(frozen=True, slots=True)
class Stored:
    """How much there is."""

    vms: int = VMS

    @property
    def deployments(self) -> int:
        """Deployments; as many networks."""
        return self.vms // VMS_OF_A_DEPLOYMENT

    @property
    def transitions(self) -> int:
        """Ledger entries."""
        return self.vms * ENTRIES_OF_A_VM


async def fill(dsn: str, stored: Stored) -> None:
    """Bring the schema up to date and put everything in."""
    sql = statements()
    connection = await asyncpg.connect(dsn)
    try:
        await migrate(connection)
        began_at = datetime.now(UTC) - ENTRIES_OF_A_VM * APART
        times = [began_at + turn * APART for turn in range(ENTRIES_OF_A_VM + 1)]
        await Partitions(Settings()).ensure(connection, times)
        await connection.execute("SET synchronous_commit = off")
        await connection.execute(sql["deployments"].replace("$1", str(stored.deployments)))
        await connection.execute(sql["resources"].replace("$1", str(stored.deployments)))
        await connection.execute(sql["vms"].replace("$1", str(stored.vms)))
        for turn, at in enumerate(times[:-1], start=1):
            await connection.execute(sql["mark"].replace("$1", f"'{at.isoformat()}'"))
            for name in ("transitions", "callbacks"):
                await connection.execute(_of_turn(sql[name], turn, at, stored.vms))
            await _operations(connection, turn, at, stored)
        await connection.execute("SET synchronous_commit = on")
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def receipts(dsn: str) -> list[str]:
    """Those of some callbacks."""
    sql = statements()
    connection = await asyncpg.connect(dsn)
    try:
        return [str(row["receipt"]) for row in await connection.fetch(sql["receipts"])]
    finally:
        await connection.close()


def statements(file: str = "stored.sql") -> dict[str, str]:
    """Those of a file by name."""
    text = (Path(__file__).parent / file).read_text("utf-8")
    _, *parts = re.split(r"(?m)^-- name: (\w+)$", text)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _of_turn(sql: str, turn: int, at: datetime, vms: int) -> str:
    return sql.replace("$1", str(turn)).replace("$2", f"'{at.isoformat()}'").replace("$3", str(vms))


async def _operations(connection: asyncpg.Connection[asyncpg.Record], turn: int, at: datetime, stored: Stored) -> None:
    """One for each deployment and turn; of the last turn some are open. Their ids are made by the program."""
    columns = (
        "id", "source", "transaction_id", "kind", "state", "first_seen_at", "last_seen_at", "ended_at", "revised",
        "tenant", "deployment", "vms_seen", "vms_deployed", "vms_alive", "vms_failed", "status_code", "sequence",
        "memory",
    )  # fmt: skip
    last = turn == ENTRIES_OF_A_VM

    def row(n: int) -> tuple[object, ...]:
        source, transaction = f"lab{n % 3}", f"tx-{n}-{turn}"
        first = at + n * timedelta(seconds=1)
        state = OperationState.OPEN if last and n % 40 == 0 else OperationState.SUCCEEDED
        ended = first + timedelta(seconds=1) if state is OperationState.SUCCEEDED else None
        return (
            entity_id("operation", source, transaction), source, transaction, "deploy", str(state), first,
            first + timedelta(seconds=1), ended, False, f"tenant-{n % 50}", f"dep-{n}", 10, 10, 10, 0, 200, 2, "{}",
        )  # fmt: skip

    await connection.copy_records_to_table("operations", records=map(row, range(stored.deployments)), columns=columns)
