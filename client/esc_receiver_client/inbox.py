"""`PostgresInbox`: remembers event ids in the transaction of the consumer's own work, and so makes it exactly once.

JetStream delivers at least once. The id of an event and what was done for it are committed together or not at all; an
event that comes again finds its id and is passed over. Works with a connection of asyncpg; this file must not know what
the work is.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from esc_receiver_client.errors import InboxMissingError
from esc_receiver_client.event import Event

TABLE = "esc_receiver_inbox"
UNDEFINED_TABLE = "42P01"
CREATE = f"""
CREATE TABLE IF NOT EXISTS {TABLE} (
    consumer text NOT NULL,
    id text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, id)
)
"""
ADD = f"INSERT INTO {TABLE} (consumer, id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING true"  # noqa: S608 - a name of ours
FORGET = f"DELETE FROM {TABLE} WHERE consumer = $1 AND at < $2"  # noqa: S608 - likewise


class AsyncpgConnection(Protocol):
    """What is used of asyncpg's connection."""

    async def execute(self, query: str, *args: Any) -> str:
        """Run it."""

    async def fetchval(self, query: str, *args: Any) -> Any:
        """The first value."""

    def is_in_transaction(self) -> bool:
        """Whether there is one."""


class PostgresInbox:
    """The inbox of one consumer; `consumer` is usually the durable's name."""

    def __init__(self, consumer: str) -> None:
        self.consumer = consumer

    async def create(self, connection: AsyncpgConnection) -> None:
        """Make the table, which all consumers of a database share; harmless when it exists."""
        await connection.execute(CREATE)

    async def is_new(self, connection: AsyncpgConnection, event: Event) -> bool:
        """Whether the event was not processed yet; its id is kept from now on, if the transaction is committed.

        To be called first in the transaction of the work. While another process works on the same event, this waits
        for it. Raises ValueError outside a transaction, and InboxMissingError.
        """
        if not connection.is_in_transaction():
            raise ValueError("is_new belongs into the transaction of the work: `async with connection.transaction():`")
        try:
            return bool(await connection.fetchval(ADD, self.consumer, event.id))
        except Exception as error:
            if getattr(error, "sqlstate", "") == UNDEFINED_TABLE:
                raise InboxMissingError(f"there is no table {TABLE}: call PostgresInbox.create once") from error
            raise

    async def forget(self, connection: AsyncpgConnection, before: datetime) -> None:
        """Drop ids kept before this time: later than any redelivery or rebuild of the stream can bring them again."""
        await connection.execute(FORGET, self.consumer, before)
