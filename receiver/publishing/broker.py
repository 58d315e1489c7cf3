"""The connection to NATS: opened when it is first needed, and again when the client gives up.

NATS may be unavailable at start and at any time later; `client` raises after a limited wait then. This file must not
know what is published.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import structlog
from nats.aio.client import Client, RawCredentials
from nats.errors import Error as NatsError

from receiver.config.settings import Settings
from receiver.errors import DisconnectedError, describe
from receiver.observability.metrics import Metrics

RECONNECT_WAIT_S = 0.5

log = structlog.get_logger()


class Broker:
    """One connection to NATS, for one event loop; `close` ends it."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self.connections = 0
        """How often it was connected: each time the broker may be another one."""
        self._client: Client | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self._logged = ""
        self._last_error = ""

    @property
    def is_up(self) -> bool:
        """Whether NATS is connected now."""
        return self._up.is_set()

    async def client(self) -> Client:
        """The connected client; waits for it as long as `nats_connect_timeout_s`, then raises DisconnectedError."""
        while self._client is None or not self._up.is_set():
            await self._wait()
        return self._client

    async def ping(self) -> None:
        """Ask NATS for an answer. Raises DisconnectedError."""
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

    async def _wait(self) -> None:
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect(), name="connect to NATS")
        try:
            async with asyncio.timeout(self._settings.nats_connect_timeout_s):
                await self._up.wait()
        except TimeoutError:
            raise DisconnectedError(f"NATS cannot be reached: {self._last_error or 'no answer'}") from None

    async def _connect(self) -> None:
        """Returns when connected; nats-py tries for ever. A client that lost its connection reconnects by itself."""
        if self._client is None or self._client.is_closed:
            try:
                self._client = await self._connected()
                await self._on_up()
            except (NatsError, OSError, ValueError, ImportError) as error:  # also a bad address or bad credentials
                await self._on_error(error)

    async def _connected(self) -> Client:
        credentials = self._settings.nats_credentials
        client = Client()
        await client.connect(
            [server.strip() for server in self._settings.nats_url.split(",")],
            name="esc-receiver",
            connect_timeout=self._settings.nats_connect_timeout_s,  # type: ignore[arg-type]  # seconds, whole or not
            reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type]  # likewise
            max_reconnect_attempts=-1,
            user_credentials=RawCredentials(credentials) if credentials else None,
            error_cb=self._on_error,
            disconnected_cb=self._on_down,
            closed_cb=self._on_down,
            reconnected_cb=self._on_up,
        )
        return client

    async def _on_up(self) -> None:
        self._up.set()
        self.connections += 1
        self._metrics.nats_up.set(1)
        self._log_change("NATS is connected")
        self._last_error = ""

    async def _on_down(self) -> None:
        self._up.clear()
        self._metrics.nats_up.set(0)
        if self._logged == "NATS is connected":
            self._log_change("NATS is not connected")

    async def _on_error(self, error: Exception) -> None:
        self._last_error = describe(error)
        if not self._logged:
            self._log_change("NATS cannot be reached; trying on", error=self._last_error)

    def _log_change(self, event: str, **facts: str) -> None:
        """Log each change once, however often it is tried in between."""
        if event != self._logged:
            log.log(logging.INFO if self._up.is_set() else logging.WARNING, event, **facts)
        self._logged = event
