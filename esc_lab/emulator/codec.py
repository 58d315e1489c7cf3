"""Bodies as XML or JSON by `Content-Type` and `Accept`: bytes to plain values and back.

XML is read by `receiver.parsing.xml_document` and written by the simulator's `render`, as the callbacks are. This file
must not know what an operation does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from esc_lab.emulator.body_schemas import BodyError, conform
from esc_lab.emulator.models import Model
from esc_lab.simulator.esc_messages import NAMESPACE, render
from receiver.errors import NotXmlError
from receiver.parsing import xml_document as document

DEPTH_MAX = 64
CHARACTERS_MAX = document.KEPT_CHARACTERS_MAX - 2 * document.TEXT_CHARACTERS_MAX
"""Beyond it elements may have been left out; a long text alone (a day-0 configuration) is only cut."""
Language = Literal["xml", "json"]
_TEXT_ALONE = re.compile(rb">\s*[^<\s][^<]*</")
_VALUE = (
    b'<value xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
    b'xmlns:xs="http://www.w3.org/2001/XMLSchema" xsi:type="xs:string">'
)
_TYPES: Mapping[Language, str] = {"xml": "application/xml", "json": "application/json"}


class LanguageError(BodyError):
    """The body is neither XML nor JSON."""


@dataclass(frozen=True, slots=True)
class Body:
    """A body: its fields by name, and its text as received."""

    fields: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    language: Language = "xml"


def language_of(content_type: str) -> Language:
    """Raises LanguageError for anything but XML and JSON; no type is XML (docs/esc-callbacks.md#S, Media Type)."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind in {"", "application/octet-stream"} or kind in {"application/xml", "text/xml"} or kind.endswith("+xml"):
        return "xml"
    if kind == "application/json" or kind.endswith("+json"):
        return "json"
    raise LanguageError(f"Content-Type {kind!r} is neither application/xml nor application/json")


def wanted_language(accept: str) -> Language:
    """The first of XML and JSON in `Accept`; XML where neither is."""
    for part in accept.lower().split(","):
        kind = part.partition(";")[0].strip()
        if kind.endswith("xml"):
            return "xml"
        if kind.endswith("json"):
            return "json"
    return "xml"


def read_body(body: bytes, language: Language, model: Model) -> Body:
    """Raises BodyError for what is not well-formed or does not fit the model."""
    if not body.strip():
        raise BodyError(f"the body is empty; {model.root} is expected")
    fields = _read_xml(body, model) if language == "xml" else conform(read_json(body), model, from_xml=False)
    return Body(fields, body.decode("utf-8", "replace"), language)


def read_text(body: bytes, language: Language) -> Body:
    """A bare value, as `{"value": …}`: in JSON a text in quotes, else the text itself."""
    text = body.decode("utf-8", "replace")
    if language == "json":
        given = read_json(body)
        if not isinstance(given, str):
            raise BodyError("the body should be a text in quotes")
        text = given
    return Body({"value": text}, text, language)


def write_body(language: Language, model: Model, fields: Mapping[str, Any]) -> tuple[bytes, str]:
    """One item: the bytes and their media type."""
    if language == "json":
        return orjson.dumps(fields), _TYPES["json"]
    return _typed(render(model.root, fields), model), _TYPES["xml"]


def write_list(language: Language, model: Model, items: Iterable[Mapping[str, Any]]) -> tuple[bytes, str]:
    """Many items: a list in JSON, elements below `<root>s` in XML."""
    if language == "json":
        return orjson.dumps(list(items)), _TYPES["json"]
    return _typed(render(f"{model.root}s", {model.root: list(items)}), model), _TYPES["xml"]


def _typed(written: bytes, model: Model) -> bytes:
    """As the document prints it: the value of a configuration parameter has the type of a text."""
    if not model.says_type:
        return written
    return written.replace(f' xmlns="{NAMESPACE}"'.encode(), b"").replace(b"<value>", _VALUE)


def _characters(value: Any) -> int:
    """As `receiver.parsing.xml_document` counts what it keeps: a name counts for each of its elements."""
    if isinstance(value, dict):
        lists = ((name, inner if isinstance(inner, list) else [inner]) for name, inner in value.items())
        return sum((len(name) + 8) * len(many) + sum(map(_characters, many)) for name, many in lists)
    return len(value)


def _read_xml(body: bytes, model: Model) -> dict[str, Any]:
    try:
        found = document.read(body, DEPTH_MAX)
    except NotXmlError as error:
        raise BodyError(f"the body is not well-formed XML: {error}") from error
    if found.cut and _characters(found.fields) > CHARACTERS_MAX:
        raise BodyError(f"the body has more than {CHARACTERS_MAX} characters of names and values")
    if found.root != model.root:
        raise BodyError(f"the root element is <{found.root}>, and should be <{model.root}>")
    if "#text" in found.fields or (not found.fields and _TEXT_ALONE.search(body)):
        raise BodyError(f"<{model.root}> should hold elements, and holds text")
    return conform(found.fields, model, from_xml=True)


def read_json(body: bytes) -> Any:
    """Raises BodyError for what is not JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BodyError(f"the body is not JSON: {error}") from error
