"""PgBouncer, Debian's, between a program and PostgreSQL; where it is not installed, tests that need it are skipped."""

from __future__ import annotations

import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from pwd import struct_passwd
from urllib.parse import urlsplit

import psutil
import pytest

from receiver.embedded.child_process import Child, free_port, listens
from receiver.embedded.servers import _account, _give

PGBOUNCER = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
needs_pgbouncer = pytest.mark.skipif(
    not Path(PGBOUNCER).exists(), reason="no PgBouncer on this machine (Debian: apt-get install pgbouncer)"
)
PATIENCE_S = 30
CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = {mode}
{more}
"""


class PgBouncer:
    """One that runs."""

    def __init__(self, folder: Path, server_dsn: str, account: struct_passwd | None) -> None:
        self._folder = folder
        self._server = urlsplit(server_dsn)
        self._account = account
        self._port = free_port()
        self._child: Child
        place = self._server.netloc.rpartition(":")[0]
        self.dsn = self._server._replace(netloc=f"{place}:{self._port}").geturl()
        """PostgreSQL's, through here."""

    async def start(self, mode: str, more: str) -> None:
        """In a pool mode, with `more` lines of configuration."""
        users = self._folder / "users"
        users.write_text(f'"{self._server.username}" "{self._server.password}"\n')
        self.configure(mode, more)
        for path in (self._folder, users, self._folder / "pgbouncer.ini"):
            _give(path, self._account)
        command = (PGBOUNCER, self._folder / "pgbouncer.ini")
        self._child = await Child.spawn(command, log=self._folder / "log", account=self._account)
        assert await self._child.until(partial(listens, self._port), timeout_s=PATIENCE_S), self._child.failure_line()

    def configure(self, mode: str, more: str = "") -> None:
        """For the next start or `reload`."""
        text = CONFIGURATION.format(
            server_port=self._server.port, port=self._port, users=self._folder / "users", mode=mode, more=more
        )
        (self._folder / "pgbouncer.ini").write_text(text)

    def reload(self) -> None:
        """Read the configuration again."""
        psutil.Process(self._child.pid).send_signal(signal.SIGHUP)

    async def stop(self) -> None:
        """At once: asked politely, it waits for its clients."""
        if self._child.running:
            psutil.Process(self._child.pid).terminate()
        await self._child.stop(patience_s=PATIENCE_S)


@asynccontextmanager
async def pooled(dsn: str, folder: Path, mode: str = "session", more: str = "") -> AsyncIterator[PgBouncer]:
    """PgBouncer before this PostgreSQL, in a folder that is made."""
    folder.mkdir(mode=0o711)
    bouncer = PgBouncer(folder, dsn, _account(folder))
    await bouncer.start(mode, more)
    try:
        yield bouncer
    finally:
        await bouncer.stop()
