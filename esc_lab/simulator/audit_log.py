"""What an auditor needs after a run: the truth and every receipt the target gave.

It grows with every message, so an endless run keeps none. This file must not know HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from esc_lab.simulator.delivery_faults import Sending, Sort
from esc_lab.simulator.expected_state import Truth
from esc_lab.simulator.script_runner import Operation


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the target says it has kept, to be compared with what it has."""

    receipt: str
    source: str
    channel: str
    sort: Sort
    transaction: str
    status: int
    body: bytes
    """As it was sent."""
    sha256: str

    def as_dict(self) -> dict[str, str | int]:
        """For a file: all but the body."""
        names = ("receipt", "source", "channel", "sort", "transaction", "status", "sha256")
        return {name: getattr(self, name) for name in names}


@dataclass(slots=True)
class Book:
    """Kept while the traffic is played."""

    truth: Truth = field(default_factory=Truth)
    receipts: list[Receipt] = field(default_factory=list)

    def keep(self, receipt: str, operation: Operation, sending: Sending, status: int) -> None:
        """Writes one receipt down."""
        message = sending.message
        self.receipts.append(
            Receipt(
                receipt,
                operation.source,
                message.channel,
                sending.sort,
                operation.transaction,
                status,
                message.body,
                sha256(message.body).hexdigest(),
            )
        )

    def as_dict(self) -> dict[str, Any]:
        """For a file."""
        return {"truth": self.truth.as_dict(), "receipts": [receipt.as_dict() for receipt in self.receipts]}
