"""What PostgreSQL knows of each webhook: how it goes, whether it is disabled and why, and what somebody asked for.

A command raises the revision, by which the receiver that delivers notices it; what that one writes down counts only for
the revision that it knows. Must not know HTTP or NATS.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import NamedTuple

from receiver.errors import SetupError, describe
from receiver.postgres.database import Database
from receiver.postgres.driver_errors import UNUSABLE
from receiver.postgres.session import Connection
from receiver.postgres.statements import statements
from receiver.publishing.durable_consumer import Place


class Row(NamedTuple):
    """One webhook, as the table has it."""

    name: str
    revision: int = 0
    disabled_at: datetime | None = None
    disabled_because: str | None = None
    trouble: str | None = None
    failing_sequence: int | None = None
    failing_since: datetime | None = None
    resend_from: int | None = None
    place_sequence: int | None = None
    place_subject: str | None = None
    place_id: str | None = None
    delivered_at: datetime | None = None
    delivered_sequence: int | None = None
    delivered_id: str | None = None
    error_at: datetime | None = None
    error: str | None = None

    @property
    def place(self) -> Place | None:
        """Up to where everything was delivered; None: it never began."""
        if self.place_sequence is None:
            return None
        return Place(self.place_sequence, self.place_subject or "", self.place_id or "")

    def at(self, place: Place) -> Row:
        """The same at another place."""
        return self._replace(place_sequence=place.sequence, place_subject=place.subject, place_id=place.id)

    def well(self) -> Row:
        """The same, failing with nothing."""
        return self._replace(failing_sequence=None, failing_since=None)


class Register:
    """The table. All methods raise SetupError while PostgreSQL cannot be used."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = statements("webhooks/webhooks.sql", {"row": Row._fields})

    async def row(self, name: str) -> Row:
        """What is known of it."""
        async with self._connection() as connection:
            found = await connection.fetchrow(self._sql["row"], name)
        return Row(*found) if found else Row(name)

    async def rows(self) -> Mapping[str, Row]:
        """Of all that were ever heard of."""
        async with self._connection() as connection:
            found = await connection.fetch(self._sql["rows"])
        return {row["name"]: Row(*row) for row in found}

    async def begin(self, name: str, place: Place) -> None:
        """It begins there, if it never began."""
        async with self._connection() as connection:
            await connection.execute(self._sql["begin"], name, *place)

    async def placed(self, row: Row, place: Place) -> None:
        """Its consumer stands there now."""
        async with self._connection() as connection:
            await connection.execute(self._sql["placed"], row.name, *place, row.revision)

    async def note(self, row: Row) -> None:
        """How it goes."""
        async with self._connection() as connection:
            await connection.execute(
                self._sql["note"], row.name, row.revision, row.place_sequence, row.place_subject, row.place_id,
                row.failing_sequence, row.failing_since, row.delivered_at, row.delivered_sequence, row.delivered_id,
                row.error_at, row.error,
            )  # fmt: skip

    async def trouble(self, row: Row, why: str) -> None:
        """Nothing is delivered, because of this."""
        async with self._connection() as connection:
            await connection.execute(self._sql["trouble"], row.name, row.revision, why)

    async def disable(self, row: Row, why: str) -> None:
        """Deliver nothing more until somebody enables it."""
        async with self._connection() as connection:
            await connection.execute(self._sql["disable"], row.name, row.revision, why)

    async def enable(self, name: str, resend_from: int | None = None) -> None:
        """Deliver again, from where it stood or from this sequence on."""
        async with self._connection() as connection:
            await connection.execute(self._sql["enable"], name, resend_from)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        try:
            async with self._database.acquire() as connection:
                yield connection
        except UNUSABLE as error:
            raise SetupError(f"PostgreSQL cannot be used now: {describe(error)}") from error
