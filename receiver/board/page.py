"""`GET /` and `/board/…`: the board's page and the files it is made of, out of the package.

Files are read once, when the room is made, and nothing else is ever served. It must not know what the board shows:
all of that comes from the query API, asked for by the page itself.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
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
"""`no-cache`: kept by browsers, but asked for again, so that page and scripts are never of two versions."""


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    packed: bytes
    media_type: str
    etag: str


class Board:
    """The page and its files."""

    def __init__(self) -> None:
        self._files = dict(_read(files("receiver.board").joinpath("static")))

    def routes(self) -> list[web.RouteDef]:
        """`GET /` beside the callback path `POST /`."""
        return [web.get("/", self.page), web.get(PREFIX + "{name:.+}", self.file)]

    async def page(self, request: web.Request) -> web.Response:
        """The page itself."""
        return _answer(request, self._files[PAGE])

    async def file(self, request: web.Request) -> web.Response:
        """One file of it; 404 for all that is not in the package."""
        found = self._files.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        return _answer(request, found)


def _answer(request: web.Request, file: _File) -> web.Response:
    headers = _HEADERS | {hdrs.CONTENT_TYPE: file.media_type, hdrs.ETAG: file.etag}
    if file.etag in request.headers.get(hdrs.IF_NONE_MATCH, ""):
        return web.Response(status=304, headers=headers)
    if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
        return web.Response(body=file.packed, headers=headers | {hdrs.CONTENT_ENCODING: "gzip"})
    return web.Response(body=file.body, headers=headers)


def _read(folder: Traversable, path: str = "") -> Iterator[tuple[str, _File]]:
    """The files below a folder by their path in it; those that are no part of a page are left out."""
    for entry in folder.iterdir():
        name = path + entry.name
        if entry.is_dir():
            yield from _read(entry, f"{name}/")
        elif media_type := _MEDIA_TYPES.get(entry.name.rpartition(".")[2]):
            body = entry.read_bytes()
            yield name, _File(body, gzip.compress(body, mtime=0), media_type, f'W/"{sha256(body).hexdigest()[:32]}"')
