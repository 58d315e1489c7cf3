"""What the parsers of the families share: how they take values out of a document's fields, and what they return.

A value that was understood is taken out, so that what is left is unknown and stored as `extra`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from receiver.model.envelope import ID_BYTES_MAX, is_too_long
from receiver.model.notification import NOTHING, DeploymentReport, Family, ResourceReport, Status, VmReport
from receiver.parsing.xml_document import Fields

SHOWN_CHARACTERS_MAX: Final = 64
"""Of a received text, in a reason."""


class NameTooLongError(Exception):
    """An id or name is too long to be looked up: the callback is unclassified."""


class Said(NamedTuple):
    """What a body says of success that others say in their header."""

    status: Status
    code: int | None
    message: str | None
    notes: tuple[str, ...] = ()


class Meaning(NamedTuple):
    """What the parser of a family reads: the fields of a Notification that do not come from the envelope."""

    trigger: str | None = None
    raw_trigger: str | None = None
    deployment: DeploymentReport | None = None
    vm: VmReport | None = None
    target: VmReport | None = None
    resource: ResourceReport | None = None
    unclassified_because: str | None = None
    event: Mapping[str, Any] = NOTHING
    family: Family | None = None
    """None: that of its root element."""
    said: Said | None = None
    """None: the header says whether it succeeded."""


def take_text(fields: Fields, name: str) -> str | None:
    """Take a text out. Of several the first is taken and all stay; what is no text stays too."""
    value = fields.pop(name, None)
    if value is None or isinstance(value, str):
        return value
    fields[name] = value
    return next((one for one in value if isinstance(one, str)), None) if isinstance(value, list) else None


def take_name(fields: Fields, name: str) -> str | None:
    """Take out a text that something is looked up by. Raises NameTooLongError."""
    text = take_text(fields, name)
    if text is not None and is_too_long(text):
        raise NameTooLongError(f"{name} is longer than {ID_BYTES_MAX} bytes")
    return text


def take_block(fields: Fields, name: str) -> Fields | None:
    """Take a block out. Of several the first is taken and all stay; what is no block stays too."""
    value = fields.pop(name, None)
    if value is None or isinstance(value, dict):
        return value
    fields[name] = value
    return next((dict(one) for one in value if isinstance(one, dict)), None) if isinstance(value, list) else None


def rename(fields: Fields, aliases: Mapping[str, str]) -> None:
    """Give fields their REST names, unless that name is taken: then both stay."""
    for alias, name in aliases.items():
        if alias in fields and name not in fields:
            fields[name] = fields.pop(alias)


def shown(text: str) -> str:
    """A received text for use in a sentence: printable, and not too long."""
    printable = "".join(char if char.isprintable() else "\ufffd" for char in text[:SHOWN_CHARACTERS_MAX])
    return printable + "…" if len(text) > SHOWN_CHARACTERS_MAX else printable
