"""The documents of the API and the feed for people: one page, whose one script asks what a reader tries.

Must not know how it is served (`documents`).
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import jinja2
import orjson
from markdown_it import MarkdownIt
from markupsafe import Markup

from receiver.api import asyncapi


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


def _is_streaming(operation: dict[str, Any]) -> bool:
    """Whether its answer has no end."""
    return any("text/event-stream" in response.get("content", {}) for response in operation["responses"].values())


def _indented(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
