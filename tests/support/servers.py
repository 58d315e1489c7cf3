"""The PostgreSQL and NATS that the tests of one process share, and what they need of the folders they live in.

Their content dies with the process, so this PostgreSQL does not wait for the disk. A test about durability, or one that
stops a server, starts its own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from receiver.embedded.servers import EmbeddedNats, EmbeddedPostgres

NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "256MB"}
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
ROOM_BYTES = 8 * 2**30


@dataclass(frozen=True, slots=True)
class Servers:
    """Where both listen, with their secrets in the URLs."""

    postgres_dsn: str
    nats_url: str
    pids: tuple[int, int]


@asynccontextmanager
async def started(folder: Path) -> AsyncIterator[Servers]:
    """Both servers in `folder`, until the context is left."""
    postgres, nats = EmbeddedPostgres(folder / "postgres", options=NOT_DURABLE), EmbeddedNats(folder / "nats")
    async with postgres, nats:
        await _cheapen_login(postgres.dsn)
        yield Servers(postgres.dsn, nats.url, (postgres.pid, nats.pid))


async def _cheapen_login(dsn: str) -> None:
    """Hash the password once rather than 4,096 times: the tests log in ten thousand times."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("SET scram_iterations = 1")
    await connection.execute(f"ALTER USER postgres PASSWORD '{urlsplit(dsn).password}'")
    await connection.close()


def memory() -> Path | None:
    """A file system that is in memory, where it has room and lets programs be run: a database is made there in a sixth
    of the time. Tests kill processes, never the machine, so that what it keeps is what a disk keeps.
    """
    try:
        roomy = shutil.disk_usage(IN_MEMORY).free >= ROOM_BYTES
        runs_programs = not os.statvfs(IN_MEMORY).f_flag & os.ST_NOEXEC
    except (AttributeError, OSError):  # not Linux
        return None
    return IN_MEMORY if "TMPDIR" not in os.environ and roomy and runs_programs else None


def passable(folder: Path) -> Path:
    """Let `nobody` pass through a folder of pytest's: run by root, PostgreSQL is `nobody`."""
    if os.geteuid() == 0:
        for step in (folder, *folder.parents):
            if not step.stat().st_mode & 0o001:
                step.chmod(step.stat().st_mode | 0o011)
    return folder


def database_dsn(dsn: str, database: str) -> str:
    """The DSN of another database on the same server."""
    return urlsplit(dsn)._replace(path=f"/{database}").geturl()
