"""The connection to NATS: opened when it is first needed, and again when the client gives up.

NATS may be unavailable at start and at any time later; `client` raises after a limited wait then. This file must not
know what is published.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import suppress

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError

from receiver.config.settings import Settings
from receiver.errors import DisconnectedError, SettingsError, describe
from receiver.observability.metrics import Metrics
from receiver.publishing.nats_access import NatsAccess
from receiver.publishing.nats_client import NatsClient, explained

log = structlog.get_logger()

CUT_OFF = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)
"""Who closes at once may cut off what he has to say of a certificate: what he said of it before holds."""


class Broker:
    """One connection to NATS, for one event loop; `close` ends it."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._access = NatsAccess.of(settings)
        self._metrics = metrics
        self.connections = 0
        """How often it was connected: each time the broker may be another one."""
        self._client: Client | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self._tried = asyncio.Event()
        """It is connected, or could not be."""
        self._logged = ""
        self._fault: Exception | None = None
        """Why it is not connected, as far as is known."""
        self._forbidden = False
        """Something was, since NATS was connected."""

    def check(self) -> None:
        """Raises SettingsError, a line for each setting or file that no connection could be made with."""
        self._access.checked()

    @property
    def is_up(self) -> bool:
        """Whether NATS is connected now."""
        return self._up.is_set()

    async def client(self) -> Client:
        """The connected client; waits for it as long as `nats_connect_timeout_s`, then raises DisconnectedError."""
        while self._client is None or not self._up.is_set():
            await self._wait(self._up)
        return self._client

    async def ping(self) -> None:
        """Ask NATS for an answer. Raises DisconnectedError, as soon as it is known that NATS cannot be reached."""
        if not self.is_up:
            await self._wait(self._tried)
        if self._fault:
            raise self._unreachable()
        client = await self.client()
        try:
            await client.rtt()
        except (NatsError, OSError) as error:
            raise DisconnectedError(f"NATS does not answer: {describe(error)}") from error

    async def close(self) -> None:
        """End the connection; harmless when there is none."""
        if self._connecting:
            self._connecting.cancel()
            with suppress(asyncio.CancelledError, NatsError, OSError):
                await self._connecting
        self._logged = ""  # so that the end of the connection is not logged as a failure
        if self._client and not self._client.is_closed:
            await self._client.close()
        self._client = None

    async def _wait(self, event: asyncio.Event) -> None:
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect(), name="connect to NATS")
        try:
            async with asyncio.timeout(self._settings.nats_connect_timeout_s):
                await event.wait()
        except TimeoutError:
            raise self._unreachable() from None

    def _unreachable(self) -> DisconnectedError:
        return DisconnectedError(f"NATS cannot be reached: {explained(self._fault) if self._fault else 'no answer'}")

    async def _connect(self) -> None:
        """Returns when connected; nats-py tries for ever. A client that lost its connection reconnects by itself."""
        if self._client is None or self._client.is_closed:
            try:
                self._client = await self._connected()
                await self._on_up()
            except (NatsError, OSError, ValueError, ImportError, SettingsError) as error:  # also a bad address
                await self._on_error(error)

    async def _connected(self) -> Client:
        client = NatsClient(self._access)
        timeout_s, ping_s = self._settings.nats_connect_timeout_s, self._settings.nats_ping_s
        await client.open("esc-receiver", timeout_s, ping_s, self._on_error, self._on_up, self._on_down)
        return client

    async def _on_up(self) -> None:
        self._up.set()
        self._tried.set()
        self.connections += 1
        self._metrics.nats_up.set(1)
        self._log_change("NATS is connected")
        self._fault = None
        self._forbidden = False

    async def _on_down(self) -> None:
        self._up.clear()
        self._tried.clear()
        self._metrics.nats_up.set(0)
        if self._logged == "NATS is connected":
            self._log_change("NATS is not connected")

    async def _on_error(self, error: Exception) -> None:
        if isinstance(error, SettingsError):
            log.error("the files for NATS are wrong; the ones read before stay in use", why=str(error))
            return
        if self._up.is_set():
            self._tell_forbidden(error)
            return
        if not (isinstance(self._fault, ssl.SSLError) and isinstance(error, CUT_OFF)):
            self._fault = error
        self._tried.set()
        if not self._logged:
            self._log_change("NATS cannot be reached; trying on", error=explained(error))

    def _tell_forbidden(self, error: Exception) -> None:
        """Of what is published or asked for in one go the server forbids each, and one line is enough."""
        if not self._forbidden and "permissions violation" in str(error).lower():
            log.warning("NATS does not allow something to this user", why=describe(error))
            self._forbidden = True

    def _log_change(self, event: str, **facts: str) -> None:
        """Log each change once, however often it is tried in between."""
        if event != self._logged:
            log.log(logging.INFO if self._up.is_set() else logging.WARNING, event, **facts)
        self._logged = event
