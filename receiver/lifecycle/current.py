"""What `decide` is given beside the notification, and the hand that writes down what it decides.

`Current` is what is known of the entities a notification names; `Writer` collects ledger entries,
numbered within their entity. Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from receiver.entities import Deployment, Entity, EntityKind, Operation, Resource, Transition, Vm, transition_id
from receiver.lifecycle.memory import Windows
from receiver.notification import Notification

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
class Moment:
    """One notification on its way through the lifecycle."""

    notification: Notification
    now: float
    """`received_at` in seconds since the epoch."""
    windows: Windows
    operation: tuple[float, str]
    """When its operation was first seen, and the transaction id ("" without one)."""

    @property
    def failed(self) -> bool:
        return self.notification.status == "failed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a message did to one entity, in words: whether it changed anything, and why or why not."""

    rule: str
    reason: str
    changed: bool = False
    late: bool = False


_IDENTITY: Mapping[type, Any] = {
    Operation: (EntityKind.OPERATION, lambda e: (e.tenant, e.deployment, None, e.transaction_id)),
    Deployment: (EntityKind.DEPLOYMENT, lambda e: (e.tenant, e.internal_deployment_id, e.incarnation, e.internal_deployment_id)),
    Vm: (EntityKind.VM, lambda e: (e.tenant, e.deployment, None, e.vm_name)),
    Resource: (EntityKind.RESOURCE, lambda e: (e.tenant, e.deployment, None, f"{e.kind}/{e.resource_id}")),
}  # fmt: skip


class Writer:
    """Collects what one decision writes: new rows by id, ledger entries in order."""

    def __init__(self, notification: Notification) -> None:
        self.notification = notification
        self.rows: dict[Any, Entity] = {}
        self.transitions: list[tuple[Transition, Entity]] = []

    def keep(self, entity: Entity) -> None:
        self.rows[entity.id] = entity

    def record(self, entity: E, from_state: str, change: str, verdict: Verdict) -> E:
        """Write a ledger entry for `entity` as it stands now; returns it with its sequence advanced."""
        n = self.notification
        kind, identity = _IDENTITY[type(entity)]
        entity = replace(entity, sequence=entity.sequence + 1)
        tenant, deployment, incarnation, name = identity(entity)
        ordinal = sum(1 for _, other in self.transitions if other.id == entity.id)
        transition = Transition(
            id=transition_id(n.receipt, entity.id, ordinal),
            at=n.received_at, entity=kind, entity_id=entity.id, source=n.source,
            tenant=tenant, deployment=deployment, incarnation=incarnation, name=name,
            sequence=entity.sequence, from_state=from_state, to_state=entity.state, change=change,
            trigger=n.trigger or "", rule=verdict.rule, reason=verdict.reason,
            receipt=n.receipt, operation=n.transaction_id, ref=n.ref,
        )  # fmt: skip
        self.transitions.append((transition, entity))
        self.keep(entity)
        return entity
