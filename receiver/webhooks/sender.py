"""One delivery: an event posted to a webhook, signed, and what came of it.

Redirects are not followed, no proxy of the environment is used, and little of an answer is read. Must not know order,
retries or the stream.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import NamedTuple, Self

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, hdrs

from receiver import __version__
from receiver.config.settings import Settings
from receiver.config.webhook_settings import Webhook
from receiver.errors import SettingsError, describe
from receiver.model.sanitize import plain, sanitize
from receiver.observability.labels import Attempt
from receiver.tls.tls_files import TlsFileError, load_authority
from receiver.webhooks.address_guard import AddressGuard, RefusedAddressError
from receiver.webhooks.backoff import asked_pause_s
from receiver.webhooks.signatures import signed_headers

SHOWN_MAX = 200
"""Characters of an answer that are told."""
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"


class Result(NamedTuple):
    """What came of a delivery."""

    attempt: Attempt
    said: str
    """For people: what the webhook answered, or why it did not."""
    status: int | None = None
    asked_pause_s: float = 0.0
    """The rest that it asked for."""
    took_s: float = 0.0


class Sender:
    """Posts to one webhook; a context, which keeps connections open."""

    def __init__(self, webhook: Webhook, settings: Settings) -> None:
        self._webhook = webhook
        self._settings = settings
        self._keys = webhook.keys
        self._session: ClientSession

    async def __aenter__(self) -> Self:
        """Raises SettingsError for a file of authorities that cannot be used."""
        settings = self._settings
        connector = TCPConnector(
            ssl=trusted(self._webhook), limit=settings.webhook_concurrency_max, use_dns_cache=False,
            socket_factory=AddressGuard(settings.webhook_allow).make_socket,
        )  # fmt: skip
        self._session = ClientSession(
            connector=connector, timeout=ClientTimeout(total=settings.webhook_timeout_s), cookie_jar=DummyCookieJar(),
            trust_env=False, auto_decompress=False, headers={hdrs.USER_AGENT: f"esc-receiver/{__version__}"},
        )  # fmt: skip
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def send(self, message_id: str, body: bytes) -> Result:
        """Once; never raises for what the network or the webhook does."""
        started_s = time.monotonic()
        try:
            result = await self._post(message_id, body)
        except TimeoutError:
            result = Result(Attempt.TIMEOUT, f"no answer within {self._settings.webhook_timeout_s:g} s")
        except (ClientError, OSError, ValueError) as error:
            result = _failure(error)
        return result._replace(took_s=time.monotonic() - started_s)

    async def _post(self, message_id: str, body: bytes) -> Result:
        headers = signed_headers(message_id, int(time.time()), body, self._keys) | {hdrs.CONTENT_TYPE: CONTENT_TYPE}
        async with self._session.post(self._webhook.url, data=body, headers=headers, allow_redirects=False) as response:
            if response.status // 100 == 2:
                await self._read(response)  # so that the connection can be used again
                return Result(Attempt.DELIVERED, f"{response.status} {response.reason}", response.status)
            return await self._not_taken(response)

    async def _not_taken(self, response: ClientResponse) -> Result:
        asked = asked_pause_s(
            response.headers.get(hdrs.RETRY_AFTER), datetime.now(UTC), self._settings.webhook_retry_after_max_s
        )
        text = (await self._read(response)).decode(errors="replace")
        said = plain(sanitize(f"{response.status} {response.reason}: {text.strip()}"[:SHOWN_MAX])).rstrip(": ")
        attempt = {3: Attempt.REDIRECTED}.get(response.status // 100, Attempt.REFUSED)
        if attempt is Attempt.REDIRECTED:
            said = f"{said} (redirects are not followed)"
        return Result(Attempt.GONE if response.status == 410 else attempt, said, response.status, asked)

    async def _read(self, response: ClientResponse) -> bytes:
        """Up to the limit; a longer answer costs its connection."""
        most, found = self._settings.webhook_response_bytes_max, b""
        try:
            while len(found) <= most and (part := await response.content.read(most + 1 - len(found))):
                found += part
        except (ClientError, OSError):  # its status has told already
            response.close()
        if len(found) > most:
            response.close()
        return found[:most]


def _failure(error: Exception) -> Result:
    """Why there was no answer."""
    for one in _with_causes(error):
        if isinstance(one, RefusedAddressError):
            return Result(Attempt.ADDRESS_REFUSED, str(one))
        if isinstance(one, ssl.SSLCertVerificationError) and (why := getattr(one, "verify_message", "")):
            return Result(Attempt.UNREACHABLE, f"its certificate is not accepted: {why}")
    return Result(Attempt.UNREACHABLE, plain(describe(error))[:SHOWN_MAX])


def _with_causes(error: BaseException) -> list[BaseException]:
    """The error, those of which it was made, and those of a group."""
    found, waiting = list[BaseException](), [error]
    while waiting and len(found) < 32:
        one = waiting.pop(0)
        found.append(one)
        waiting += [cause for cause in (one.__cause__, one.__context__, getattr(one, "os_error", None)) if cause]
        waiting += getattr(one, "exceptions", ())
    return found


def trusted(webhook: Webhook) -> ssl.SSLContext | bool:
    """Who may sign its certificate; True: the system's authorities. Raises SettingsError for a file that is no use."""
    if webhook.ca_file is None:
        return True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        load_authority(context, "webhooks", webhook.ca_file)
    except TlsFileError as error:
        raise SettingsError(str(error)) from error
    return context


async def send_once(webhook: Webhook, settings: Settings, message_id: str, body: bytes) -> Result:
    """One delivery with a connection of its own."""
    async with Sender(webhook, settings) as sender, asyncio.timeout(2 * settings.webhook_timeout_s):
        return await sender.send(message_id, body)
