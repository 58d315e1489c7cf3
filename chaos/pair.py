"""PostgreSQL with a synchronous standby, for one failover: who was primary does not come back.

Must not know what it is used for.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil

from receiver.embedded.servers import EmbeddedPostgres
from receiver.postgres.migrations import migrate
from tests.support.standby import IN_SYNC, demand_standby, standby_of
from tests.support.waiting import until

PATIENCE_S = 30.0


class Pair:
    """Primary and standby, with a migrated database."""

    def __init__(self, folder: Path) -> None:
        self._primary = EmbeddedPostgres(folder / "primary")
        self._folder = folder
        self._standby_port = 0
        self._over = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Pair]:
        """Until the end, whichever of them lives then."""
        self._folder.mkdir(mode=0o711)
        async with self._primary, standby_of(self._primary, self._folder / "standby") as self._standby_port:
            connection = await asyncpg.connect(self._primary.dsn)
            await migrate(connection)
            await demand_standby(connection, "standby")
            await until(partial(connection.fetchval, IN_SYNC), PATIENCE_S)
            await connection.close()
            yield self
            self._signal(signal.SIGKILL)

    @property
    def both(self) -> str:
        """A DSN for whoever wants the one that writes."""
        account = self._primary.dsn.removesuffix("/postgres")
        return f"{account},127.0.0.1:{self._standby_port}/postgres?target_session_attrs=read-write"

    @property
    def dsn(self) -> str:
        """Of the one that writes now."""
        return self._standby_dsn if self._over else self._primary.dsn

    async def fail_over(self, *, silently: bool) -> None:
        """The primary is killed, or says nothing any more and closes nothing; the standby takes its place."""
        if self._over:
            return
        self._signal(signal.SIGSTOP if silently else signal.SIGKILL)
        self._over = True
        connection = await asyncpg.connect(self._standby_dsn)
        assert await connection.fetchval("SELECT pg_promote()")
        await connection.close()

    @property
    def _standby_dsn(self) -> str:
        return urlsplit(self._primary.dsn.replace(f":{self._primary.port}/", f":{self._standby_port}/")).geturl()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(psutil.NoSuchProcess):
            first = psutil.Process(self._primary.pid)
            for process in (first, *first.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)
