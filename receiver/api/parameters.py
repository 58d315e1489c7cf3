"""Parameters as data: requests are read with them and the OpenAPI document is written from them.

A parameter that is unknown, repeated or has an impossible value raises a ParameterError that names it. This file must
not know what a parameter does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any
from uuid import UUID

from aiohttp import web

from receiver.api.api_errors import ParameterError
from receiver.api.openapi import Schema
from receiver.api.position import PATTERN, read_position

TEXT_MAX = 512
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ParameterType:
    """What a parameter may hold: `schema` says it to clients, `read` makes a value of text or raises ValueError."""

    schema: Schema
    read: Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an endpoint."""

    name: str
    description: str
    type: ParameterType
    example: Any
    default: Any = None
    many: bool = False
    """It may be given several times; its value is a tuple."""
    required: bool = False
    """It must be given; those of the path always are."""
    place: str = "query"
    """`query`, `path` or `header`; those of the header are read by the endpoint itself."""

    @property
    def in_path(self) -> Parameter:
        """The same, as a part of the path."""
        return replace(self, place="path")

    @property
    def repeatable(self) -> Parameter:
        """The same, for several values of which any will do."""
        return replace(self, many=True, default=())


def matching(schema: Schema, pattern: str, fault: str, convert: Callable[[str], Any] = str) -> ParameterType:
    """What a regular expression matches in full and `convert` takes; else the error says `fault`."""
    matches = re.compile(pattern, re.DOTALL).fullmatch

    def read(given: str) -> Any:
        if not matches(given):
            raise ValueError(fault)
        try:
            return convert(given)
        except ValueError:
            raise ValueError(fault) from None

    return ParameterType(schema, read)


def choice(values: Iterable[str]) -> ParameterType:
    """One of these words."""
    words = [str(value) for value in values]
    schema = {"type": "string", "enum": words}
    return matching(schema, "|".join(map(re.escape, words)), f"must be one of {', '.join(words)}")


def whole(least: int, most: int) -> ParameterType:
    """A whole number."""

    def in_range(given: str) -> int:
        if not least <= int(given) <= most:
            raise ValueError
        return int(given)

    schema = {"type": "integer", "minimum": least, "maximum": most}
    return matching(schema, "-?[0-9]{1,10}", f"must be a whole number from {least} to {most}", in_range)


def _utf_8(given: str) -> str:
    """Raises UnicodeEncodeError, a ValueError, for what was no UTF-8 in the URL."""
    given.encode()
    return given


def _time(given: str) -> datetime:
    # A `+` that was not written as %2B arrives as a space.
    at = datetime.fromisoformat(given.upper().replace(" ", "+"))
    return min(max(at, _EARLIEST), _LATEST).astimezone(UTC)


TEXT = matching(
    {"type": "string", "minLength": 1, "maxLength": TEXT_MAX, "pattern": "^[^\\u0000]+$"},
    r"[^\x00]{1,512}", f"must be 1 to {TEXT_MAX} characters of UTF-8, none of them NUL", _utf_8,
)  # fmt: skip
"""Any text that PostgreSQL can hold."""
BOOLEAN = matching({"type": "boolean"}, "true|false", "must be true or false", "true".__eq__)
TIME = matching(
    {"type": "string", "format": "date-time"},
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+ -]\d\d:\d\d)",
    "must be a time of RFC 3339 with its offset, as 2026-01-31T12:00:00Z", _time,
)  # fmt: skip
"""Limited to the years 1970 to 9000."""
UUID_TEXT = matching(
    {"type": "string", "format": "uuid"}, r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", "must be a UUID", UUID
)
POSITION = ParameterType({"type": "string", "pattern": PATTERN}, read_position)
"""A place in the order of visibility."""


def read(request: web.Request, parameters: Sequence[Parameter]) -> dict[str, Any]:
    """The values by name, with defaults for those not given. Raises ParameterError."""
    in_query = {p.name: p for p in parameters if p.place == "query"}
    for name in request.query:
        if name not in in_query:
            raise ParameterError(name[:TEXT_MAX], _unknown(name, list(in_query)))
    values = {name: _from_query(request, parameter) for name, parameter in in_query.items()}
    return values | {p.name: _value(p, request.match_info[p.name]) for p in parameters if p.place == "path"}


def _from_query(request: web.Request, parameter: Parameter) -> Any:
    given = request.query.getall(parameter.name, [])
    if parameter.many:
        return tuple(_value(parameter, one) for one in given)
    if len(given) > 1:
        raise ParameterError(parameter.name, "is given more than once; only one can count")
    if parameter.required and not given:
        raise ParameterError(parameter.name, "must be given")
    return _value(parameter, given[0]) if given else parameter.default


def _value(parameter: Parameter, given: str) -> Any:
    try:
        return parameter.type.read(given)
    except ValueError as error:
        raise ParameterError(parameter.name, str(error)) from None


def _unknown(name: str, names: Sequence[str]) -> str:
    if close := get_close_matches(name, names, n=1):
        return f"no such parameter; did you mean {close[0]}?"
    return f"no such parameter; there are {', '.join(names)}" if names else "no such parameter; there is none"
