"""Problem documents (RFC 9457), the form of every error answer. Must not know which error gets which status."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import hdrs, web
from aiohttp.helpers import rfc822_formatted_time

MEDIA_TYPE = "application/problem+json"

_HEADERS: dict[str, str] = {
    hdrs.CONTENT_TYPE: MEDIA_TYPE,
    hdrs.CACHE_CONTROL: "no-store",
    hdrs.SERVER: "esc-receiver",
    "X-Content-Type-Options": "nosniff",
}


def problem(
    status: int,
    slug: str,
    title: str,
    detail: str | None = None,
    *,
    headers: dict[str, str] | None = None,
    **members: Any,
) -> web.Response:
    """`slug` names the kind of problem for programs, `title` for people; `detail` is about this one.

    Never put into it what the sender sent: a path may end in a token, a header may hold a secret.
    """
    document = {
        "type": f"urn:esc-receiver:problem:{slug}",
        "title": title,
        "status": status,
        "detail": detail,
    } | members
    content = orjson.dumps({name: value for name, value in document.items() if value is not None})
    return web.Response(
        status=status,
        body=content,
        headers=_HEADERS | (headers or {}),
    )


def problem_of_status(status: int, headers: dict[str, str] | None = None) -> web.Response:
    """A problem that its status describes completely."""
    known = HTTPStatus(status)
    return problem(
        status, known.phrase.lower().replace(" ", "-"), known.phrase, known.description or None, headers=headers
    )


def serialized(answer: web.Response, again: str | None = None) -> bytes:
    """A problem as bytes, for HTTP/1.1; `again` says how long the connection stays open, None that it ends."""
    assert isinstance(answer.body, bytes)  # a problem's
    kept: dict[str, str] = {hdrs.CONNECTION: "keep-alive", "Keep-Alive": again} if again else {hdrs.CONNECTION: "close"}
    headers: dict[str, str] = {
        **answer.headers,
        hdrs.CONTENT_LENGTH: str(len(answer.body)),
        hdrs.DATE: rfc822_formatted_time(),
        **kept,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} {answer.reason}\r\n{head}\r\n".encode() + answer.body
