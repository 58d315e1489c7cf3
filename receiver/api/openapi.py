"""Writes OpenAPI 3.1 documents from operations that are given as data.

Knows the form of such a document and no API: `api_document` describes the query API with it, the emulator in `esc_lab`
the API of ESC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Schema = dict[str, Any]


def document(
    info: Mapping[str, str],
    servers: Iterable[str],
    operations: Iterable[tuple[str, str, Mapping[str, Any]]],
    schemas: Mapping[str, Schema],
    security_schemes: Mapping[str, Any],
    **members: Any,
) -> dict[str, Any]:
    """The document. An operation is its method, path and description; `members` are further top-level fields."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path, operation in operations:
        paths.setdefault(path, {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": info,
        "servers": [{"url": url} for url in servers],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": security_schemes},
        **members,
    }


def reference(name: str) -> Schema:
    """A schema of the document, by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def array_of(items: Schema) -> Schema:
    """A JSON array."""
    return {"type": "array", "items": items}


def parameter(
    name: str, place: str, schema: Schema, text: str | None = None, example: Any = None, *, required: bool = False
) -> dict[str, Any]:
    """A parameter in the `path`, `query` or `header`; `text` describes it. Those of the path are always required."""
    members = {"name": name, "in": place, "required": required or place == "path", "description": text}
    return _without_none(members | {"schema": schema, "example": example})


def response(
    description: str, contents: Mapping[str, Any] | None = None, headers: Sequence[str] | None = None
) -> dict[str, Any]:
    """A response; `headers` are names of text headers, `contents` come from `content`."""
    texts = None if headers is None else {name: {"schema": {"type": "string"}} for name in headers}
    return _without_none({"description": description, "headers": texts, "content": contents})


def content(media_type: str, schema: Mapping[str, Any], example: Any = None) -> dict[str, Any]:
    """A body of one media type."""
    return {media_type: _without_none({"schema": schema, "example": example})}


def _without_none(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
