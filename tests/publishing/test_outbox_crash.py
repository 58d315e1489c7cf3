"""What the relay knows of its stream, after a crash of PostgreSQL."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import asyncpg

from receiver.config.settings import Settings
from receiver.embedded.servers import EmbeddedPostgres
from receiver.postgres.migrations import migrate
from receiver.publishing.outbox import Outbox


async def test_the_stream_it_adopted_is_remembered(tmp_path: Path) -> None:
    """Killed at once: else what was published meanwhile would be published again, as if it were not there."""
    async with EmbeddedPostgres(tmp_path / "postgres", options={"wal_writer_delay": "10s"}) as postgres:
        connection = await asyncpg.connect(postgres.dsn)
        await migrate(connection)
        await connection.close()
        outbox = Outbox(lambda: asyncpg.connect(postgres.dsn), Settings(), lambda: None)
        assert await outbox.elect()
        adopted = await outbox.adopt("ESC@then", 5)
        os.kill(postgres.pid, signal.SIGKILL)
        await postgres.ended()
        outbox.drop()
        await postgres.start()
        assert await outbox.elect()
        assert await outbox.progress() == adopted
        assert (adopted.stream, adopted.sequence, adopted.message_id) == ("ESC@then", 5, None)
        await outbox.close()
