"""The items of all that the KV bucket shows, from the tables, for a bucket that has lost what it had.

Must not know NATS, nor how a loss is found.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final
from uuid import UUID

from receiver.config.settings import Settings
from receiver.events.cloudevents import BucketRow, bucket_row
from receiver.model.entities import Deployment, Vm
from receiver.postgres.database import Database
from receiver.postgres.statements import statements
from receiver.postgres.store import ROWS

_BEFORE_ALL: Final = UUID(int=0)
_PASSES: Final[tuple[tuple[str, type[Any]], ...]] = (("deployments", Deployment), ("former_vms", Vm), ("vms", Vm))
"""Statement, and what its rows are; of two with the same key the later is the one to show."""


class BucketRefill:
    """Reads one database."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._sql = statements("publishing/bucket_refill.sql", ROWS)

    async def portions(self) -> AsyncIterator[Sequence[BucketRow]]:
        """As things stand; what changes meanwhile waits in the outbox, and is put later. Raises asyncpg's errors."""
        for statement, made in _PASSES:
            behind = _BEFORE_ALL
            while rows := await self._rows(statement, made, behind):
                yield [row for entity in rows if (row := bucket_row(entity))]
                behind = rows[-1].id

    async def _rows(self, statement: str, made: type[Any], behind: UUID) -> list[Any]:
        settings = self._settings
        async with self._database.acquire() as connection:
            found = await connection.fetch(
                self._sql[statement], behind, float(settings.kv_ended_ttl_s), settings.publish_batch_max
            )
        return [made(*row) for row in found]
