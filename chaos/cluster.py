"""Three nats-servers that keep each stream three times, of which the one that leads can be killed.

Must not know what is published, nor who listens.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import nats
import nats.errors
from nats.js.api import ClusterInfo

from receiver.embedded.child_process import free_port, listens
from receiver.embedded.servers import EmbeddedNats
from tests.support.waiting import until

NODES = 3
SECRET = "of-chaos"  # noqa: S105 - for loopback, and for minutes
START_TIMEOUT_S = 30.0
UNREADY = (nats.errors.Error, OSError, TimeoutError)


class Node(EmbeddedNats):
    """One of them."""

    def __init__(self, folder: Path, route: int, routes: Sequence[int]) -> None:
        super().__init__(folder)
        self._route = route
        self._routes = routes

    def _configuration(self) -> dict[str, object]:
        routes = [f"nats://127.0.0.1:{port}" for port in self._routes]
        cluster = {"name": "chaos", "listen": f"127.0.0.1:{self._route}", "routes": routes}
        return super()._configuration() | {"server_name": self.folder.name, "cluster": cluster}


class Cluster:
    """All three; `url` names them all."""

    def __init__(self, folder: Path) -> None:
        routes = [free_port() for _ in range(NODES)]
        self.nodes = [Node(folder / f"node-{number}", route, routes) for number, route in enumerate(routes)]

    @property
    def url(self) -> str:
        """For clients; valid while it runs."""
        return ",".join(node.url for node in self.nodes)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Cluster]:
        """From an empty store, with a leader."""
        async with AsyncExitStack() as undo:
            for node in self.nodes:
                node.folder.mkdir(parents=True)
                (node.folder / "password").write_text(SECRET)
                await undo.enter_async_context(node)
            await until(self._answers, START_TIMEOUT_S)
            yield self

    async def kill_leader(self, stream: str) -> Node | None:
        """The one that leads this stream; None when nobody does just now."""
        node = await self.leader(stream)
        if node is not None:
            os.kill(node.pid, signal.SIGKILL)
            await node.ended()
        return node

    async def leader(self, stream: str) -> Node | None:
        """The one that leads this stream; None when nobody does just now."""
        name = (await self.standing(stream)).leader
        return next((node for node in self.nodes if node.folder.name == name), None)

    def signal(self, node: Node, number: signal.Signals) -> None:
        """Send it one; harmless when it has ended."""
        with suppress(ProcessLookupError):
            os.kill(node.pid, number)

    async def heal(self) -> None:
        """All run and answer."""
        for node in self.nodes:
            if not listens(node.port):
                await node.start()
        await until(self._answers, START_TIMEOUT_S)

    async def standing(self, stream: str) -> ClusterInfo:
        """Who leads this stream and who follows; empty when nobody says."""
        try:
            client = await nats.connect(self.url.split(","), connect_timeout=1, max_reconnect_attempts=0)
            try:
                info = await client.jetstream(timeout=1).stream_info(stream)
            finally:
                await client.close()
        except UNREADY:
            return ClusterInfo()
        return info.cluster or ClusterInfo()

    async def _answers(self) -> bool:
        try:
            client = await nats.connect(self.url.split(","), connect_timeout=1, max_reconnect_attempts=0)
            try:
                await client.jetstream(timeout=1).account_info()
            finally:
                await client.close()
        except UNREADY:
            return False
        return True
