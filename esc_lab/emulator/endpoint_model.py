"""The vocabulary in which the operations of the northbound API are written down, one row each.

Routes, checks, the OpenAPI document, the coverage table and tests all follow from the rows (`endpoint_tables`). This
file must not know how an operation is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from esc_lab.emulator.models import MODELS, Evidence

Method = Literal["GET", "POST", "PUT", "DELETE"]
BASES = ("/ESCManager", "/ESCManger")
"""ESC's base path, and as the document prints it (docs/esc-callbacks.md#1)."""


class Need(StrEnum):
    """What the document says of a callback header."""

    NONE = ""
    OPTIONAL = "optional"
    REQUIRED = "required"
    """Printed as required, but the document lists no error for its absence: then no callback is sent."""
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
    does: Callable[[Any, Any], Any]
    """The handler: takes the Esc and the Call, returns the Reply (`handlers`)."""
    answers: Mapping[int, str]
    """Status codes and reasons, as the document's table prints them; the first is that of an accepted request."""
    kind: str = ""
    """The kind of resource, where several kinds share a handler."""
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
    answer_printed: bool = False
    """The document prints an answer; elsewhere its body follows from callbacks or models."""
    is_guess: bool = False
    """The document does not say how it is asked for."""
    unproduced: Sequence[int] = ()
    """Statuses of the document's table for which it gives no cause, so that nothing brings them about here."""
    extra: Mapping[int, str] = field(default_factory=dict)
    """Answers beyond the document's, where its table has none that fits."""

    @property
    def evidence(self) -> Evidence:
        """How much of it the sources prove: as much as of its least proven part."""
        parts = [evidence_of(event) for event in self.sends]
        parts += [MODELS[self.body].evidence] if self.body in MODELS else []
        if self.answer and not self.answer_printed:
            # Nothing prints a list in XML.
            parts += [MODELS[self.answer].evidence, Evidence.GUESSED if self.many else Evidence.RECONSTRUCTED]
        return max(parts, key=list(Evidence).index, default=Evidence.GUESSED if self.is_guess else Evidence.VERIFIED)

    @property
    def needs_vim(self) -> bool:
        """Whether a VIM that cannot be reached is its fault: it works there or checks it, and the table says how."""
        return bool(self.sends or self.kind == "vim_status") and bool({500, 503} & self.answers.keys())

    @property
    def ok(self) -> int:
        """The status of an accepted request."""
        return next(iter(self.answers))

    @property
    def statuses(self) -> Mapping[int, str]:
        """All answers that it may give; where the document has a text, that is it."""
        return {**self.extra, **self.answers}


BAD_BODY = {400: "Invalid Request", 413: "The body is too large", 415: "Neither XML nor JSON"}
"""Answers of any operation with a body, whatever its table says."""
BAD_HEADER = {400: "Invalid Request"}
"""A callback header that is no URL; the table of some operations has no 400."""
CONFLICT = {409: "Conflicting Request"}

_PRINTED = frozenset(
    {
        "VM_DEPLOYED", "VM_ALIVE", "VM_STOPPED", "VM_UPDATED", "SERVICE_ALIVE", "SERVICE_UPDATED", "SERVICE_STOPPED",
        "VM_STOP_COMPLETE", "CREATE_TENANT", "CREATE_IMAGE", "CREATE_FLAVOR",
    }
)  # fmt: skip
"""● in docs/esc-callbacks.md#4.1, #4.2."""

_INFERRED = frozenset(
    {
        "VM_STARTED", "VM_REBOOTED", "VM_UNDEPLOYED", "VM_MONITOR_SET", "VM_MONITOR_UNSET", "SERVICE_UNDEPLOYED",
        "VM_RECOVERY_INIT", "VM_RECOVERY_REBOOT", "VM_RECOVERY_UNDEPLOYED", "VM_RECOVERY_DEPLOYED",
        "VM_RECOVERY_COMPLETE", "VM_RECOVERY_CANCELLED", "VM_SCALE_OUT_INIT", "VM_SCALE_OUT_DEPLOYED",
        "VM_SCALE_OUT_COMPLETE", "VM_SCALE_IN_INIT", "VM_SCALE_IN_COMPLETE", "CREATE_NETWORK", "CREATE_SUBNET",
        "CREATE_ROUTER", "DELETE_NETWORK", "DELETE_SUBNET", "DELETE_IMAGE", "DELETE_FLAVOR",
    }
)  # fmt: skip
"""◐ there; what is in neither set is ○."""

UNPUBLISHED = frozenset(
    {
        "VM_MIGRATE_COMPLETE", "VM_CONFIRM_RESIZE_COMPLETE", "VM_REVERT_RESIZE_COMPLETE", "VM_SNAPSHOT_COMPLETE",
        "VM_SNAPSHOT_DELETE_COMPLETE", "VM_SNAPSHOT_REVERT_COMPLETE", "HOST_DISABLE", "HOST_ENABLE",
    }
)  # fmt: skip
"""Events of operations whose messages nobody has published (docs/esc-callbacks.md#5): the names are ours."""


def evidence_of(event: str) -> Evidence:
    """How much is known of a message with this stage or event type."""
    if event in _PRINTED:
        return Evidence.VERIFIED
    return Evidence.RECONSTRUCTED if event in _INFERRED else Evidence.GUESSED
