"""`/api/v1/openapi.json`, `asyncapi.json` and the schemas, and all that for people at `/api/docs`.

That is one page, made on the server; its one script asks what a reader tries.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import Any

import jinja2
import orjson
from aiohttp import hdrs, web
from markdown_it import MarkdownIt
from markupsafe import Markup

from receiver.api import asyncapi
from receiver.api.answers import JSON, tagged
from receiver.api.endpoint import PREFIX


class Docs:
    """Serves the document in both forms, which are written once."""

    def __init__(self, document: dict[str, Any]) -> None:
        style, script = (files("receiver").joinpath(f"api/docs.{kind}").read_text("utf-8") for kind in ("css", "js"))
        self._documents = {f"{PREFIX}/{name}": _json(one) for name, one in _documents(document).items()}
        self._page = page(document, style, script).encode()
        self._policy = (
            f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; connect-src 'self'; "
            "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
        )

    def routes(self) -> list[web.RouteDef]:
        """Of each document, and of the page."""
        return [*(web.get(path, self._get_json) for path in self._documents), web.get("/api/docs", self._get_page)]

    async def _get_json(self, request: web.Request) -> web.Response:
        body = self._documents[request.match_info.route.resource.canonical]  # type: ignore[union-attr]  # one of ours
        return tagged(request, body, {hdrs.CONTENT_TYPE: JSON, hdrs.CACHE_CONTROL: "no-cache"})

    async def _get_page(self, request: web.Request) -> web.Response:
        headers = {hdrs.CONTENT_TYPE: "text/html; charset=utf-8", hdrs.CACHE_CONTROL: "no-cache"}
        return tagged(request, self._page, headers | {"Content-Security-Policy": self._policy})


def page(document: dict[str, Any], style: str, script: str = "") -> str:
    """The document as HTML."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.Undefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["compact"] = lambda value: value if isinstance(value, str) else orjson.dumps(value).decode()
    environment.filters["indented"] = _indented
    environment.filters["relative"] = lambda path: path.removeprefix("/api/")  # behind a proxy it may begin otherwise
    environment.tests["streaming"] = _is_streaming
    markdown = MarkdownIt("commonmark", {"html": False})
    environment.filters["markdown"] = lambda text: Markup(markdown.render(text))  # noqa: S704 - without HTML of its own
    environment.filters["inline"] = lambda text: Markup(markdown.renderInline(text or ""))  # noqa: S704 - likewise
    template = environment.from_string(files("receiver").joinpath("api/docs.html").read_text("utf-8"))
    return template.render(document, style=style, script=script, feed=asyncapi.document())


def _documents(openapi: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By their paths below the prefix."""
    schemas = {f"schemas/{entity}.json": asyncapi.schema_of(entity) for entity in asyncapi.ENTITIES}
    return {"openapi.json": openapi, "asyncapi.json": asyncapi.document(), **schemas}


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _is_streaming(operation: dict[str, Any]) -> bool:
    """Whether its answer has no end."""
    return any("text/event-stream" in response.get("content", {}) for response in operation["responses"].values())


def _json(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2)


def _indented(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
