"""What a decision is made from besides the notification, and what one rule answers.

`Current` holds the stored rows of the entities that a notification names. Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from receiver.lifecycle.ordering_marks import Windows
from receiver.model.entities import Deployment, Operation, Resource, Source, Vm
from receiver.model.notification import Notification, Status


@dataclass(slots=True)
class Current:
    """The rows that a notification is compared with; None or missing: never seen."""

    operation: Operation | None = None
    deployment: Deployment | None = None
    """The current incarnation."""
    vms: Mapping[str, Vm] = field(default_factory=dict)
    """By name: those that the notification names; all of the deployment when it says that the deployment is gone."""
    resource: Resource | None = None
    source: Source | None = None
    sequence_floor: int = 0
    """No ledger entry that is made now has this number within its entity, or a lower one."""


@dataclass(frozen=True, slots=True)
class DelayedContext:
    """How a message is decided that waited between its arrival and now: in the spool, or stored and applied again."""

    again: bool = False
    """It was applied before and reads as it did then: an entity that no longer remembers it is left as it is."""
    settled: frozenset[UUID] = frozenset()
    """Entities to which it has done before what it would do now: they are left as they are."""


@dataclass(slots=True)
class DecisionContext:
    """What is the same for every entity that one notification is about."""

    notification: Notification
    now: float
    """`received_at` in seconds since the epoch."""
    windows: Windows
    operation: tuple[float, str]
    """When its operation was first seen, and the transaction id ("" without one)."""
    delayed: DelayedContext | None = None

    transaction_id: str = field(init=False)
    """Of ESC; "" without one."""
    again: bool = field(init=False)
    """Whether the message was applied before, with the same meaning."""
    failed: bool = field(init=False)
    """Whether ESC reports failure; no status at all is taken for success (docs/esc-callbacks.md#1)."""

    def __post_init__(self) -> None:
        """Rules ask for these again and again."""
        self.transaction_id = self.operation[1]
        self.again = self.delayed is not None and self.delayed.again
        self.failed = self.notification.status is Status.FAILED

    def key(self, chain: str) -> str:
        """What an entity's ordering marks are stored under: the transaction id, or without one the message's chain."""
        return self.operation[1] or f"~{chain}"


class RuleResult(NamedTuple):
    """What a message did to one entity: whether it changed anything, and in words why or why not."""

    rule: str
    reason: str
    changed: bool = False
    late: bool = False


DUPLICATE = RuleResult("duplicate", "the same message was received before, and nothing new came of it")
LEARNED = RuleResult("facts-learned", "it told what was not known before, or knew better", changed=True)
"""Nothing that people see of a VM, deployment or resource changes without a ledger entry; this is the least of them."""
