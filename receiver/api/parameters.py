"""What may be asked: parameters as data, from which requests are read and the OpenAPI document is written.

A parameter that is unknown, repeated or has an impossible value is a fault that names it. This file must not know
what a parameter does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any
from uuid import UUID

from aiohttp import web

from receiver.api.api_errors import ParameterError
from receiver.api.position import PATTERN, read_position

TEXT_MAX = 512
_TEXT = re.compile(r"[^\x00]{1,512}", re.DOTALL)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+ -]\d\d:\d\d)")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. `read` turns its text into a value or raises ValueError; `schema` says the same to clients."""

    name: str
    description: str
    schema: Mapping[str, Any]
    read: Callable[[str], Any]
    example: Any
    default: Any = None
    many: bool = False
    """It may be given several times, and its value is a tuple."""
    place: str = "query"

    @property
    def in_path(self) -> Parameter:
        """The same, as a part of the path."""
        return replace(self, place="path")

    @property
    def repeatable(self) -> Parameter:
        """The same, for several values of which any will do."""
        return replace(self, many=True, default=())


def text(name: str, description: str, example: str) -> Parameter:
    """Any text that PostgreSQL can hold."""
    schema = {"type": "string", "minLength": 1, "maxLength": TEXT_MAX, "pattern": "^[^\\u0000]+$"}
    return Parameter(name, description, schema, _text, example)


def choice(name: str, description: str, values: Iterable[str], example: str, default: str | None = None) -> Parameter:
    """One of a few words."""
    known = tuple(str(value) for value in values)

    def read(given: str) -> str:
        if given not in known:
            raise ValueError(f"must be one of {', '.join(known)}")
        return given

    return Parameter(name, description, {"type": "string", "enum": list(known)}, read, example, default)


def whole(name: str, description: str, least: int, most: int, example: int, default: int | None = None) -> Parameter:
    """A whole number."""

    def read(given: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,10}", given) or not least <= int(given) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(given)

    schema = {"type": "integer", "minimum": least, "maximum": most}
    return Parameter(name, description, schema, read, example, default)


def yes_or_no(name: str, description: str, *, example: bool) -> Parameter:
    """`true` or `false`."""

    def read(given: str) -> bool:
        if given not in ("true", "false"):
            raise ValueError("must be true or false")
        return given == "true"

    return Parameter(name, description, {"type": "boolean"}, read, example)


def time(name: str, description: str, example: str) -> Parameter:
    """A time of RFC 3339."""
    return Parameter(name, description, {"type": "string", "format": "date-time"}, _time, example)


def position(name: str, description: str, example: str) -> Parameter:
    """A place in the order of visibility."""
    return Parameter(name, description, {"type": "string", "pattern": PATTERN}, read_position, example)


def uuid(name: str, description: str, example: str) -> Parameter:
    """A UUID in its usual form."""

    def read(given: str) -> UUID:
        if not _UUID.fullmatch(given):
            raise ValueError("must be a UUID")
        return UUID(given)

    return Parameter(name, description, {"type": "string", "format": "uuid"}, read, example)


def read(request: web.Request, parameters: Sequence[Parameter]) -> dict[str, Any]:
    """The values by name, with defaults for those not given. Raises ParameterError."""
    asked = {p.name: p for p in parameters if p.place == "query"}
    for name in request.query:
        if name not in asked:
            raise ParameterError(name[:TEXT_MAX], _unknown(name, asked))
    values = {name: _from_query(request, parameter) for name, parameter in asked.items()}
    for parameter in parameters:
        if parameter.place == "path":
            values[parameter.name] = _value(parameter, request.match_info[parameter.name])
    return values


def _from_query(request: web.Request, parameter: Parameter) -> Any:
    given = request.query.getall(parameter.name, [])
    if parameter.many:
        return tuple(_value(parameter, one) for one in given)
    if len(given) > 1:
        raise ParameterError(parameter.name, "is given more than once; only one can count")
    return _value(parameter, given[0]) if given else parameter.default


def _value(parameter: Parameter, given: str) -> Any:
    try:
        return parameter.read(given)
    except ValueError as error:
        raise ParameterError(parameter.name, str(error)) from None


def _unknown(name: str, known: Mapping[str, Parameter]) -> str:
    close = get_close_matches(name, known, n=1)
    if close:
        return f"no such parameter; did you mean {close[0]}?"
    return f"no such parameter; there are {', '.join(known)}" if known else "no such parameter; there is none"


def _text(given: str) -> str:
    if not _TEXT.fullmatch(given):
        raise ValueError(f"must be 1 to {TEXT_MAX} characters, none of them NUL")
    try:
        given.encode()
    except UnicodeEncodeError:
        raise ValueError("must be UTF-8") from None
    return given


def _time(given: str) -> datetime:
    # A `+` that was not written as %2B arrives as a space.
    wanted = "must be a time of RFC 3339 with its offset, as 2026-01-31T12:00:00Z"
    if not _TIME.fullmatch(given):
        raise ValueError(wanted)
    try:
        at = datetime.fromisoformat(given.upper().replace(" ", "+"))
    except ValueError:
        raise ValueError(wanted) from None
    try:
        return min(max(at.astimezone(UTC), _EARLIEST), _LATEST)
    except OverflowError:
        return _EARLIEST if at.year < _EARLIEST.year else _LATEST
