"""Asks a receiver's query API, one question after the other, and says in one line why it has no answer.

It must not know what is asked, nor how answers are shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from receiver.errors import ReceiverError

API = "/api/v1"
ANSWER_TIMEOUT_S = 30.0
PAGE_ITEMS_MAX = 1_000
BODY_BYTES_MAX = 64 * 1024 * 1024


class AskError(ReceiverError):
    """The question was not answered."""


class UnansweredError(AskError):
    """No receiver answers now, or it says that it cannot; asking again may help."""

    sending_again_helps = True


class UnknownError(AskError):
    """The receiver knows nothing of this name."""


class _NoRedirects(HTTPRedirectHandler):
    """A token is shown to whom it was meant for, and to nobody whom they name."""

    def redirect_request(self, *_: Any) -> None:
        """Never."""


class QueryClient:
    """One receiver, as `url` (perhaps with a path prefix) and `token` say."""

    def __init__(self, url: str, token: str | None) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise AskError(f"{url} is no URL of a receiver, such as http://127.0.0.1:9010")
        self.url = url.rstrip("/")
        self._token = token
        self._opener = build_opener(ProxyHandler({}), _NoRedirects)

    def get(self, path: str, *parts: str, timeout_s: float = ANSWER_TIMEOUT_S, **asked: Any) -> Any:
        """The answer to `GET /api/v1/<path>/<parts…>?<asked>`. Raises AskError."""
        with self.open("/".join((f"{API}/{path}", *(quote(part, safe="") for part in parts))), asked, timeout_s) as got:
            return _document(got, self.url)

    def items(self, path: str, limit: int, **asked: Any) -> tuple[list[dict[str, Any]], bool]:
        """The first `limit` items of a list, and whether there are more."""
        items: list[dict[str, Any]] = []
        cursor = None
        while len(items) < limit:
            page = self.get(path, **asked, limit=min(limit - len(items), PAGE_ITEMS_MAX), cursor=cursor)
            items += page["items"]
            if (cursor := page["next"]) is None:
                return items, False
        return items, True

    def text(self, path: str) -> str:
        """The body of a path outside the API, whatever its status."""
        with self.open(path, {}, ANSWER_TIMEOUT_S, statuses=(503,)) as got:
            return got.read(BODY_BYTES_MAX).decode("utf-8", "replace")

    @contextmanager
    def open(
        self,
        path: str,
        asked: Mapping[str, Any],
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
        statuses: tuple[int, ...] = (),
    ) -> Iterator[HTTPResponse]:
        """The answer as it comes, which must be a success or of one of `statuses`. Raises AskError."""
        given = {name: value for name, value in asked.items() if value is not None and value != ()}
        query = f"?{urlencode(given, doseq=True)}" if given else ""
        authorization = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        request = Request(self.url + path + query, headers={**authorization, **(headers or {})})  # noqa: S310 - http(s)
        try:
            with self._opener.open(request, timeout=timeout_s) as answer:
                yield answer
        except HTTPError as error:
            with error:
                if error.code not in statuses:
                    raise self._refused(error) from None
                yield error  # type: ignore[misc]  # it is the answer, though its type does not say so
        except (URLError, OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise UnansweredError(f"no receiver answers at {self.url}: {reason or type(error).__name__}") from error
        except ValueError as error:
            raise AskError(f"cannot ask {self.url}: {error}") from error

    def _refused(self, error: HTTPError) -> AskError:
        problem = _problem(error)
        told = ": ".join(text for text in (problem.get("title"), problem.get("detail")) if text) or error.reason
        if error.code == 401:
            how = "it does not take this token" if self._token else "it wants a token (--token, or ESC_RECEIVER_TOKEN)"
            return AskError(f"{self.url}: {how}")
        if error.code == 404 and problem:
            return UnknownError(problem.get("detail") or told)
        if error.code in (429, 503):
            return UnansweredError(told)
        where = f"{problem['parameter']}: " if "parameter" in problem else ""
        return AskError(f"{where}{told}" if problem else f"{self.url} is no receiver: it answers {error.code} {told}")


def _document(answer: HTTPResponse, url: str) -> Any:
    try:
        return json.loads(answer.read(BODY_BYTES_MAX))
    except ValueError:
        raise AskError(f"{url} is no receiver: its answer is no JSON") from None


def _problem(error: HTTPError) -> dict[str, Any]:
    if "problem+json" not in error.headers.get("Content-Type", ""):
        return {}
    try:
        document = json.loads(error.read(BODY_BYTES_MAX))
    except (ValueError, OSError, HTTPException):
        return {}
    return document if isinstance(document, dict) else {}
