"""The words in which the operations of the northbound API are written down, one row each.

Routes, checks, the OpenAPI document, the coverage table and tests all follow from the rows (`chapters`). This file must
not know how an operation is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

Method = Literal["GET", "POST", "PUT", "DELETE"]
BASES = ("/ESCManager", "/ESCManger")
"""ESC's base path, and as the document prints it (docs/esc-callbacks.md#1)."""


class Evidence(StrEnum):
    """How much of an operation the ESC document proves."""

    VERIFIED = "verified"
    """Path, answers and callbacks are printed."""
    RECONSTRUCTED = "reconstructed"
    """Path and answers are printed, the callbacks follow from other documents (◐ in docs/esc-callbacks.md#marks)."""
    GUESSED = "guessed"
    """Something that can be seen from outside, the message or the body, is only suspected (○)."""


class Need(StrEnum):
    """What the document says of a callback header."""

    NONE = ""
    OPTIONAL = "optional"
    REQUIRED = "required"
    """Printed as required, but its absence is no fault that the document lists: then no callback is sent."""
    ENFORCED = "enforced"
    """Its absence is 400 "Missing callback"."""


@dataclass(frozen=True, slots=True)
class Row:
    """One operation of the document."""

    name: str
    """Its operationId."""
    chapter: str
    method: Method
    path: str
    summary: str
    does: str
    """The handler that does it."""
    answers: Mapping[int, str]
    """Status codes and reasons, as the document's table prints them."""
    kind: str = ""
    """What it is about, where several kinds share a handler."""
    callback: Need = Need.NONE
    events: Need = Need.NONE
    body: str = ""
    """The model of the request's body; "text" is a bare value."""
    answer: str = ""
    """The model of the answer's body."""
    many: bool = False
    """The answer is a list of them."""
    query: Sequence[str] = ()
    headers: Sequence[str] = ()
    """Parameters that the document puts into the header, besides the callback URLs; all optional."""
    sends: Sequence[str] = ()
    """The messages that may follow, in order."""
    evidence: Evidence = Evidence.VERIFIED
    extra: Mapping[int, str] = field(default_factory=dict)
    """Answers beyond the document's, where its table has none that fits."""

    @property
    def ok(self) -> int:
        """The status of an accepted request: the first of its table."""
        return next(iter(self.answers))

    @property
    def statuses(self) -> Mapping[int, str]:
        """All answers that it gives."""
        return {**self.answers, **self.extra}


BAD_BODY = {400: "Invalid Request", 413: "The body is too large", 415: "Neither XML nor JSON"}
"""What any operation with a body may answer, whatever its table says."""
BAD_HEADER = {400: "Invalid Request"}
"""A callback header that is no URL; the table of some operations has no 400."""
CONFLICT = {409: "Conflicting Request"}
