"""The client of NATS: TLS read again at each connection, and what the server forbids said at once.

nats-py hears of a forbidden request and lets it wait for its timeout. Must not know what is asked of NATS.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from esc_receiver_client.connection import TlsClient
from receiver.errors import SettingsError, describe
from receiver.publishing.nats_access import NatsAccess

RECONNECT_WAIT_S = 0.5
_FORBIDDEN = "permissions violation"
_LISTENING = "permissions violation for subscription"

Listener = Callable[[], Awaitable[None]]
OnError = Callable[[Exception], Awaitable[None]]


class ForbiddenError(NatsError):
    """NATS does not allow this user to publish or to subscribe there."""


class PlainServerError(NatsError):
    """TLS was asked for, and the server offers none."""


async def nobody_listens() -> None:
    """A listener that does nothing."""


class NatsClient(TlsClient):
    """The consumers' kit's, whose requests end at once when the server forbids them."""

    def __init__(self, access: NatsAccess) -> None:
        """Raises SettingsError for files that cannot be used."""
        super().__init__()
        self._access = access
        self._options = access.options()
        self._on_error: OnError
        self._requests: dict[asyncio.Future[Msg], str] = {}
        self._denied: dict[asyncio.Future[Msg], str] = {}
        self._deaf = ""
        """Why no answer can be heard; empty: answers can."""

    async def open(
        self,
        name: str,
        connect_timeout_s: float,
        ping_s: float,
        on_error: OnError,
        on_up: Listener = nobody_listens,
        on_down: Listener = nobody_listens,
    ) -> None:
        """Connect, however often that takes; `on_error` hears why it fails, and what the server forbids later."""
        self._on_error = on_error

        async def up() -> None:
            self._deaf = ""
            await on_up()

        async def down() -> None:
            await self._read_files_again()
            await on_down()

        await self.connect(
            self._access.servers,
            name=name,
            connect_timeout=connect_timeout_s,
            reconnect_time_wait=RECONNECT_WAIT_S,
            ping_interval=ping_s,
            max_reconnect_attempts=-1,
            **self._options,
            error_cb=self._heard,
            disconnected_cb=down,
            closed_cb=down,
            reconnected_cb=up,
        )

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: float = 0.5,
        old_style: bool = False,
        headers: dict[str, Any] | None = None,
    ) -> Msg:
        """As the library's. Raises ForbiddenError, too."""
        if self._deaf:
            raise ForbiddenError(self._deaf)
        asked = asyncio.ensure_future(super().request(subject, payload, timeout, old_style, headers))
        self._requests[asked] = subject
        try:
            return await asked
        except asyncio.CancelledError:
            if why := self._denied.pop(asked, None):
                raise ForbiddenError(why) from None
            asked.cancel()
            raise
        finally:
            del self._requests[asked]

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """Before anything secret is sent: a server that offers no TLS, although we want it, is the wrong one."""
        begins = self._access.tls_first or info.get("tls_required", False)
        if initial_connection and self._access.wants_tls and not begins:
            raise PlainServerError("it offers no TLS, although TLS is asked for (NATS_URL or NATS_…_FILE)")
        await super()._process_info(info, initial_connection)

    async def _heard(self, error: Exception) -> None:
        if not self._ends_requests(str(error)):
            await self._on_error(error)

    def _ends_requests(self, error: str) -> bool:
        """Whether the server forbids what a request waits for: then it ends. (nats-py gives it in lower case.)"""
        said = error.lower()
        if _FORBIDDEN not in said:
            return False
        if _LISTENING in said and "_inbox." in said:
            self._deaf = f'Permissions Violation for Subscription to "{self._inbox_prefix.decode()}.>"'
        denied = [asked for asked, subject in self._requests.items() if self._deaf or f'"{subject.lower()}"' in said]
        for asked in denied:
            self._denied[asked] = self._deaf or f'Permissions Violation for Publish to "{self._requests[asked]}"'
            asked.cancel()
        return bool(denied)

    async def _read_files_again(self) -> None:
        """The next handshake shows the certificate that lies there then; one that is unusable changes nothing."""
        if self._options["tls"] is None or self.is_closed:
            return
        try:
            self.options["tls"] = self._access.checked()
        except SettingsError as error:
            await self._on_error(error)


def explained(error: Exception) -> str:
    """Why NATS cannot be connected to; what is wrong with a certificate in words."""
    said = str(error).upper().replace(" ", "_")
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not accepted: {error.verify_message} (NATS_CA_FILE says who may sign it)"
        case ssl.SSLError() if "WRONG_VERSION_NUMBER" in said or "RECORD_LAYER" in said:
            return "it does not begin with TLS: NATS_TLS_FIRST is for servers with handshake_first"
        case ssl.SSLError() if "CERTIFICATE_REQUIRED" in said:
            return "it asks for a client certificate: NATS_CERT_FILE and NATS_KEY_FILE"
        case ssl.SSLError() if "ALERT" in said:
            return f"it does not accept our certificate (NATS_CERT_FILE): {error.reason or error}"
        case _:
            return describe(error)
