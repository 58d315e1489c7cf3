"""The OpenAPI 3.1 document of the northbound API, written from the same rows as its routes.

This file must not know how an operation is done.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from esc_lab.emulator.body_schemas import schema
from esc_lab.emulator.endpoint_model import BASES, Need, Row
from esc_lab.emulator.endpoint_tables import ROWS
from esc_lab.emulator.handlers.configuration import VALUE_MAX
from esc_lab.emulator.models import MODELS

API_VERSION = "2.2.0"
MEDIA_TYPES = ("application/xml", "application/json")
_ID = {"type": "string", "minLength": 1, "maxLength": 72, "pattern": "^[A-Za-z0-9._-]+$"}
_URL = {"type": "string", "pattern": "^https?://[a-z0-9]+(:[1-9][0-9]{0,3})?/[A-Za-z0-9/]*$"}
_WORD = {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,72}$"}
_VALUE = {"type": "string", "minLength": 1, "maxLength": VALUE_MAX}
_PATH = {"category": _WORD, "key": _WORD, "value": _VALUE}
_PARAMETER = re.compile(r"{(\w+)}")
_DESCRIPTION = """\
What Cisco ESC's REST northbound API looks like from outside, after its document of version 2.2.0.

Accepted requests are answered at once, with `esc-transaction-id`; what comes of them is posted to the URLs that the
headers `Callback` and `Callback-ESC-Events` name. Each operation says how much of it the document proves.
"""


def document() -> dict[str, Any]:
    """The whole."""
    paths: dict[str, dict[str, Any]] = {}
    for row in ROWS:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row)
    return {
        "openapi": "3.1.0",
        "info": {"title": "ESC REST northbound API, emulated", "version": API_VERSION, "description": _DESCRIPTION},
        "servers": [{"url": base} for base in BASES],
        "tags": [{"name": chapter} for chapter in dict.fromkeys(row.chapter for row in ROWS)],
        "paths": paths,
        "components": {
            "schemas": {name: schema(model) for name, model in MODELS.items()},
            "securitySchemes": {"basic": {"type": "http", "scheme": "basic"}},
        },
        "security": [{}, {"basic": []}],
    }


def _operation(row: Row) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": row.name,
        "tags": [row.chapter],
        "summary": row.summary,
        "description": _words(row),
        "parameters": [*_path(row), *_query(row), *_headers(row)],
        "responses": {str(status): _response(row, status, reason) for status, reason in row.statuses.items()}
        | {"401": _error("The credentials are missing or wrong")},
    }
    if row.body:
        told["requestBody"] = {"required": True, "content": _content(_body_schema(row), MEDIA_TYPES)}
    return told


def _words(row: Row) -> str:
    sends = f" Callbacks: {', '.join(row.sends)}." if row.sends else ""
    return f"Evidence: {row.evidence}.{sends}"


def _path(row: Row) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _PATH.get(name, _ID)}
        for name in _PARAMETER.findall(row.path)
    ]


def _query(row: Row) -> list[dict[str, Any]]:
    places = {**dict.fromkeys(row.query, "query"), **dict.fromkeys(row.headers, "header")}
    return [
        {"name": name, "in": place, "required": False, "schema": {"type": "string"}} for name, place in places.items()
    ]


def _headers(row: Row) -> list[dict[str, Any]]:
    needs = {"Callback": row.callback, "Callback-ESC-Events": row.events}
    return [
        {
            "name": name,
            "in": "header",
            # Where its absence is no fault that the document lists, the request is accepted and no callback sent.
            "required": need is Need.ENFORCED,
            "description": f"Callback URL for ESC notifications ({need.replace('enforced', 'required')}).",
            "schema": _URL,
            "example": "http://127.0.0.1:9010/",
        }
        for name, need in needs.items()
        if need is not Need.NONE
    ]


def _response(row: Row, status: int, reason: str) -> dict[str, Any]:
    if status >= 400:
        return _error(reason)
    told: dict[str, Any] = {"description": reason}
    if row.sends:
        told["headers"] = {"esc-transaction-id": {"schema": {"type": "string"}}}
    if row.answer and status == row.ok:
        one = {"$ref": f"#/components/schemas/{row.answer}"}
        told["content"] = {
            "application/xml": {"schema": {}},
            "application/json": {"schema": {"type": "array", "items": one} if row.many else one},
        }
    return told


def _error(reason: str) -> dict[str, Any]:
    return {
        "description": reason,
        "content": {
            "application/xml": {"schema": {}},
            "application/json": {"schema": {"$ref": "#/components/schemas/error"}},
        },
    }


def _body_schema(row: Row) -> Mapping[str, Any]:
    if row.body == "text":
        return _VALUE
    return {"$ref": f"#/components/schemas/{row.body}"}


def _content(body: Mapping[str, Any], media_types: Sequence[str]) -> dict[str, Any]:
    return {media_type: {"schema": body} for media_type in media_types}
