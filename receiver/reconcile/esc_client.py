"""The northbound API of one ESC, as a client: `GET v0/deployments`, one deployment, and ESC's report of its health.

Never more than so many questions a second; a redirect is not followed, an answer is not read beyond its limit, and
the password is in no message. Whatever goes wrong is one CannotAskError whose text is one line. Must not know what an
answer means.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

import aiohttp
from yarl import URL

from receiver.config.esc_access import EscAccess
from receiver.config.settings import Settings
from receiver.errors import CannotAskError, NotAuthorisedError

HEALTH_CHARACTERS_MAX: Final = 1_024
_CHUNK: Final = 65_536


class Reply(NamedTuple):
    """An answer: 200 with its body, or 404."""

    status: int
    content_type: str
    body: bytes


class EscClient:
    """Asks one ESC."""

    def __init__(self, access: EscAccess, settings: Settings) -> None:
        self._access = access
        self._bytes_max = settings.reconcile_bytes_max
        self._timeout = aiohttp.ClientTimeout(total=settings.reconcile_timeout_s)
        self._pause_s = 1 / settings.reconcile_rate_per_s
        self._next_s = 0.0
        self._turn = asyncio.Lock()

    @property
    def host(self) -> str | None:
        """Who is asked."""
        return URL(self._access.url).host

    async def deployments(self) -> Reply:
        """All of them. Raises CannotAskError."""
        reply = await self._get(f"{self._access.url}/v0/deployments")
        if reply.status == 404:
            raise CannotAskError(f"{self._access.url}/v0/deployments is not there (404); is the url right?")
        return reply

    async def deployment(self, internal_id: str) -> Reply:
        """One. Its id is made of safe characters. Raises CannotAskError."""
        return await self._get(f"{self._access.url}/v0/deployments/{quote(internal_id, safe='')}")

    async def health(self) -> str | None:
        """What ESC reports of itself, as text, or why it does not; None when nobody said where to ask."""
        if self._access.health_url is None:
            return None
        try:
            reply = await self._get(self._access.health_url)
        except CannotAskError as error:
            return f"no report: {error}"
        return reply.body.decode("utf-8", "replace").replace("\0", "")[:HEALTH_CHARACTERS_MAX]

    async def _get(self, url: str) -> Reply:
        await self._wait_for_turn()
        headers = {"Accept": "application/xml", **_auth(self._access)}
        try:
            connector = aiohttp.TCPConnector(ssl=_context(self._access), force_close=True)
            async with (
                aiohttp.ClientSession(connector=connector, timeout=self._timeout, headers=headers) as session,
                session.get(URL(url, encoded=True), allow_redirects=False) as answer,
            ):
                _check(answer, url)
                return Reply(answer.status, answer.content_type, await self._read(answer))
        except TimeoutError:
            raise CannotAskError(f"no answer within reconcile_timeout_s ({self._timeout.total:g} s)") from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise CannotAskError(f"its certificate is not trusted: {_why(error.certificate_error)} (ca_file)") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise CannotAskError(f"it cannot be asked: {_why(error)}") from None

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        pieces, length = [], 0
        async for piece in answer.content.iter_chunked(_CHUNK):
            length += len(piece)
            if length > self._bytes_max:
                raise CannotAskError(f"its answer is larger than reconcile_bytes_max ({self._bytes_max} bytes)")
            pieces.append(piece)
        return b"".join(pieces)

    async def _wait_for_turn(self) -> None:
        async with self._turn:
            now_s = asyncio.get_running_loop().time()
            await asyncio.sleep(max(0.0, self._next_s - now_s))
            self._next_s = max(now_s, self._next_s) + self._pause_s


def _check(answer: aiohttp.ClientResponse, url: str) -> None:
    status = answer.status
    if status == 401:
        raise NotAuthorisedError("it does not take our username and password (401)")
    if 300 <= status < 400:
        elsewhere = URL(answer.headers.get("Location", "")).host or "nowhere"
        raise CannotAskError(f"it sends us to {elsewhere[:64]} ({status}), where nobody said we should ask")
    if status not in (200, 404):
        raise CannotAskError(f"it answers {status}")


def _auth(access: EscAccess) -> dict[str, str]:
    """Raises CannotAskError."""
    if access.username is None:
        return {}
    password = access.password if access.password_file is None else _content(access.password_file)
    return {"Authorization": aiohttp.encode_basic_auth(access.username, password or "")}


def _content(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CannotAskError(f"password_file {path} cannot be read: {_why(error)}") from None


def _context(access: EscAccess) -> ssl.SSLContext | bool:
    if not access.verify:
        return False
    if access.ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(access.ca_file))
    except (OSError, ssl.SSLError) as error:
        raise CannotAskError(f"ca_file {access.ca_file} cannot be used: {_why(error)}") from None


def _why(error: BaseException) -> str:
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return text[:200] or type(error).__name__
