"""What an auditor needs after a run: the expected state, and every receipt the target gave.

It grows with every message, so an endless run keeps none. This file must not know HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from esc_lab.simulator.delivery_faults import Sending, Sort
from esc_lab.simulator.expected_state import ExpectedState
from esc_lab.simulator.script_runner import Operation


@dataclass(frozen=True, slots=True)
class Receipt:
    """A message that the target says it has stored, to be compared with what it has; `body` as it was sent."""

    receipt: str
    source: str
    channel: str
    sort: Sort
    transaction: str
    status: int
    body: bytes

    @property
    def sha256(self) -> str:
        """Digest of the body, in hexadecimal digits."""
        return sha256(self.body).hexdigest()

    def as_dict(self) -> dict[str, str | int]:
        """For a file: all but the body."""
        names = ("receipt", "source", "channel", "sort", "transaction", "status", "sha256")
        return {name: getattr(self, name) for name in names}


@dataclass(slots=True)
class AuditLog:
    """Written while the traffic is played."""

    expected: ExpectedState = field(default_factory=ExpectedState)
    receipts: list[Receipt] = field(default_factory=list)

    def add_receipt(self, receipt: str, operation: Operation, sending: Sending, status: int) -> None:
        """Records one receipt."""
        message = sending.message
        ids = operation.source, message.channel, sending.sort, operation.transaction
        self.receipts.append(Receipt(receipt, *ids, status, message.body))

    def as_dict(self) -> dict[str, Any]:
        """For a file."""
        return {"truth": self.expected.as_dict(), "receipts": [receipt.as_dict() for receipt in self.receipts]}
