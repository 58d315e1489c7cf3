"""What a verification found, each named: which entry, where it stands, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

NAMED_MAX = 100


class Fault(StrEnum):
    """What may be wrong."""

    CHANGED = "changed"
    REMOVED = "removed"
    INSERTED = "inserted"
    REORDERED = "reordered"
    UNREADABLE = "unreadable"
    LEFT_OUT = "left-out"
    """The ledger had, or should have had, an entry that the archive has not."""
    SEGMENT = "segment"
    """A whole segment: missing, cut off, or not as it was signed."""
    SIGNATURE = "signature"
    """Not signed by whom it should be."""
    HEAD = "head"
    """Not as was published."""


@dataclass(slots=True)
class Finding:
    """One thing that is wrong."""

    fault: Fault
    where: str
    what: str

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        return {"fault": str(self.fault), "where": self.where, "what": self.what}


@dataclass(slots=True)
class Findings:
    """All of one verification; so many are named, the rest counted."""

    named: list[Finding] = field(default_factory=list)
    count: int = 0

    def add(self, fault: Fault, where: str, what: str) -> Finding:
        """One more."""
        self.count += 1
        finding = Finding(fault, where, what)
        if len(self.named) < NAMED_MAX:
            self.named.append(finding)
        return finding
