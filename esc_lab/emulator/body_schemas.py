"""Checks a body against its model, and writes the model as JSON Schema.

Text that came out of XML is read as the type of its shape: `<vcpus>2</vcpus>` is the number 2. Fields that the document
does not print are kept as they are: releases differ (docs/esc-callbacks.md#trap-11). This file must not know HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from esc_lab.emulator.models import Model, Shape
from receiver.errors import ReceiverError

Language = Literal["xml", "json"]
INTEGER_MAX = 2**31 - 1
_WHOLE = re.compile(r"(-?[0-9]{1,10})(\.0+)?")
_TRUTH = {"true": True, "false": False}


class BodyError(ReceiverError):
    """The body is not what the operation takes; the text names the field."""


def conform(given: Any, model: Model, *, from_xml: bool) -> dict[str, Any]:
    """The body with the types of its model; raises BodyError naming the first field that does not fit."""
    fields = _conform(given, model.shape, model.root, from_xml=from_xml)
    if not isinstance(fields, dict):
        raise BodyError(f"{model.root} should have elements in it")
    missing = [name for name in model.required if fields.get(name, "") == "" and name not in model.longest]
    missing += [name for name in model.required if name not in fields and name not in missing]
    if missing:
        raise BodyError(f"{model.root} lacks {', '.join(missing)}")
    for name, words in model.words.items():
        if name in fields and fields[name] not in words:
            raise BodyError(f"{name} is {fields[name]!r}, and should be one of {', '.join(words)}")
    for name, longest in model.longest.items():
        if name in fields and not 1 <= len(fields[name]) <= longest:
            raise BodyError(f"{name} has {len(fields[name])} characters, and should have 1 to {longest}")
    # What is empty and may be is not there (docs/esc-callbacks.md#3).
    return {name: value for name, value in fields.items() if value != ""}


def schema(model: Model) -> dict[str, Any]:
    """JSON Schema of the model, with the name of its XML element."""
    found = {**_schema(model.shape), "xml": {"name": model.root}}
    if model.required:
        found["required"] = list(model.required)
    for name, words in model.words.items():
        found["properties"][name] = {"type": "string", "enum": list(words)}
    for name, longest in model.longest.items():
        found["properties"][name] = {"type": "string", "minLength": 1, "maxLength": longest}
    return found


def _conform(given: Any, shape: Shape, name: str, *, from_xml: bool) -> Any:
    if isinstance(shape, dict):
        return _conform_fields(given, shape, name, from_xml=from_xml)
    if isinstance(shape, list):
        many = given if isinstance(given, list) else [given] if from_xml else None
        if many is None:
            raise BodyError(f"{name} should be a list")
        return [_conform(one, shape[0], name, from_xml=from_xml) for one in many]
    if isinstance(given, list | dict):
        raise BodyError(f"{name} should be {_words(shape)}, once")
    return _conform_value(given, shape, name, from_xml=from_xml)


def _conform_fields(given: Any, shape: Mapping[str, Shape], name: str, *, from_xml: bool) -> Any:
    if from_xml and isinstance(given, str) and not given.strip():
        given = {}
    if not isinstance(given, dict):
        raise BodyError(f"{name} should hold {'elements' if from_xml else 'an object'}")
    return {
        key: _conform(value, shape[key], key, from_xml=from_xml) if key in shape else _free(value, from_xml=from_xml)
        for key, value in given.items()
    }


def _free(value: Any, *, from_xml: bool) -> Any:
    """What no model describes stays as it is; but a `property` repeats wherever the document prints one."""
    if not from_xml or not isinstance(value, list | dict):
        return value
    if isinstance(value, list):
        return [_free(one, from_xml=True) for one in value]
    found = {name: _free(one, from_xml=True) for name, one in value.items()}
    if isinstance(found.get("property"), dict):
        found["property"] = [found["property"]]
    return found


def _conform_value(given: Any, shape: Shape, name: str, *, from_xml: bool) -> Any:
    if from_xml:
        text = str(given)
        if isinstance(shape, bool):
            given = _TRUTH.get(text.lower(), text)
        elif isinstance(shape, int):
            given = int(whole[1]) if (whole := _WHOLE.fullmatch(text)) else text
        else:
            given = text
    elif isinstance(given, float) and given.is_integer() and not isinstance(shape, bool) and isinstance(shape, int):
        given = int(given)
    given = given.strip() if isinstance(given, str) else given
    right = isinstance(given, type(shape)) and (isinstance(shape, bool) or not isinstance(given, bool))
    if not right or (isinstance(given, int) and not 0 <= given <= INTEGER_MAX):
        raise BodyError(f"{name} is {str(given)[:80]!r}, and should be {_words(shape)}")
    return given


def _words(shape: Shape) -> str:
    if isinstance(shape, bool):
        return "true or false"
    return f"a whole number from 0 to {INTEGER_MAX}" if isinstance(shape, int) else "a text"


def _schema(shape: Shape) -> dict[str, Any]:
    if isinstance(shape, dict):
        fields = {name: _schema(inner) for name, inner in shape.items()}
        return {"type": "object", "properties": fields} if fields else {"type": "object"}
    if isinstance(shape, list):
        return {"type": "array", "items": _schema(shape[0])}
    if isinstance(shape, bool):
        return {"type": "boolean"}
    if isinstance(shape, int):
        return {"type": "integer", "minimum": 0, "maximum": INTEGER_MAX}
    return {"type": "string"}
