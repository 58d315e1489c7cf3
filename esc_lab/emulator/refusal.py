"""Why a request is turned away, and which of the document's answers that is.

Handlers say what is wrong; the row of the operation says which status its table has for it. This file must not know
HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from esc_lab.emulator.endpoint_model import Row
from receiver.errors import ReceiverError


class Wrong(StrEnum):
    """What can be wrong with a request that was understood."""

    INVALID = "invalid"
    MISSING = "missing"
    CONFLICT = "conflict"
    UNACCEPTABLE = "unacceptable"
    VIM = "vim"


_STATUSES: Mapping[Wrong, Sequence[int]] = {
    Wrong.INVALID: (400, 404),
    Wrong.MISSING: (404, 400),
    Wrong.CONFLICT: (409, 400, 404),
    Wrong.UNACCEPTABLE: (406, 400),
    Wrong.VIM: (503, 500),
}
"""Best first: the tables of some operations lack the status that fits best."""


class RefusalError(ReceiverError):
    """The request is not done; the text names the fault."""

    def __init__(self, wrong: Wrong, text: str) -> None:
        super().__init__(text)
        self.wrong = wrong

    def status(self, row: Row) -> int:
        """The first status that fits of those the operation answers with."""
        return next((status for status in _STATUSES[self.wrong] if status in row.statuses), 400)


def invalid(text: str) -> RefusalError:
    """Something in the request itself."""
    return RefusalError(Wrong.INVALID, text)


def missing(text: str) -> RefusalError:
    """It names something that is not there."""
    return RefusalError(Wrong.MISSING, text)


def conflict(text: str) -> RefusalError:
    """It is against what is there, or what is going on."""
    return RefusalError(Wrong.CONFLICT, text)


def unacceptable(text: str) -> RefusalError:
    """Understood, and not to be had."""
    return RefusalError(Wrong.UNACCEPTABLE, text)
