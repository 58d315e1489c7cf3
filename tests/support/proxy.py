"""HAProxy, Debian's, with the configuration that is shipped, in front of two receivers."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from receiver.embedded.child_process import free_port
from tests.support.program import CHECKOUT
from tests.support.waiting import until

HAPROXY = shutil.which("haproxy") or "/usr/sbin/haproxy"
SHIPPED = (CHECKOUT / "packaging" / "haproxy.cfg").read_text("utf-8")


class Proxy:
    """A running HAProxy, and the commands of its socket."""

    def __init__(self, url: str, socket: Path, process: asyncio.subprocess.Process) -> None:
        self.url = url
        self._socket = socket
        self._process = process

    def reload(self) -> None:
        """Its configuration is read again, as `systemctl reload haproxy` does: by a process that takes the place of the
        one before."""
        self._process.send_signal(signal.SIGUSR2)

    async def say(self, command: str) -> str:
        """One command of the recipe; HAProxy's answer."""
        reader, writer = await asyncio.open_unix_connection(str(self._socket))
        writer.write(f"{command}\n".encode())
        await writer.drain()
        said = (await reader.read()).decode().strip()
        writer.close()
        return said

    async def column(self, name: str, server: str) -> str:
        """A figure of `show stat` about one server."""
        head, *rows = (await self.say("show stat")).lstrip("# ").splitlines()
        names = head.split(",")
        row = next(row for row in rows if row.startswith(f"receivers,{server},")).split(",")
        return row[names.index(name)]

    async def until(self, name: str, server: str, value: str) -> None:
        """Wait until a figure is so."""

        async def is_so() -> bool:
            return (await self.column(name, server)).startswith(value)

        await until(is_so)


@asynccontextmanager
async def proxying(folder: Path, ports: tuple[int, int], shipped: str = SHIPPED) -> AsyncIterator[Proxy]:
    """The configuration that is shipped, on free ports and a socket in `folder`; run as systemd runs it."""
    front, socket = free_port(), folder / "admin.sock"
    config = folder / "haproxy.cfg"
    text = shipped.replace("/run/haproxy/admin.sock", str(socket)).replace("bind :9000", f"bind 127.0.0.1:{front}")
    config.write_text(
        text.replace("127.0.0.1:9011", f"127.0.0.1:{ports[0]}").replace("127.0.0.1:9012", f"127.0.0.1:{ports[1]}")
    )
    with (folder / "haproxy.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(HAPROXY, "-Ws", "-f", str(config), stdout=log, stderr=log)
    try:

        async def listens() -> bool:
            return socket.exists()

        await until(listens)
        yield Proxy(f"http://127.0.0.1:{front}", socket, process)
    finally:
        process.terminate()
        await process.wait()
