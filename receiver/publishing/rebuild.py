"""The outbox filled from the ledger again, for a stream that has lost everything, or some of it.

PostgreSQL is the truth; the stream can be rebuilt from it (docs/reliability.md#rebuild). Ids and subjects are those of
the first time, so a consumer recognizes what it has had. The `item` in each message is today's, as `item.sequence`
shows: the ledger does not keep older ones. All in one transaction: it is done whole or not at all. Must not know NATS.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from receiver.config.settings import Settings
from receiver.events.cloudevents import OutboxRow, malformed_event, transition_event, unclassified_event
from receiver.model.entities import Deployment, Entity, EntityKind, Operation, Resource, Source, Transition, Vm
from receiver.model.envelope import Envelope
from receiver.model.notification import Outcome
from receiver.parsing.body_readers import BodyReaders
from receiver.parsing.parsed_callback import ParsedCallback
from receiver.postgres.database import Database
from receiver.postgres.session import Connection
from receiver.postgres.statements import statements
from receiver.postgres.store import ROWS
from receiver.publishing.bucket_refill import BucketRefill
from receiver.publishing.comparison import Missing

TABLES: dict[str, tuple[str, type[Any]]] = {
    EntityKind.DEPLOYMENT: ("deployments", Deployment),
    EntityKind.VM: ("vms", Vm),
    EntityKind.RESOURCE: ("resources", Resource),
    EntityKind.OPERATION: ("operations", Operation),
    EntityKind.SOURCE: ("sources", Source),
}


Report = Callable[[int, int], None]
"""Called with how many messages are in the outbox, and of how many."""


Portions = AsyncIterator[list[OutboxRow]]


def unreported(_: int, __: int) -> None:
    """The default of `report`."""


async def nothing() -> None:
    """The default of `at_last`."""


class StreamRebuild:
    """Fills the outbox of one database from its ledger."""

    def __init__(self, database: Database, settings: Settings, readers: BodyReaders) -> None:
        self.bucket = BucketRefill(database, settings)
        self._database = database
        self._readers = readers
        self._settings = settings
        self._sql = statements("publishing/rebuild.sql", ROWS)

    async def run(
        self,
        stream: str,
        last_sequence: int,
        *,
        age_max_s: float = 0,
        at_last: Callable[[], Awaitable[None]] = nothing,
        report: Report = unreported,
    ) -> int:
        """Put the whole ledger into the outbox again, for `stream` as it stands; how many messages that is.

        With `age_max_s` only what is younger, and what waits there anyway.
        `at_last` is called when only the commit is missing. Raises asyncpg's errors; then nothing has changed.
        """
        # A ledger is read for longer than a batch may take.
        timeout_s = self._settings.rebuild_timeout_s
        async with (
            self._database.dedicated(timeout_s) as connection,
            connection.transaction(isolation="repeatable_read"),
        ):
            # First, as it locks the row: of two that rebuild, the second waits here, and then finds it done.
            await connection.execute(self._sql["begin_again"], stream, last_sequence)
            since = await connection.fetchval(self._sql["since"], age_max_s)
            await connection.execute(self._sql["empty"])
            counts = await connection.fetchrow(self._sql["how_many"], since)
            assert counts is not None  # one row of counts
            messages: int = counts["entries"] + counts["callbacks"]
            await self._post(connection, -messages, messages, self._all(connection, since), report)
            await at_last()
        return messages

    async def fill(self, missing: Sequence[Missing], report: Report = unreported) -> int:
        """Put what the stream is missing into the outbox, before all that waits there; how many messages that is.

        Only for whoever is the relay. Raises asyncpg's errors; then nothing has changed.
        """
        timeout_s = self._settings.rebuild_timeout_s
        async with (
            self._database.dedicated(timeout_s) as connection,
            connection.transaction(isolation="repeatable_read"),
        ):
            await connection.execute(self._sql["hold"])
            return await self.fill_within(connection, missing, report)

    async def fill_within(self, connection: Connection, missing: Sequence[Missing], report: Report = unreported) -> int:
        """The same in a transaction of the caller's, in which nobody else fills the outbox."""
        position = await connection.fetchval(self._sql["before_all"]) - len(missing) + 1
        return await self._post(connection, position, len(missing), self._missing(connection, missing), report)

    async def _post(self, connection: Connection, first: int, messages: int, portions: Portions, report: Report) -> int:
        """Insert the portions from position `first` on; how many rows that were."""
        position = first
        async for rows in portions:
            if rows:
                await connection.execute(self._sql["post"], position - 1, *map(list, zip(*rows, strict=True)))
            position += len(rows)
            report(position - first, messages)
        return position - first

    async def _all(self, connection: Connection, since: datetime) -> Portions:
        size = self._settings.publish_batch_max
        async for records in _portions(connection, self._sql["entries"], size, since):
            yield await self._of_entries(connection, records)
        async for records in _portions(connection, self._sql["not_understood"], size, since):
            yield await self._of_callbacks(records)

    async def _missing(self, connection: Connection, missing: Sequence[Missing]) -> Portions:
        for portion in _batches(missing, self._settings.publish_batch_max):
            entries = [one.id for one in portion if not one.is_callback]
            receipts = [one.id for one in portion if one.is_callback]
            rows = await self._of_entries(connection, await connection.fetch(self._sql["these_entries"], entries))
            rows += await self._of_callbacks(await connection.fetch(self._sql["these_not_understood"], receipts))
            found = {row.id: row for row in rows}
            yield [found[one.id] for one in portion if one.id in found]

    async def _of_entries(self, connection: Connection, records: Sequence[Any]) -> list[OutboxRow]:
        transitions = [Transition(*record) for record in records]
        entities = await self._entities(connection, transitions)
        return [transition_event(t, entities[t.entity_id]) for t in transitions if t.entity_id in entities]

    async def _of_callbacks(self, records: Sequence[Any]) -> list[OutboxRow]:
        envelopes = [(record, Envelope.of_row(record)) for record in records]
        return [_not_understood(*one) async for one in self._readers.read_all(envelopes)]

    async def _entities(self, connection: Connection, transitions: Sequence[Transition]) -> dict[UUID, Entity]:
        found: dict[UUID, Entity] = {}
        for kind, (table, made) in TABLES.items():
            ids = list({t.entity_id for t in transitions if t.entity == kind})
            if ids:
                columns = ", ".join(made._fields)
                rows = await connection.fetch(f"SELECT {columns} FROM {table} WHERE id = ANY($1::uuid[])", ids)  # noqa: S608 - names of ours
                found |= {row["id"]: made(*row) for row in rows}
        return found


def _batches(missing: Sequence[Missing], size: int) -> Iterable[Sequence[Missing]]:
    return (missing[start : start + size] for start in range(0, len(missing), size))


async def _portions(connection: Connection, query: str, size: int, since: datetime) -> AsyncIterator[list[Any]]:
    cursor = await connection.cursor(query, since)
    while rows := await cursor.fetch(size):
        yield rows


def _not_understood(row: Any, letter: ParsedCallback) -> OutboxRow:
    """The message of a callback that fitted no rule then, or could not be read."""
    if row["outcome"] == Outcome.MALFORMED:
        return malformed_event(letter.envelope, row["reason"], row["rule"])
    notification = letter.notification or letter.without_content().notification
    assert notification is not None  # `without_content` always has one
    return unclassified_event(notification, row["reason"], row["rule"])
