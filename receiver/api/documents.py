"""Serves `/api/v1/openapi.json`, `asyncapi.json` and the schemas, and all that for people at `/api/docs`.

They are written when one of them is asked for the first time, by a thread: with what it loads that takes a third of a
second, which a start need not spend and callbacks must not wait for.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from typing import Any, NamedTuple

import orjson
from aiohttp import hdrs, web

from receiver.api import api_document, asyncapi
from receiver.api.answers import JSON, tagged
from receiver.api.endpoint import PREFIX, Endpoint

SCHEMAS = {f"{PREFIX}/schemas/{entity}.json": entity for entity in asyncapi.ENTITIES}
OPENAPI, ASYNCAPI = f"{PREFIX}/openapi.json", f"{PREFIX}/asyncapi.json"


class Written(NamedTuple):
    """All of them."""

    documents: Mapping[str, bytes]
    """By path."""
    page: bytes
    policy: str


class Docs:
    """Serves the documents of these endpoints, and of the feed."""

    def __init__(self, endpoints: Sequence[Endpoint], *, is_open: bool) -> None:
        """`is_open`: no token is required."""
        self._endpoints = endpoints
        self._is_open = is_open
        self._writing = asyncio.Lock()
        self._written: Written | None = None

    def routes(self) -> list[web.RouteDef]:
        """Of each document, and of the page."""
        documents = (web.get(path, self._get_json) for path in (OPENAPI, ASYNCAPI, *SCHEMAS))
        return [*documents, web.get("/api/docs", self._get_page)]

    async def _get_json(self, request: web.Request) -> web.Response:
        written = await self._all()
        body = written.documents[request.match_info.route.resource.canonical]  # type: ignore[union-attr]  # one of ours
        return tagged(request, body, {hdrs.CONTENT_TYPE: JSON, hdrs.CACHE_CONTROL: "no-cache"})

    async def _get_page(self, request: web.Request) -> web.Response:
        written = await self._all()
        headers = {hdrs.CONTENT_TYPE: "text/html; charset=utf-8", hdrs.CACHE_CONTROL: "no-cache"}
        return tagged(request, written.page, headers | {"Content-Security-Policy": written.policy})

    async def _all(self) -> Written:
        async with self._writing:
            if self._written is None:
                self._written = await asyncio.to_thread(_write, self._endpoints, is_open=self._is_open)
        return self._written


def _write(endpoints: Sequence[Endpoint], *, is_open: bool) -> Written:
    from receiver.api.docs_page import page  # noqa: PLC0415 - what it writes with is loaded here, by the thread

    openapi = api_document.document(endpoints, is_open=is_open)
    documents = {OPENAPI: openapi, ASYNCAPI: asyncapi.document()}
    documents |= {path: asyncapi.schema_of(entity) for path, entity in SCHEMAS.items()}
    style, script = (files("receiver").joinpath(f"api/docs.{kind}").read_text("utf-8") for kind in ("css", "js"))
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; connect-src 'self'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )
    return Written({path: _json(one) for path, one in documents.items()}, page(openapi, style, script).encode(), policy)


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _json(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2)
