"""The ledger as an archive reads it: in the order in which entries became visible, page by page, so that nothing waits.

Below the bound that is asked for first nothing appears any more, whichever receivers run. Must not know the format.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from receiver.events.cloudevents import OutboxRow
from receiver.model.entities import Transition
from receiver.postgres.session import Connection
from receiver.postgres.statements import statements

PAGE = 2_000


class Place(NamedTuple):
    """In the order of visibility."""

    xid: int
    position: int


BEGINNING = Place(0, 0)


class Ledger:
    """Of one database."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sql = statements("archive/archive.sql", {"transition": Transition._fields})

    async def database_id(self) -> str:
        """Whose it is."""
        return str(await self._connection.fetchval(self._sql["database_id"]))

    async def floors(self) -> list[int]:
        """Above which numbers entries went on, at each epoch."""
        return [row["sequence_floor"] for row in await self._connection.fetch(self._sql["floors"])]

    async def place_of(self, entry_id: str) -> Place | None:
        """Where this entry stands; None where the ledger does not have it."""
        row = await self._connection.fetchrow(self._sql["place"], entry_id)
        return Place(*row) if row else None

    async def estimate(self) -> int:
        """About how many entries there are."""
        return int(await self._connection.fetchval(self._sql["estimate"]))

    async def months(self) -> set[str]:
        """The months of which it has any: 2026-01-01."""
        return {row["month"] for row in await self._connection.fetch(self._sql["months"])}

    async def post(self, row: OutboxRow) -> None:
        """Hand a message to the relay."""
        await self._connection.execute(self._sql["post"], *row)

    async def pages(self, behind: Place, up_to: Place | None = None) -> AsyncIterator[list[Sequence[Any]]]:
        """The rows behind a place, as the ledger stood at the first page."""
        bound = await self._connection.fetchval(self._sql["bound"])
        while rows := await self._connection.fetch(self._sql["page"], *behind, bound, PAGE):
            behind = Place(rows[-1]["xid"], rows[-1]["position"])
            found = [row for row in rows if up_to is None or Place(row["xid"], row["position"]) <= up_to]
            yield [tuple(row)[: len(Transition._fields)] for row in found]
            if len(found) < len(rows):
                return
