"""Three members of etcd, in which Patroni keeps who leads. Must not know what is kept in them."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from receiver.embedded.child_process import Child, Server, free_port, listens
from receiver.errors import SetupError

MEMBERS = 3
START_TIMEOUT_S = 30.0


class Etcd(Server):
    """One member, from the Debian package `etcd-server`."""

    name = "etcd"

    def __init__(self, folder: Path, peers: Mapping[str, int]) -> None:
        super().__init__(folder)
        self._peers = peers

    @property
    def address(self) -> str:
        """Host and port for clients; valid after `start`."""
        return f"127.0.0.1:{self.port}"

    async def kill(self) -> None:
        """As `kill -9`."""
        os.kill(self.pid, signal.SIGKILL)
        await self.ended()
        await self.stop()

    async def _start(self) -> None:
        clients, peer = f"http://{self.address}", f"http://127.0.0.1:{self._peers[self.folder.name]}"
        options = {
            "name": self.folder.name, "data-dir": self.folder / "data", "log-level": "warn",
            "listen-client-urls": clients, "advertise-client-urls": clients,
            "listen-peer-urls": peer, "initial-advertise-peer-urls": peer,
            "initial-cluster": ",".join(f"{name}=http://127.0.0.1:{port}" for name, port in self._peers.items()),
        }  # fmt: skip
        command = [etcd_program(), *(f"--{name}={value}" for name, value in options.items())]
        self._child = await Child.spawn(command, log=self.folder / "log")
        if not await self._child.until(partial(listens, self.port), timeout_s=START_TIMEOUT_S):
            raise SetupError(f"etcd did not start in {self.folder}: {self._child.failure_line()}")


def members(folder: Path) -> list[Etcd]:
    """All of them, not started yet."""
    peers = {f"etcd-{number}": free_port() for number in range(1, MEMBERS + 1)}
    return [Etcd(folder / name, peers) for name in peers]


def etcd_program() -> str:
    """Raises SetupError where it is not installed."""
    found = shutil.which("etcd")
    if found is None:
        raise SetupError("no etcd on this machine (Debian: apt-get install etcd-server)")
    return found
