"""The connection to NATS: opened once, reconnected for ever, with errors of this package's own.

Must not know what is read over it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from nats.aio.client import Client, Srv
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.client import JetStreamContext
from nats.js.errors import NotFoundError

from esc_receiver_client.cancellation import cancellation_kept
from esc_receiver_client.errors import FeedError, FeedUnreachableError, StreamMissingError

CONNECT_S = 3.0
RETRY_S = 0.5
PING_S = 2.0
"""How often a server is asked whether it is there; when two answers are missing, another one is connected to. nats-py's
own two minutes would leave a consumer with a silent server for as long."""
AWAY = (NatsError, OSError, TimeoutError)
"""What nats-py raises when a question has no good answer just now."""


class StreamPlace(NamedTuple):
    """A stream: another one when `created` differs, with numbers of its own."""

    created: datetime | None
    last_sequence: int


class TlsClient(Client):
    """Tells no secret to a server that offers no TLS although TLS was asked for; nats-py would go on without.

    Nor does it leave a connection open when connecting is given up half way, or go on connecting then.
    """

    async def connect(self, *servers: Any, **options: Any) -> None:
        """As the library's."""
        try:
            await super().connect(*servers, **options)
        except BaseException:
            self._abandon()
            raise

    async def _connect_to_server(self, server: Srv) -> None:
        """As the library's, which also forgets a server that took the connection and then said nothing."""
        self._abandon()
        with cancellation_kept():
            await super()._connect_to_server(server)

    async def request(self, *arguments: Any, **options: Any) -> Msg:
        """As the library's, with which a cancellation may be lost."""
        with cancellation_kept():
            return await super().request(*arguments, **options)

    async def _process_connect_init(self) -> None:
        with cancellation_kept():
            await super()._process_connect_init()

    def _abandon(self) -> None:
        if self._transport:
            self._transport.close()  # type: ignore[no-untyped-call]  # the library has no types there

    async def _process_pong(self) -> None:
        """Also one that comes when nobody waits for it any more: by that nats-py would end its reading for good, and
        the connection would look as if it lived."""
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        begins = self.options["tls_handshake_first"] or info.get("tls_required", False)
        if initial_connection and "tls" in self.options and not begins:
            raise NatsError("it offers no TLS, although TLS is asked for")
        await super()._process_info(info, initial_connection)


class Connection:
    """One connection; `options` are those of nats-py's `connect`: `user_credentials`, `tls`, `token` …"""

    def __init__(self, servers: str | Sequence[str], *, name: str, connect_timeout_s: float, **options: Any) -> None:
        self._servers = servers.split(",") if isinstance(servers, str) else list(servers)
        self._name = name
        self._timeout_s = connect_timeout_s
        self._options = {"ping_interval": PING_S, **options}
        self._client: Client | None = None
        self._forbidden = ""
        """What the server said that this user may not do: such questions have no answer, and end by their time."""

    @property
    def client(self) -> Client:
        """That of the open connection. Raises FeedError."""
        if self._client is None:
            raise FeedError("the feed is not open: use `async with EscFeed(…) as feed`")
        return self._client

    @property
    def jetstream(self) -> JetStreamContext:
        """Of the open connection. Raises FeedError."""
        return self.client.jetstream()

    async def open(self) -> None:
        """Raises FeedUnreachableError, which does not show the password that a URL may hold."""
        client, faults = TlsClient(), [""]

        async def note(error: Exception) -> None:
            faults[0] = f": {error}"
            if "permissions violation" in str(error).lower():
                self._forbidden = f" ({error})"

        try:
            async with asyncio.timeout(self._timeout_s):
                await client.connect(
                    self._servers,
                    name=self._name,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=RETRY_S,
                    error_cb=note,
                    **self._options,
                )
        except (*AWAY, ValueError) as error:
            servers = ", ".join(server.strip().rpartition("@")[2] for server in self._servers)
            raise FeedUnreachableError(f"NATS cannot be reached at {servers}{faults[0]}") from error
        self._client = client

    async def close(self) -> None:
        """Send what waits to be sent, and end; harmless when it is not open."""
        if self._client and not self._client.is_closed:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._client.flush()
            except (*AWAY, ValueError):
                pass  # NATS is away: what was not acknowledged is delivered again
            await self._client.close()
        self._client = None

    async def stream(self, name: str) -> StreamPlace:
        """How a stream stands. Raises StreamMissingError and FeedError."""
        try:
            return await self.stream_now(name)
        except NotFoundError as error:
            raise StreamMissingError(f"this NATS has no stream {name}: has a receiver been connected to it?") from error
        except AWAY as error:
            raise FeedError(f"JetStream does not answer: {error}{self._forbidden}") from error

    async def stream_now(self, name: str) -> StreamPlace:
        """The same; raises nats-py's errors."""
        info = await self.jetstream.stream_info(name)
        return StreamPlace(info.created, int(info.state.last_seq))
