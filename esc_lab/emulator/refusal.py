"""Why a request is refused, and which of the document's status codes that is.

Handlers say what is wrong; the row of the operation says which status its table has for it. This file must not know
HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import partial

from esc_lab.emulator.endpoint_model import Row
from receiver.errors import ReceiverError


class Wrong(StrEnum):
    """What can be wrong with a well-formed request."""

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
    """The request is not done; the text names the reason."""

    def __init__(self, wrong: Wrong, text: str) -> None:
        super().__init__(text)
        self.wrong = wrong

    def status(self, row: Row) -> int:
        """The first status that fits of those the operation answers with."""
        return next((status for status in _STATUSES[self.wrong] if status in row.statuses), 400)


invalid = partial(RefusalError, Wrong.INVALID)
missing = partial(RefusalError, Wrong.MISSING)
conflict = partial(RefusalError, Wrong.CONFLICT)
"""The request contradicts the state of what it names, or work that is in progress."""
