"""Bodies as XML or JSON by `Content-Type` and `Accept`: bytes to plain values and back.

XML is written by the simulator's `render`, as the callbacks are. Where the document prints no root element, any is
taken. This file must not know what an operation does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from esc_lab.emulator.body_schemas import BodyError, Language, conform
from esc_lab.emulator.models import Model
from esc_lab.emulator.request_xml import read_xml, text_of
from esc_lab.simulator.esc_messages import NAMESPACE, render
from receiver.errors import NotXmlError

_VALUE = b'<value xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xs="http://www.w3.org/2001/XMLSchema">'
_WORDS: Mapping[Language, Sequence[str]] = {
    "xml": ("application/xml", "text/xml"),
    "json": ("application/json",),
}
_FITS: Sequence[Callable[[str, str], bool]] = (
    lambda kind, word: kind == word or kind.endswith(f"+{word.partition('/')[2]}"),
    lambda kind, word: kind == f"{word.partition('/')[0]}/*",
    lambda kind, word: kind == "*/*",
)
"""How a range of media types may fit, the most specific first."""
_QUALITY = re.compile(r"[01](\.[0-9]{0,3})?")
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


def wanted_language(accept: str, otherwise: Language = "xml") -> Language:
    """Of XML and JSON the one that `Accept` prefers; where it has no preference, the other argument."""
    weights = {language: _weight(accept, words) for language, words in _WORDS.items()}
    best = max(weights.values())
    return otherwise if weights[otherwise] == best or best == 0 else next(k for k, v in weights.items() if v == best)


def _weight(accept: str, words: Sequence[str]) -> float:
    """The quality of the most specific range that fits (RFC 9110, 12.5.1); a part that is no range is ignored."""
    found: dict[int, float] = {}
    for part in accept.lower().split(","):
        kind, *parameters = (one.strip() for one in part.split(";"))
        specific = next((n for n, fits in enumerate(_FITS) if any(fits(kind, word) for word in words)), None)
        if specific is None:
            continue
        quality = next((one.partition("=")[2].strip() for one in parameters if one.startswith("q=")), "1")
        weight = float(quality) if _QUALITY.fullmatch(quality) else 0.0
        found[specific] = max(found.get(specific, 0.0), weight)
    return found[min(found)] if found else 0.0


def read_body(body: bytes, language: Language, model: Model) -> Body:
    """Raises BodyError for what is not well-formed or does not fit the model."""
    if not body.strip():
        raise BodyError(f"the body is empty; {model.root} is expected")
    fields = _read_xml(body, model) if language == "xml" else conform(read_json(body), model, from_xml=False)
    return Body(fields, text_of(body) if language == "xml" else body.decode(), language)


def read_text(body: bytes, language: Language) -> Body:
    """A bare value, as `{"value": …}`: in JSON a text in quotes, a number or a truth value, else the text itself."""
    text = body.decode("utf-8", "replace")
    if language == "json":
        given = read_json(body)
        if not isinstance(given, str | int | float):
            raise BodyError("the body should be a text in quotes or a number")
        text = given if isinstance(given, str) else text.strip()
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
    """As the document prints it: the value of a configuration parameter names the namespaces of a type."""
    if not model.names_type:
        return written
    return written.replace(f' xmlns="{NAMESPACE}"'.encode(), b"").replace(b"<value>", _VALUE)


def _read_xml(body: bytes, model: Model) -> dict[str, Any]:
    try:
        root, value = read_xml(body)
    except NotXmlError as error:
        raise BodyError(f"the body is not well-formed XML: {error}") from error
    if model.root_printed and root != model.root:
        raise BodyError(f"the root element is <{root}>, and should be <{model.root}>")
    if value and not isinstance(value, dict):
        raise BodyError(f"<{root}> should hold elements, and holds text")
    return conform(value or {}, model, from_xml=True)


def read_json(body: bytes) -> Any:
    """Raises BodyError for what is not JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BodyError(f"the body is not JSON: {error}") from error
