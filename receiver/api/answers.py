"""Answers of the query API: JSON, documents with an entity tag, and bytes that no browser may render."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any
from uuid import UUID

from aiohttp import hdrs, web

from receiver.api.row_shapes import to_json

JSON = "application/json"
WARNING = "ESC-Receiver-Warning"
UNREADABLE = "the body could not be read, so it may hold secrets that were not overwritten"


def json_answer(document: Any) -> web.Response:
    """Any answer that must not be cached."""
    return web.Response(body=to_json(document), headers={hdrs.CONTENT_TYPE: JSON, hdrs.CACHE_CONTROL: "no-store"})


def tagged(request: web.Request, body: bytes, headers: dict[str, str]) -> web.Response:
    """A body with its ETag; 304 when the client has it already."""
    tag = blake2b(body, digest_size=12).hexdigest()
    headers = {hdrs.ETAG: f'"{tag}"', **headers}
    if any(known.value in (tag, "*") for known in request.if_none_match or ()):
        del headers[hdrs.CONTENT_TYPE]
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers=headers)


def single(request: web.Request, document: Any) -> web.Response:
    """One thing as JSON. It depends on who asks, so only the client may cache it, and must revalidate each time."""
    return tagged(request, to_json(document), {hdrs.CONTENT_TYPE: JSON, hdrs.CACHE_CONTROL: "private, no-cache"})


def raw(receipt: UUID, body: bytes, *, unreadable: bool) -> web.Response:
    """Bytes from outside: to be saved, never to be shown or run. `unreadable` ones may hold secrets still."""
    headers = {
        hdrs.CONTENT_TYPE: "application/octet-stream",
        hdrs.CONTENT_DISPOSITION: f'attachment; filename="{receipt}.bin"',
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        hdrs.CACHE_CONTROL: "private, no-store",
    }
    if unreadable:
        headers[WARNING] = UNREADABLE
    return web.Response(body=body, headers=headers)
