"""How answers of the query API look: JSON, entity tags, and bytes that no browser may render."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any
from uuid import UUID

from aiohttp import ETag, hdrs, web

from receiver.api.row_shapes import to_json

JSON = "application/json"


def as_json(document: Any, status: int = 200) -> web.Response:
    """Any answer; times in UTC."""
    body = to_json(document)
    return web.Response(status=status, body=body, headers={hdrs.CONTENT_TYPE: JSON, hdrs.CACHE_CONTROL: "no-store"})


def single(request: web.Request, document: Any) -> web.Response:
    """One thing: 304 when the client has it as it is."""
    body = to_json(document)
    tag = blake2b(body, digest_size=12).hexdigest()
    # Each answer depends on who asks, so only the client itself may keep it, and asks each time.
    headers = {hdrs.CACHE_CONTROL: "private, no-cache", hdrs.ETAG: f'"{tag}"'}
    if any(known.value in (tag, "*") for known in _known(request)):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers={hdrs.CONTENT_TYPE: JSON} | headers)


def raw(receipt: UUID, body: bytes) -> web.Response:
    """Bytes from outside: to be saved, never to be shown or run."""
    headers = {
        hdrs.CONTENT_TYPE: "application/octet-stream",
        hdrs.CONTENT_DISPOSITION: f'attachment; filename="{receipt}.bin"',
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        hdrs.CACHE_CONTROL: "private, no-store",
    }
    return web.Response(body=body, headers=headers)


def _known(request: web.Request) -> tuple[ETag, ...]:
    return request.if_none_match or ()
