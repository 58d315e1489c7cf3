"""`/api/v1/openapi.json`, and the same for people at `/api/docs`: one page without scripts, written on the server."""

from __future__ import annotations

from base64 import b64encode
from hashlib import blake2b, sha256
from html import escape
from importlib.resources import files
from typing import Any

import orjson
from aiohttp import hdrs, web

from receiver.api.endpoints import PREFIX


class Docs:
    """Serves the document in both forms; they are written once."""

    def __init__(self, document: dict[str, Any]) -> None:
        style = files("receiver").joinpath("api/docs.css").read_text("utf-8")
        allowed = b64encode(sha256(style.encode()).digest()).decode()
        self._json = orjson.dumps(document, option=orjson.OPT_INDENT_2)
        self._page = page(document, style).encode()
        self._policy = f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; frame-ancestors 'none'"

    def routes(self) -> list[web.RouteDef]:
        """The two paths."""
        return [web.get(f"{PREFIX}/openapi.json", self.json), web.get("/api/docs", self.html)]

    async def json(self, request: web.Request) -> web.Response:
        """For programs."""
        return _static(request, self._json, "application/json", {})

    async def html(self, request: web.Request) -> web.Response:
        """For people."""
        return _static(request, self._page, "text/html; charset=utf-8", {"Content-Security-Policy": self._policy})


def page(document: dict[str, Any], style: str) -> str:
    """The document as HTML."""
    info = document["info"]
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    links = "".join(f'<li><a href="#{_id(o)}">{escape(m.upper())} {escape(p)}</a></li>' for p, m, o in operations)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])}</title><style>{style}</style></head><body>"
        f"<header><h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>"
        f'<p class="text">{escape(info["description"])}</p>'
        '<p><a href="v1/openapi.json">openapi.json</a></p></header>'
        f'<nav aria-label="Endpoints"><ul>{links}</ul></nav><main>'
        + "".join(_operation(path, method, operation) for path, method, operation in operations)
        + _schemas(document["components"]["schemas"])
        + "</main></body></html>"
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    return (
        f'<section id="{_id(operation)}"><h2><code>{escape(method.upper())} {escape(path)}</code></h2>'
        f"<p><strong>{escape(operation['summary'])}.</strong> {escape(operation['description'])}</p>"
        + _parameters(operation["parameters"])
        + (f"<h3>Body</h3>{_example(body['example'])}" if body else "")
        + "".join(_response(status, response) for status, response in operation["responses"].items())
        + "</section>"
    )


def _parameters(parameters: list[dict[str, Any]]) -> str:
    if not parameters:
        return ""
    rows = "".join(
        f"<tr><td><code>{escape(p['name'])}</code></td><td>{escape(p['in'])}</td><td>{escape(p['description'])}"
        f"{_values(p['schema'])}</td><td><code>{escape(_short(p['example']))}</code></td></tr>"
        for p in parameters
    )
    head = "<tr><th>parameter</th><th>in</th><th>meaning</th><th>example</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _values(schema: dict[str, Any]) -> str:
    inner = schema.get("items", schema)
    told = [f"one of {', '.join(map(str, inner['enum']))}"] if "enum" in inner else []
    if "minimum" in inner:
        told.append(f"{inner['minimum']} to {inner['maximum']}")
    if "default" in inner:
        told.append(f"default {inner['default']}")
    return f"<br><small>{escape('; '.join(told))}</small>" if told else ""


def _response(status: str, response: dict[str, Any]) -> str:
    told = f"<h3>{escape(status)} <small>{escape(response['description'])}</small></h3>"
    if status >= "300":
        return told
    content = response.get("content", {})
    return told + "".join(f"<p>{escape(media)}</p>{_example(form['example'])}" for media, form in content.items())


def _schemas(schemas: dict[str, Any]) -> str:
    told = (
        f'<details id="schema-{escape(name)}"><summary>{escape(name)}</summary>{_example(schema)}</details>'
        for name, schema in schemas.items()
    )
    return f"<section><h2>Shapes</h2>{''.join(told)}</section>"


def _example(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    return f'<pre tabindex="0">{escape(text)}</pre>'


def _short(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _id(operation: dict[str, Any]) -> str:
    return escape(operation["operationId"])


def _static(request: web.Request, body: bytes, media_type: str, headers: dict[str, str]) -> web.Response:
    tag = blake2b(body, digest_size=12).hexdigest()
    headers = {hdrs.CACHE_CONTROL: "no-cache", hdrs.ETAG: f'"{tag}"', **headers}
    if any(known.value == tag for known in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers={hdrs.CONTENT_TYPE: media_type, **headers})
