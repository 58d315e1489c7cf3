"""What both clients of the query API share: where a question goes, and what an answer means. No I/O.

It must not know what is asked, nor how answers are shown.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx2

from esc_receiver_client.errors import ApiError, RefusedError, TokenError, UnansweredError, UnknownError

API = "/api/v1"
ANSWER_TIMEOUT_S = 30.0
PAGE_ITEMS_MAX = 1_000
BODY_BYTES_MAX = 64 * 1024 * 1024
WAIT_S_MAX = 30
"""One request waits no longer: proxies and firewalls cut what is silent."""
RETRY_S = 1.0
FEED_SILENCE_S_MAX = 60.0
"""Longer than the pause between two heartbeats (`feed_heartbeat_s`): then the connection is taken for broken."""
FEED_BEGINNING = "0-0"


class Address:
    """One receiver: its URL (perhaps with a path prefix), and the token that it is shown."""

    def __init__(self, url: str, token: str | None) -> None:
        """Raises ApiError for what is no URL."""
        self.url = url.rstrip("/")
        self._token = token
        if not url.startswith(("http://", "https://")) or not _host(url):
            raise ApiError(f"{url} is no URL of a receiver, such as http://127.0.0.1:9010")

    def options(self) -> dict[str, Any]:
        """Of the HTTP client. No proxies, no redirects: the token is shown to the receiver named and to nobody else."""
        bearer = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        return {
            "headers": {"Accept-Encoding": "identity"} | bearer,
            "follow_redirects": False,
            "trust_env": False,
            "verify": self._trusted(),
        }

    def _trusted(self) -> ssl.SSLContext:
        """The system's authorities, which take longer to load than a question; nobody where there is no TLS anyway."""
        is_tls = self.url.startswith("https://")
        return ssl.create_default_context() if is_tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def refused(self, answer: httpx2.Response, body: bytes) -> ApiError:
        """Why there is no answer."""
        if answer.status_code == 401:
            return TokenError(
                f"{self.url}: it does not take this token"
                if self._token
                else f"{self.url}: it wants a token (--token, or ESC_RECEIVER_TOKEN)"
            )
        problem = _problem(answer, body)
        reason = ": ".join(filter(None, (problem.get("title"), problem.get("detail")))) or answer.reason_phrase
        if answer.status_code == 404 and problem:
            return UnknownError(problem.get("detail") or reason)
        if answer.status_code in (429, 503):
            return UnansweredError(reason)
        if not problem:
            return ApiError(f"{self.url} is no receiver: it answers {answer.status_code} {reason}")
        return RefusedError(f"{problem['parameter']}: {reason}" if "parameter" in problem else reason)

    def read(self, body: bytes) -> Any:
        """The answer's document."""
        try:
            return json.loads(body)
        except ValueError:
            raise ApiError(f"{self.url} is no receiver: its answer is no JSON") from None

    def failed(self, error: Exception) -> ApiError:
        """What an error of the HTTP client means."""
        if isinstance(error, httpx2.SSEError):
            return ApiError(f"{self.url} is no receiver: {error}")
        if isinstance(error, httpx2.RequestError):
            return UnansweredError(f"no receiver answers at {self.url}: {str(error) or type(error).__name__}")
        return ApiError(f"cannot ask {self.url}: {error}")


FAULTS = (httpx2.SSEError, httpx2.RequestError, httpx2.InvalidURL, UnicodeError)
"""What the HTTP client raises."""


def path_of(path: str, parts: tuple[str, ...]) -> str:
    """Below the receiver's URL; names may hold any character."""
    return "/".join((f"{API}/{path}", *(quote(part, safe="") for part in parts)))


def given(query: Mapping[str, Any] | None) -> dict[str, Any]:
    """Parameters that have a value; True and False as the API spells them."""
    spelled = {True: "true", False: "false"}
    return {
        name: spelled[value] if isinstance(value, bool) else value
        for name, value in (query or {}).items()
        if value is not None
    }


def page(left: int | None, cursor: str | None) -> dict[str, Any]:
    """The parameters of a list's next page, of which so many items are still wanted."""
    return {"limit": PAGE_ITEMS_MAX if left is None else min(left, PAGE_ITEMS_MAX), "cursor": cursor}


def wait_of(left_s: float) -> int:
    """How long one request waits: whole seconds, at least one, as less would ask and ask until the time is over."""
    return max(1, min(int(left_s), WAIT_S_MAX)) if left_s > 0 else 0


def only_source(transaction_id: str, operations: Sequence[Mapping[str, Any]]) -> str | None:
    """The source of the only one of them; None when there is none. Raises ApiError when there are several."""
    if len(operations) > 1:
        sources = ", ".join(str(operation["source"]) for operation in operations)
        raise ApiError(f"{transaction_id} is an operation of several sources ({sources}): choose one with --source")
    return str(operations[0]["source"]) if operations else None


def resumed(position: str) -> dict[str, str]:
    """Headers that continue the live feed behind a position."""
    return {"Last-Event-ID": position} if position else {}


def body_of(chunks: Iterator[bytes]) -> bytes:
    """A body of at most `BODY_BYTES_MAX`."""
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            break
    return bytes(body[:BODY_BYTES_MAX])


async def async_body_of(chunks: AsyncIterator[bytes]) -> bytes:
    """The same."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            break
    return bytes(body[:BODY_BYTES_MAX])


def _host(url: str) -> str:
    try:
        return httpx2.URL(url).host
    except httpx2.InvalidURL:
        return ""


def _problem(answer: httpx2.Response, body: bytes) -> dict[str, Any]:
    if "problem+json" not in answer.headers.get("Content-Type", ""):
        return {}
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
