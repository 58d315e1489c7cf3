"""The OpenAPI document of the query API, written from the endpoints.

Within a version of the API things may be added, never removed or narrowed: a test compares with docs/openapi.json.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from receiver.api import openapi
from receiver.api.answer_schemas import components
from receiver.api.endpoint import PREFIX, Endpoint
from receiver.api.parameters import Parameter

API_VERSION = "1.0.0"
ALWAYS = {400, 429, 500, 503}
GUARDED = {401, 403}

_DESCRIPTION = """\
What the receiver knows of deployments, VMs, resources and operations, and how it came to know it.

- Lists are pages: `{"items": […], "next": "…" or null}`; ask again with `cursor=` set to `next`.
- Times are RFC 3339, in UTC. Errors are `application/problem+json` (RFC 9457) and name the parameter at fault.
- Single things have an `ETag`; with `If-None-Match` what has not changed is answered 304. `HEAD` works wherever
  `GET` does, but on the feed.
- Fields may be added within v1: ignore what you do not know.
"""


def document(endpoints: Sequence[Endpoint], *, is_open: bool) -> dict[str, Any]:
    """The document. `is_open`: no token is required."""
    info: dict[str, Any] = {
        "title": "esc-receiver query API",
        "version": API_VERSION,
        "description": _DESCRIPTION,
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    }
    bearer = {"type": "http", "scheme": "bearer", "description": "A token of ESC_RECEIVER_READ_TOKENS."}
    operations = [(e.method, PREFIX + e.path, _operation(e, is_open=is_open)) for e in endpoints]
    return openapi.document(info, ["../.."], operations, components(), {"bearer": bearer})


def _operation(endpoint: Endpoint, *, is_open: bool) -> dict[str, Any]:
    statuses = {*ALWAYS, *(GUARDED if endpoint.scope else ()), *endpoint.problems}
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "description": endpoint.description,
        "parameters": [_parameter(parameter) for parameter in endpoint.parameters],
        "responses": {str(endpoint.status): _answer(endpoint)} | {str(s): _problem(s) for s in sorted(statuses)},
        "security": [{}] if endpoint.scope is None else [{}, {"bearer": []}] if is_open else [{"bearer": []}],
    }
    if endpoint.single:
        operation["responses"]["304"] = openapi.response("It is as the `If-None-Match` of the question says.")
    if endpoint.body:
        contents = openapi.content("application/json", endpoint.body, endpoint.body_example)
        operation["requestBody"] = {"required": True, "content": contents}
    return operation


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema, example = dict(parameter.type.schema), parameter.example
    if parameter.many:
        schema, example = openapi.array_of(schema), [example]
    elif parameter.default is not None:
        schema["default"] = parameter.default
    return openapi.parameter(
        parameter.name, parameter.place, schema, parameter.description, example, required=parameter.required
    )


def _answer(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.status == HTTPStatus.NO_CONTENT:
        return openapi.response("Done.")
    contents = openapi.content(endpoint.media_type, endpoint.answer, endpoint.example)
    return openapi.response(endpoint.summary, contents, ["ETag"] if endpoint.single else [])


def _problem(status: int) -> dict[str, Any]:
    phrase = HTTPStatus(status).phrase
    slug = re.sub(r"[^a-z]+", "-", phrase.lower())
    example = {"type": f"urn:esc-receiver:problem:{slug}", "title": phrase, "status": status}
    return openapi.response(phrase, openapi.content("application/problem+json", openapi.reference("Problem"), example))
