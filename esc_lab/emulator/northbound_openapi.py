"""The OpenAPI 3.1 document of the northbound API, written from the same rows as its routes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from esc_lab.emulator.body_schemas import schema
from esc_lab.emulator.endpoint_model import BASES, Need, Row
from esc_lab.emulator.endpoint_tables import ROWS
from esc_lab.emulator.handlers.configuration import VALUE_MAX
from esc_lab.emulator.models import MODELS
from receiver.api import openapi
from receiver.api.openapi import array_of, content, parameter, reference

_DESCRIPTION = """\
What Cisco ESC's REST northbound API looks like from outside, after its document of version 2.2.0.

Accepted requests are answered at once, with `esc-transaction-id`; what comes of them is posted to the URLs that the
headers `Callback` and `Callback-ESC-Events` name. Each operation says how much of it the document proves.
"""
_INFO = {"title": "ESC REST northbound API, emulated", "version": "2.2.0", "description": _DESCRIPTION}
_ID: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 72, "pattern": "^[A-Za-z0-9._-]+$"}
_URL = {"type": "string", "pattern": "^https?://[a-z0-9]+(:[1-9][0-9]{0,3})?/[A-Za-z0-9/]*$"}
_WORD: dict[str, Any] = {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,72}$"}
_VALUE: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": VALUE_MAX}
_JSON_VALUE: dict[str, Any] = {**_VALUE, "type": ["string", "number", "boolean"]}
_OF_PATH = {"category": _WORD, "key": _WORD, "value": _VALUE}


def document() -> dict[str, Any]:
    """The whole document."""
    return openapi.document(
        _INFO,
        BASES,
        [(row.method, row.path, _operation(row)) for row in ROWS],
        {name: schema(model) for name, model in MODELS.items()},
        {"basic": {"type": "http", "scheme": "basic"}},
        tags=[{"name": chapter} for chapter in dict.fromkeys(row.chapter for row in ROWS)],
        security=[{}, {"basic": []}],
    )


def _operation(row: Row) -> dict[str, Any]:
    sends = f" Callbacks: {', '.join(row.sends)}." if row.sends else ""
    operation: dict[str, Any] = {
        "operationId": row.name,
        "tags": [row.chapter],
        "summary": row.summary,
        "description": f"Evidence: {row.evidence}.{sends}",
        "parameters": list(_parameters(row)),
        "responses": {str(status): _response(row, status, reason) for status, reason in row.statuses.items()}
        | {"401": _error("The credentials are missing or wrong")},
    }
    if row.body:
        body, in_json = (_VALUE, _JSON_VALUE) if row.body == "text" else (reference(row.body),) * 2
        contents = content("application/xml", body) | content("application/json", in_json)
        operation["requestBody"] = {"required": True, "content": contents}
    return operation


def _parameters(row: Row) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", row.path):
        yield parameter(name, "path", _OF_PATH.get(name, _ID))
    for name, place in {**dict.fromkeys(row.query, "query"), **dict.fromkeys(row.headers, "header")}.items():
        yield parameter(name, place, {"type": "string"})
    for name, need in (("Callback", row.callback), ("Callback-ESC-Events", row.events)):
        if need is not Need.NONE:
            description = f"Callback URL for ESC notifications ({need.replace('enforced', 'required')})."
            # Where its absence is no fault that the document lists, the request is accepted and no callback sent.
            yield parameter(name, "header", _URL, description, "http://127.0.0.1:9010/", required=need is Need.ENFORCED)


def _response(row: Row, status: int, reason: str) -> dict[str, Any]:
    if status >= 400:
        return _error(reason)
    one = reference(row.answer)
    has_body = row.answer and status == row.ok
    contents = _either(array_of(one) if row.many else one) if has_body else None
    return openapi.response(reason, contents, ["esc-transaction-id"] if row.sends else None)


def _error(reason: str) -> dict[str, Any]:
    return openapi.response(reason, _either(reference("error")))


def _either(json: dict[str, Any]) -> dict[str, Any]:
    """XML of any form, or this JSON."""
    return content("application/xml", {}) | content("application/json", json)
