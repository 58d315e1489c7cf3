"""What `decide` is given beside the notification, and the hand that writes down what it decides.

`Current` is what is known of the entities a notification names; `DecisionBuilder` collects ledger entries,
numbered within their entity. Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from receiver.lifecycle.ordering_marks import Windows
from receiver.model.entities import Deployment, Entity, EntityKind, Operation, Resource, Transition, Vm, transition_id
from receiver.model.notification import Notification

E = TypeVar("E", Operation, Deployment, Vm, Resource)


@dataclass(frozen=True, slots=True)
class Current:
    """The rows a notification is judged against; None or missing: never seen."""

    operation: Operation | None = None
    deployment: Deployment | None = None
    """The current incarnation."""
    vms: Mapping[str, Vm] = field(default_factory=dict)
    """By name: those it names, and all of the deployment when it says that the deployment is gone."""
    resource: Resource | None = None


@dataclass(frozen=True, slots=True)
class DelayedContext:
    """How a message is judged that waited between its arrival and now: in the spool, or kept and applied again."""

    again: bool = False
    """It was judged before, and reads as it did then: an entity that no longer remembers that cannot judge it."""
    settled: frozenset[UUID] = frozenset()
    """Entities to which it has done before what it would do now: it leaves them alone."""


class DecisionContext(NamedTuple):
    """One notification on its way through the lifecycle."""

    notification: Notification
    now: float
    """`received_at` in seconds since the epoch."""
    windows: Windows
    operation: tuple[float, str]
    """When its operation was first seen, and the transaction id ("" without one)."""
    held: DelayedContext | None = None

    def key(self, chain: str) -> str:
        """The transaction id, or without one the chain of messages: what an entity's marks are kept under."""
        return self.operation[1] or f"~{chain}"

    def moved(self, memory: dict[str, Any], chain: str) -> dict[str, Any]:
        """The memory of an entity that this message moves: by what, and when that arrived."""
        last = max(self.now, memory.get("moved", self.now))
        return {**memory, "mover": list(self.operation), "chain": self.key(chain), "moved": last}

    @property
    def again(self) -> bool:
        """Whether it was judged before, and has told then what it knows."""
        return self.held is not None and self.held.again

    @property
    def failed(self) -> bool:
        """Whether ESC reports failure; no status at all is taken for success (docs/esc-callbacks.md#1)."""
        return self.notification.status == "failed"


class RuleResult(NamedTuple):
    """What a message did to one entity, in words: whether it changed anything, and why or why not."""

    rule: str
    reason: str
    changed: bool = False
    late: bool = False


LEARNED = RuleResult("facts-learned", "it told what was not known before, or knew better", changed=True)
"""Nothing that people see of a VM, deployment or resource changes without a ledger entry; this is the least of them."""

_NOT_SHOWN = frozenset({"memory", "sequence", "vms", "current"})
_SHOWN: Mapping[type, Callable[[Any], tuple[Any, ...]]] = {
    kind: attrgetter(*(name for name in kind._fields if name not in _NOT_SHOWN)) for kind in (Deployment, Vm, Resource)
}


def differs(before: Entity, after: Entity) -> bool:
    """Whether anything that people see has changed."""
    shown = _SHOWN[type(after)]
    return before is not after and shown(before) != shown(after)


def _named(entity: Entity) -> tuple[EntityKind, str | None, int | None, str]:
    """Its kind, deployment, incarnation and name, as the ledger shows them."""
    match entity:
        case Deployment():
            return (
                EntityKind.DEPLOYMENT,
                entity.internal_deployment_id,
                entity.incarnation,
                entity.internal_deployment_id,
            )
        case Vm():
            return EntityKind.VM, entity.deployment, None, entity.vm_name
        case Operation():
            return EntityKind.OPERATION, entity.deployment, None, entity.transaction_id
        case Resource():
            return EntityKind.RESOURCE, entity.deployment, None, f"{entity.kind}/{entity.resource_id}"


class DecisionBuilder:
    """Collects what one decision writes: new rows by id, ledger entries in order."""

    def __init__(self, notification: Notification) -> None:
        self.notification = notification
        self.incarnation: int | None = None
        """Of the deployment whose VMs are written: a VM's numbers begin anew with each."""
        self.rows: dict[Any, Entity] = {}
        self.transitions: list[tuple[Transition, Entity]] = []
        self.since: list[datetime | None] = []
        """For each ledger entry, since when its entity had been in the state it left."""

    def keep(self, entity: Entity) -> None:
        """Write the row, with no ledger entry."""
        self.rows[entity.id] = entity

    def record(self, entity: E, from_state: str, change: str, result: RuleResult, since: datetime | None = None) -> E:
        """Write a ledger entry for `entity` as it stands now; returns it with its sequence advanced."""
        n = self.notification
        entity = entity._replace(sequence=entity.sequence + 1)
        kind, deployment, incarnation, name = _named(entity)
        if kind is EntityKind.VM:
            incarnation = self.incarnation
        ordinal = [other.id for _, other in self.transitions].count(entity.id)
        transition = Transition(
            id=transition_id(n.receipt, entity.id, ordinal),
            at=n.received_at, entity=kind, entity_id=entity.id, source=n.source,
            tenant=entity.tenant, deployment=deployment, incarnation=incarnation, name=name,
            sequence=entity.sequence, from_state=from_state, to_state=entity.state, change=change,
            trigger=n.trigger or "", rule=result.rule, reason=result.reason,
            receipt=n.receipt, operation=n.transaction_id, ref=n.ref,
        )  # fmt: skip
        self.transitions.append((transition, entity))
        self.since.append(since)
        self.keep(entity)
        return entity
