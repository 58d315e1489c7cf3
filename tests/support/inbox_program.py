"""A consumer that does its work exactly once, as a program that a test can kill."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing

import asyncpg

from esc_receiver_client import EscFeed, PostgresInbox


async def main(nats_url: str, dsn: str) -> None:
    """Write the id of each event into the table `work`, until killed."""
    inbox = PostgresInbox("billing")
    connection = await asyncpg.connect(dsn)
    async with EscFeed(nats_url) as feed, aclosing(feed.batches("billing", ack_wait_s=0.5, prefetch=100)) as batches:
        async for batch in batches:
            async with connection.transaction():
                for event in batch:
                    if await inbox.is_new(connection, event):
                        await connection.execute("INSERT INTO work VALUES ($1)", event.id)
            await batch.ack()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
