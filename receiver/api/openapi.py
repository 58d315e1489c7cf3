"""The OpenAPI 3.1 document, written from the catalogue. `API_VERSION` says what clients may rely on.

Within a version things may be added, never removed or narrowed: a test compares with the copy in docs/openapi.json.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from receiver.api.answer_schemas import components
from receiver.api.endpoints import PREFIX, Endpoint
from receiver.api.parameters import Parameter

API_VERSION = "1.0.0"
ALWAYS = (400, 429, 500, 503)
GUARDED = (401, 403)

_DESCRIPTION = """\
What the receiver knows of deployments, VMs, resources and operations, and how it came to know it.

- Lists are pages: `{"items": […], "next": "…" or null}`; ask again with `cursor=` set to `next`.
- Times are RFC 3339, in UTC. Errors are `application/problem+json` (RFC 9457) and name the parameter at fault.
- Single things have an `ETag`; with `If-None-Match` what has not changed is answered 304. `HEAD` works wherever
  `GET` does, but on the feed.
- Fields may be added within v1: ignore what you do not know.
"""


def document(endpoints: Sequence[Endpoint], *, is_open: bool) -> dict[str, Any]:
    """The whole. `is_open`: no token is asked for."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(PREFIX + endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, is_open=is_open)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "esc-receiver query API",
            "version": API_VERSION,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "../.."}],
        "paths": paths,
        "components": {
            "schemas": components(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A token of ESC_RECEIVER_READ_TOKENS."}
            },
        },
    }


def _operation(endpoint: Endpoint, *, is_open: bool) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "description": endpoint.description,
        "parameters": [_parameter(parameter) for parameter in endpoint.parameters]
        + [{**_parameter(header), "in": "header"} for header in endpoint.headers],
        "responses": {str(endpoint.status): _answer(endpoint), **_problems(endpoint)},
        "security": [{}] if endpoint.scope is None else [{}, {"bearer": []}] if is_open else [{"bearer": []}],
    }
    if endpoint.single:
        operation["responses"]["304"] = {"description": "It is as the `If-None-Match` of the question says."}
    if endpoint.body:
        content = {"schema": endpoint.body, "example": {"token": "a-token-of-yours"}}
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    return operation


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema = dict(parameter.schema)
    if parameter.default is not None and not parameter.many:
        schema["default"] = parameter.default
    told: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.description,
        "schema": {"type": "array", "items": schema} if parameter.many else schema,
        "example": [parameter.example] if parameter.many else parameter.example,
    }
    return told


def _answer(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.status == HTTPStatus.NO_CONTENT:
        return {"description": "Done."}
    headers = {"ETag": {"schema": {"type": "string"}}} if endpoint.single else {}
    return {
        "description": endpoint.summary,
        "headers": headers,
        "content": {endpoint.media_type: {"schema": endpoint.answer, "example": endpoint.example}},
    }


def _problems(endpoint: Endpoint) -> dict[str, Any]:
    statuses = {*ALWAYS, *(GUARDED if endpoint.scope else ()), *endpoint.problems}
    return {str(status): _problem(status) for status in sorted(statuses)}


def _problem(status: int) -> dict[str, Any]:
    phrase = HTTPStatus(status).phrase
    slug = re.sub(r"[^a-z]+", "-", phrase.lower())
    example = {"type": f"urn:esc-receiver:problem:{slug}", "title": phrase, "status": status}
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": phrase, "content": {"application/problem+json": {"schema": schema, "example": example}}}
