"""`GET /` and `/board/…`: the page of the board and its files, read from the package once.

Must not know what the board shows: the page itself asks the query API for that.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

from aiohttp import hdrs, web

PAGE = "index.html"
PREFIX = "/board/"

_MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}

_DIRECTIVES = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "img-src 'self' data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    # No text becomes markup: the only maker of markup is lit-html, and it makes it of the templates in our files.
    "require-trusted-types-for 'script'",
    "trusted-types lit-html",
)
POLICY = "; ".join(_DIRECTIVES)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    hdrs.CACHE_CONTROL: "no-cache",
    hdrs.VARY: hdrs.ACCEPT_ENCODING,
}
"""`no-cache`: browsers revalidate what they cached, so that page and scripts are never of two versions."""


@dataclass(frozen=True)
class _File:
    body: bytes
    media_type: str
    etag: str

    @cached_property
    def gzipped(self) -> bytes:
        """Packed when it is asked for: all of them would take a tenth of a start."""
        return gzip.compress(self.body, mtime=0)


class Board:
    """The page and its files."""

    def __init__(self) -> None:
        self._files = dict(_read(files("receiver.board").joinpath("static")))

    def routes(self) -> list[web.RouteDef]:
        """`GET /` beside the callback path `POST /`, and the files. Nothing else is served."""
        return [web.get("/", self._get), web.get(PREFIX + "{name:.+}", self._get)]

    async def _get(self, request: web.Request) -> web.Response:
        file = self._files.get(request.match_info.get("name", PAGE))
        if file is None:
            raise web.HTTPNotFound
        return _answer(request, file)


def _answer(request: web.Request, file: _File) -> web.Response:
    headers = _HEADERS | {hdrs.CONTENT_TYPE: file.media_type, hdrs.ETAG: file.etag}
    if file.etag in request.headers.get(hdrs.IF_NONE_MATCH, ""):
        return web.Response(status=304, headers=headers)
    if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
        return web.Response(body=file.gzipped, headers=headers | {hdrs.CONTENT_ENCODING: "gzip"})
    return web.Response(body=file.body, headers=headers)


def _read(folder: Traversable, path: str = "") -> Iterator[tuple[str, _File]]:
    """The files below a folder that a page may need, by their path in it."""
    for entry in folder.iterdir():
        name = path + entry.name
        if entry.is_dir():
            yield from _read(entry, f"{name}/")
        elif media_type := _MEDIA_TYPES.get(entry.name.rpartition(".")[2]):
            body = entry.read_bytes()
            yield name, _File(body, media_type, f'W/"{sha256(body).hexdigest()[:32]}"')
