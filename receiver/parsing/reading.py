"""All work on one body in one step: what may be stored of it, and what it says. For a large one it takes as long as the
event loop must never stand still, so it is done in a process of its own (`reader_process`).

Everything here is of plain values, which can be sent between processes. Must not know where it runs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from receiver.errors import NotXmlError
from receiver.parsing import xml_document
from receiver.parsing.stored_body import StoredBody, stored_body
from receiver.parsing.xml_document import Document
from receiver.redaction.redactor import Redactor


class Limits(NamedTuple):
    """What of the settings the work depends on."""

    body_bytes_max: int
    xml_depth_max: int
    secret_names: tuple[str, ...]
    redaction_tokens_max: int

    def redactor(self) -> Redactor:
        """Made of them."""
        return Redactor(self.secret_names, self.redaction_tokens_max)


class Reading(NamedTuple):
    """What a body says, as it was read before; neither of both when that failed for a fault of ours."""

    document: Document | None = None
    malformed: str | None = None
    """Why it is no document."""


def read_document(body: bytes, depth_max: int) -> Reading:
    """What a body says; never raises for what it holds."""
    try:
        return Reading(xml_document.read(body, depth_max))
    except NotXmlError as error:
        return Reading(malformed=str(error))
    except Exception:  # noqa: BLE001 - a fault of ours, and the body is stored all the same
        return Reading()


def store_and_read(sent: bytes, encoding: str | None, redactor: Redactor, limits: Limits) -> tuple[StoredBody, Reading]:
    """What is stored of a body, and what that says. Raises BodyTooLargeError when it unpacks to too much."""
    stored = stored_body(sent, encoding, redactor, limits.body_bytes_max)
    if stored.undecodable_because is not None:
        return stored, Reading(malformed=stored.undecodable_because)
    return stored, read_document(stored.body, limits.xml_depth_max)


def to_values(reading: Reading) -> tuple[Any, ...]:
    """As `marshal` takes it."""
    return (reading.document and tuple(reading.document), reading.malformed)


def of_values(values: tuple[Any, ...]) -> Reading:
    """As it was before `to_values`."""
    document, malformed = values
    return Reading(document and Document(*document), malformed)
