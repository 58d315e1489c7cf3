"""Export and verification as commands run them: with a connection to PostgreSQL, where one is needed.

Must not know the format, nor the command line.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from receiver.archive.against_ledger import noting
from receiver.archive.exporter import Export, Exported, Report
from receiver.archive.ledger_pages import Ledger
from receiver.archive.verification import Published, Verification, Verified
from receiver.config.settings import Settings
from receiver.errors import SetupError, describe
from receiver.postgres.database import connect
from receiver.postgres.driver_errors import UNUSABLE


async def export(settings: Settings, work: Export, *, publish: bool) -> Exported:
    """One segment; with `publish` its days' heads go to the outbox, and with the next turn of the relay to the feed."""
    async with _ledger(settings) as ledger:
        done = await work.run(ledger)
        if publish and done.segment:
            await ledger.post(done.event(await ledger.database_id(), datetime.now(UTC)))
        return done


async def verify(
    folder: Path, report: Report, *, key: str | None, published: Published, settings: Settings | None
) -> Verified:
    """All of an archive; with `settings` it is compared with the ledger there."""
    if settings is None:
        return Verification(folder, report, key, published).run()
    with noting() as archived:
        found = Verification(folder, report, key, published, archived.note).run()
        async with _ledger(settings) as ledger:
            return found._replace(compared=await archived.compare(ledger, found.findings, report))


@asynccontextmanager
async def _ledger(settings: Settings) -> AsyncIterator[Ledger]:
    try:
        connection = await connect(settings)
        try:
            yield Ledger(connection)
        finally:
            await connection.close()
    except UNUSABLE as error:
        raise SetupError(f"PostgreSQL cannot be read (ESC_RECEIVER_POSTGRES_DSN): {describe(error)}") from error
