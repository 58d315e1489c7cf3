"""Three PostgreSQL under Patroni, with synchronous replication. Must not know what is stored in them.

A node is Patroni with its PostgreSQL: what strikes a machine strikes both.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psutil

from receiver.embedded.child_process import Child, Server, free_port, listens
from receiver.embedded.private_files import write_private
from receiver.embedded.servers import bundled_postgres
from receiver.errors import SetupError
from tests.support.waiting import until

NODES = 3
START_TIMEOUT_S = 90.0
ASK_TIMEOUT_S = 2.0
DCS: dict[str, Any] = {
    "ttl": 20, "loop_wait": 2, "retry_timeout": 4, "maximum_lag_on_failover": 1_048_576,
    "synchronous_mode": True, "failsafe_mode": True,
    "postgresql": {
        "use_pg_rewind": True, "use_slots": True,
        "parameters": {
            "max_connections": 60, "shared_buffers": "64MB", "max_wal_size": "1GB", "wal_keep_size": "256MB",
            "jit": "off", "unix_socket_directories": "", "dynamic_shared_memory_type": "mmap",
        },
    },
}  # fmt: skip
"""What all agree on. 20 s is the least `ttl` that Patroni takes: so long a leader that says nothing is waited for."""


class PostgresNode(Server):
    """One of them."""

    name = "Patroni"

    def __init__(self, folder: Path, etcd: Sequence[str], secret: str) -> None:
        super().__init__(folder)
        self._etcd = etcd
        self._secret = secret
        self._rest = free_port()

    @property
    def address(self) -> str:
        """Host and port of PostgreSQL; valid after `start`."""
        return f"127.0.0.1:{self.port}"

    @property
    def rest_url(self) -> str:
        """Of Patroni."""
        return f"http://127.0.0.1:{self._rest}"

    def postmaster(self) -> psutil.Process | None:
        """PostgreSQL's first process, while there is one."""
        with suppress(OSError, ValueError, IndexError, psutil.NoSuchProcess):
            process = psutil.Process(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]))
            if str(self.folder) in " ".join(process.cmdline()):
                return process
        return None

    def processes(self) -> list[psutil.Process]:
        """All of this machine."""
        found: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(self.pid))
        if first := self.postmaster():
            with suppress(psutil.NoSuchProcess):
                found += [first, *first.children(recursive=True)]
        return found

    def signal_all(self, number: signal.Signals) -> None:
        """To the machine as a whole."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    async def kill(self) -> None:
        """As if the machine lost power; harmless when it has none."""
        if self._child and self._child.running:
            self.signal_all(signal.SIGKILL)
            await self.ended()
        if first := self.postmaster():
            first.kill()
        await self.stop()

    async def _start(self) -> None:
        write_private(self.folder / "patroni.json", orjson.dumps(self._configuration()).decode())
        command = [*_not_as_root(), sys.executable, "-m", "patroni", str(self.folder / "patroni.json")]
        self._child = await Child.spawn(command, log=self.folder / "log")
        if not await self._child.until(lambda: listens(self._rest), timeout_s=START_TIMEOUT_S):
            raise SetupError(f"Patroni did not start in {self.folder}: {self._child.failure_line()}")

    def _configuration(self) -> dict[str, Any]:
        rest = self.rest_url.removeprefix("http://")
        accounts = {"superuser": "postgres", "replication": "replicator"}
        return {
            "scope": "esc", "name": self.folder.name,
            "restapi": {"listen": rest, "connect_address": rest},
            "etcd3": {"hosts": list(self._etcd)},
            "bootstrap": {"dcs": DCS, "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, "data-checksums"]},
            "postgresql": {
                "listen": self.address, "connect_address": self.address, "data_dir": str(self.folder / "data"),
                "bin_dir": str(bundled_postgres()), "pgpass": str(self.folder / "pgpass"),
                "authentication": {
                    kind: {"username": name, "password": self._secret} for kind, name in accounts.items()
                },
                "pg_hba": [
                    "host all all 127.0.0.1/32 scram-sha-256", "host replication replicator 127.0.0.1/32 scram-sha-256",
                ],
            },
        }  # fmt: skip


class PostgresCluster:
    """All three."""

    def __init__(self, folder: Path, etcd: Sequence[str]) -> None:
        self._secret = secrets.token_urlsafe(16)
        self.nodes = [PostgresNode(folder / f"pg-{number}", etcd, self._secret) for number in range(1, NODES + 1)]

    def dsn(self, database: str) -> str:
        """For whoever wants the one that writes."""
        hosts = ",".join(node.address for node in self.nodes)
        return f"postgresql://postgres:{self._secret}@{hosts}/{database}?target_session_attrs=read-write"

    async def leader(self, session: aiohttp.ClientSession) -> PostgresNode | None:
        """Who leads, as Patroni says; None when nobody does just now."""
        for node in self.nodes:
            if await _told(session, f"{node.rest_url}/primary") is not None:
                return node
        return None

    async def is_whole(self, session: aiohttp.ClientSession) -> bool:
        """Whether there is a leader, two that follow it, and one of them synchronously."""
        for node in self.nodes:
            if told := await _told(session, f"{node.rest_url}/cluster"):
                states = sorted((member["role"], member["state"]) for member in told["members"])
                return states == [("leader", "running"), ("replica", "streaming"), ("sync_standby", "streaming")]
        return False

    async def switch_over(self, session: aiohttp.ClientSession) -> None:
        """On purpose, to the synchronous standby. Raises OSError when Patroni will not."""
        leader = await self.leader(session)
        if leader is None:
            raise ConnectionRefusedError("nobody leads")
        timeout = aiohttp.ClientTimeout(total=START_TIMEOUT_S)
        request = {"leader": leader.folder.name}
        async with session.post(f"{leader.rest_url}/switchover", json=request, timeout=timeout) as answer:
            if answer.status != 200:
                raise OSError(await answer.text())

    async def start(self) -> None:
        """The first alone, so that it is the one who makes the cluster; then the others. All are whole then."""
        async with aiohttp.ClientSession() as session:
            await self.nodes[0].start()
            await until(lambda: _leads(self, session), START_TIMEOUT_S)
            for node in self.nodes[1:]:
                await node.start()
            await until(lambda: self.is_whole(session), START_TIMEOUT_S)


async def _leads(cluster: PostgresCluster, session: aiohttp.ClientSession) -> bool:
    return await cluster.leader(session) is not None


async def _told(session: aiohttp.ClientSession, url: str) -> Any:
    """What Patroni answers with 200; None when it says no, or nothing."""
    try:
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=ASK_TIMEOUT_S)) as answer:
            return await answer.json(content_type=None) if answer.status == 200 else None
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return None


def _not_as_root() -> list[str]:
    """PostgreSQL refuses to run as root: to Patroni and its children we are `nobody`, with root's files as nobody's.

    A namespace of users rather than another user, who could not read an interpreter that lies in root's home.
    """
    if os.geteuid() != 0:
        return []
    unshare = shutil.which("unshare")
    if unshare is None:
        raise SetupError("started by root, Patroni needs unshare (Debian: util-linux): PostgreSQL refuses to be root")
    return [unshare, "--user", "--map-user=65534", "--map-group=65534"]
