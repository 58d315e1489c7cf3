"""Asks a receiver's query API, and says in one line why it has no answer.

It must not know what is asked, nor how answers are shown.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self
from urllib.parse import quote

import httpx2

from receiver.errors import ReceiverError, describe

API = "/api/v1"
ANSWER_TIMEOUT_S = 30.0
PAGE_ITEMS_MAX = 1_000
BODY_BYTES_MAX = 64 * 1024 * 1024
FEED_SILENCE_S_MAX = 60.0
"""Longer than the pause between two heartbeats (`feed_heartbeat_s`): then the connection is taken for broken."""
FEED_RETRY_S = 1.0
FEED_BEGINNING = "0-0"


class AskError(ReceiverError):
    """The question was not answered."""


class UnansweredError(AskError):
    """No receiver answers now, or it says that it cannot; asking again may help."""

    sending_again_helps = True


class UnknownError(AskError):
    """The receiver knows nothing of this name."""


class QueryClient:
    """One receiver, as `url` (perhaps with a path prefix) and `token` say. To be closed, or used as a context."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url.rstrip("/")
        self._has_token = bool(token)
        if not url.startswith(("http://", "https://")) or not _host(url):
            raise AskError(f"{url} is no URL of a receiver, such as http://127.0.0.1:9010")
        # No proxies, and no redirects: the token is shown to the receiver that was named and to nobody else.
        self._http = httpx2.Client(
            headers={"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {token}"} if token else {}),
            follow_redirects=False,
            trust_env=False,
            verify=ssl.create_default_context(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, *parts: str, timeout_s: float = ANSWER_TIMEOUT_S, **query: Any) -> Any:
        """The answer to `GET /api/v1/<path>/<parts…>?<query>`. Raises AskError."""
        path = "/".join((f"{API}/{path}", *(quote(part, safe="") for part in parts)))
        with self._open(path, timeout_s, query) as answer:
            try:
                return json.loads(_body(answer))
            except ValueError:
                raise AskError(f"{self.url} is no receiver: its answer is no JSON") from None

    def items(self, path: str, limit: int, **query: Any) -> tuple[list[dict[str, Any]], bool]:
        """The first `limit` items of a list, and whether there are more."""
        items: list[dict[str, Any]] = []
        cursor = None
        while len(items) < limit:
            page = self.get(path, **query, limit=min(limit - len(items), PAGE_ITEMS_MAX), cursor=cursor)
            items += page["items"]
            if (cursor := page["next"]) is None:
                return items, False
        return items, True

    def text(self, path: str) -> str:
        """The body of a path outside the API, of a success or a 503."""
        with self._open(path, ANSWER_TIMEOUT_S, statuses=(503,)) as answer:
            return _body(answer).decode("utf-8", "replace")

    def feed(self, filters: Mapping[str, tuple[str, ...]], *, from_start: bool) -> Generator[Any, None, None]:
        """The ledger entries of the live feed, for ever; after a break it goes on behind the last one.

        Raises AskError when the feed cannot be read at the start.
        """
        position, began = (FEED_BEGINNING if from_start else ""), False
        while True:
            headers = {"Last-Event-ID": position} if position else {}
            try:
                with self._open(f"{API}/feed", FEED_SILENCE_S_MAX, filters, headers) as answer:
                    began = True
                    for event in httpx2.EventSource(answer):
                        position = event.id or position
                        if event.data:
                            yield json.loads(event.data)
            except UnansweredError:
                if not began:
                    raise
            time.sleep(FEED_RETRY_S)

    @contextmanager
    def _open(
        self,
        path: str,
        timeout_s: float,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        statuses: tuple[int, ...] = (),
    ) -> Iterator[httpx2.Response]:
        """The answer as it comes, which must be a success or of one of `statuses`. Raises AskError."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            with self._http.stream("GET", self.url + path, params=given, headers=headers, timeout=timeout_s) as answer:
                if not answer.is_success and answer.status_code not in statuses:
                    raise self._refused(answer)
                yield answer
        except httpx2.SSEError as error:
            raise AskError(f"{self.url} is no receiver: {error}") from error
        except httpx2.RequestError as error:
            raise UnansweredError(f"no receiver answers at {self.url}: {describe(error)}") from error
        except (httpx2.InvalidURL, UnicodeError) as error:
            raise AskError(f"cannot ask {self.url}: {error}") from error

    def _refused(self, answer: httpx2.Response) -> AskError:
        if answer.status_code == 401:
            how = (
                "it does not take this token"
                if self._has_token
                else "it wants a token (--token, or ESC_RECEIVER_TOKEN)"
            )
            return AskError(f"{self.url}: {how}")
        problem = _problem(answer)
        reason = ": ".join(filter(None, (problem.get("title"), problem.get("detail")))) or answer.reason_phrase
        if answer.status_code == 404 and problem:
            return UnknownError(problem.get("detail") or reason)
        if answer.status_code in (429, 503):
            return UnansweredError(reason)
        if not problem:
            return AskError(f"{self.url} is no receiver: it answers {answer.status_code} {reason}")
        return AskError(f"{problem['parameter']}: {reason}" if "parameter" in problem else reason)


def _host(url: str) -> str:
    try:
        return httpx2.URL(url).host
    except httpx2.InvalidURL:
        return ""


def _body(answer: httpx2.Response) -> bytes:
    body = bytearray()
    for chunk in answer.iter_bytes():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            break
    return bytes(body[:BODY_BYTES_MAX])


def _problem(answer: httpx2.Response) -> dict[str, Any]:
    if "problem+json" not in answer.headers.get("Content-Type", ""):
        return {}
    try:
        document = json.loads(_body(answer))
    except (ValueError, httpx2.RequestError):
        return {}
    return document if isinstance(document, dict) else {}
