"""What the elements of an `esc_datamodel` are made of: texts, numbers, addresses, repeated elements, misprints.

Raises ValueError, as pydantic wants it. This file must not know which elements there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

VMS_MAX = 1000
"""Of one group."""
SECONDS_MAX = 1_000_000


def list_in(*path: str) -> BeforeValidator:
    """A repeated element, perhaps inside others that only hold it; a single one is a list of one."""

    def unwrap(given: Any) -> Any:
        for name in path:
            if isinstance(given, list | tuple):  # as it was stored; of several wrappers none has what its elements need
                break
            given = given.get(name, ()) if isinstance(given, Mapping) else ()
        return given if isinstance(given, list | tuple) else [given]

    return BeforeValidator(unwrap)


def exactly_one(what: str) -> BeforeValidator:
    """To be placed before `list_in`: of several, the last validator is the first to run."""

    def check(found: Sequence[Any]) -> Any:
        if len(found) != 1:
            raise ValueError(f"there should be one {what}, and there {'are' if found else 'is'} {len(found) or 'none'}")
        return found

    return BeforeValidator(check)


def _address(text: str) -> str:
    try:
        return text and str(ip_address(text))
    except ValueError:
        raise ValueError(f"{text!r} is no IP address") from None


def require_unique(values: Iterable[Any], what: str) -> None:
    """Names the first that is there more than once."""
    for value, times in Counter(values).items():
        if times > 1:
            raise ValueError(f"{what} {value} is there twice")


_MISPRINTS: Mapping[str, str] = {"nicaid": "nicid", "nictid": "nicid", "nivid": "nicid"}
"""Spellings that the document's examples have (docs/esc-callbacks.md#8)."""
Text = Annotated[str, Field(min_length=1, max_length=255)]
Address = Annotated[str, AfterValidator(_address)]
Seconds = Annotated[int, Field(ge=0, le=SECONDS_MAX)]
Count = Annotated[int, Field(ge=0, le=VMS_MAX)]


class Element(BaseModel):
    """An XML element: numbers may be texts and texts numbers, unknown elements are ignored, an empty one has none."""

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True, str_strip_whitespace=True)

    @model_validator(mode="before")
    @classmethod
    def _fields(cls, given: Any) -> Any:
        if isinstance(given, list):
            raise ValueError(f"the element is there {len(given)} times, and should be once")  # noqa: TRY004 -- pydantic's
        if not isinstance(given, Mapping):
            return {}
        return {**{_MISPRINTS[name]: value for name, value in given.items() if name in _MISPRINTS}, **given}
