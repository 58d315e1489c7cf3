"""What is served where: callbacks and all else on one port, or each on a port of its own.

Must not know what the rooms answer.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from receiver.config.addresses import admin_address
from receiver.config.settings import Settings
from receiver.http.protocol import Limits
from receiver.http.server import HasRoutes, linger, make_app, start_site
from receiver.http.tls import ListenerTls
from receiver.observability.metrics import Metrics

Sockets = Sequence[socket.socket]


class Sites:
    """The ports of one process: `start`, then `stop`; stopping twice is harmless."""

    def __init__(self, settings: Settings, metrics: Metrics, tls: ListenerTls) -> None:
        self._settings = settings
        self._metrics = metrics
        self._tls = tls
        self._limits = Limits(settings)
        self._runners: list[web.AppRunner] = []
        """For callbacks and, where it is apart, for all else."""

    async def start(
        self,
        callbacks: HasRoutes,
        rest: Sequence[HasRoutes],
        on_stop: Callable[[web.Application], Awaitable[None]],
        sockets: tuple[Sockets, Sockets] = ((), ()),
    ) -> None:
        """Serve, on these sockets of both, or where the settings say; `on_stop` ends what keeps connections of the rest
        busy. Raises SetupError when an address cannot be served on."""
        apart = admin_address(self._settings)
        rooms: list[Sequence[HasRoutes]] = [(callbacks,), rest] if apart else [(callbacks, *rest)]
        apps = [make_app(some, self._settings) for some in rooms]
        apps[-1].on_shutdown.append(on_stop)
        try:
            for app, given, address in zip(apps, sockets, (None, apart), strict=False):
                runner = await start_site(
                    app, self._settings, self._metrics, self._tls.context, given, address, self._limits
                )
                self._runners.append(runner)
        except BaseException:
            await self.stop()
            raise

    async def linger(self, linger_s: float) -> None:
        """As `server.linger`, on all of them."""
        await asyncio.gather(*(linger(runner, linger_s) for runner in self._runners))

    async def stop(self) -> None:
        """Take nothing more, and end what is under way."""
        for runner in self._runners:
            await runner.cleanup()

    @property
    def are_apart(self) -> bool:
        """Whether callbacks have a port of their own."""
        return len(self._runners) > 1

    @property
    def url(self) -> str:
        """Where callbacks are posted."""
        return self._url_of(self._runners[0])

    @property
    def admin_url(self) -> str:
        """Where API, board and metrics are."""
        return self._url_of(self._runners[-1])

    def _url_of(self, runner: web.AppRunner) -> str:
        host, port = runner.addresses[0][:2]
        scheme = "https" if self._tls.configured else "http"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
