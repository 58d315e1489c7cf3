"""A place in the order in which rows become visible (migration 0004), and how clients see it: opaque text.

It is the cursor of callbacks and ledger entries, and the event id of the feed. This file must not know SQL or HTTP.
"""

from __future__ import annotations

import re
from typing import NamedTuple

PATTERN = r"^[0-9]{1,18}-[0-9]{1,18}$"
_FULL = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")


class Position(NamedTuple):
    """The writer's transaction, and a serial number within it."""

    xid: int
    serial: int

    def __str__(self) -> str:
        return f"{self.xid}-{self.serial}"


BEGINNING = Position(0, 0)


def read_position(text: str) -> Position:
    """The position that a text stands for. Raises ValueError."""
    match = _FULL.fullmatch(text)
    if match is None:
        raise ValueError("not a position that was given out here")
    return Position(int(match[1]), int(match[2]))
