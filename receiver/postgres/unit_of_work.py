"""The rows a batch is judged against, while it is judged: each decision is seen by the next letter.

Also knows which rows are new and which were there. Must not know SQL (`store`) nor how decisions are made.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from receiver.lifecycle import Current
from receiver.model.entities import Alias, Decision, Deployment, Entity, Operation, Resource, Vm, entity_id
from receiver.model.notification import Notification


def operation_id(n: Notification) -> UUID | None:
    """The row of the operation it belongs to."""
    return entity_id("operation", n.source, n.transaction_id) if n.transaction_id else None


def resource_id(n: Notification) -> UUID | None:
    """The row of the resource it tells of."""
    return entity_id("resource", n.source, n.resource.kind, n.resource.id) if n.resource else None


class UnitOfWork:
    """Rows by id, with the indexes that a notification's words need."""

    def __init__(self) -> None:
        self.rows: dict[UUID, Entity] = {}
        self.stored: set[UUID] = set()
        self.changed: dict[UUID, Entity] = {}
        self.aliases: dict[tuple[str, str, UUID], Alias] = {}
        self._deployments: dict[tuple[str, str], UUID] = {}
        self._vms: dict[UUID, dict[str, Vm]] = {}

    def add(self, entities: Iterable[Entity]) -> None:
        """Rows as they are stored; those that were changed since stay as they are."""
        for entity in entities:
            self.stored.add(entity.id)
            if entity.id not in self.changed:
                self._index(entity)

    def carried(self) -> UnitOfWork:
        """What was changed, for the next batch of a run that writes nothing."""
        known = UnitOfWork()
        for entity in self.changed.values():
            known.changed[entity.id] = entity
            known._index(entity)
        return known

    def current(self, n: Notification) -> Current:
        """What the lifecycle is given beside this notification."""
        operation = self.rows.get(operation_id(n) or n.receipt)
        resource = self.rows.get(resource_id(n) or n.receipt)
        deployment = self.deployment(n)
        return Current(
            operation if isinstance(operation, Operation) else None,
            deployment,
            self._vms.get(deployment.id, {}) if deployment else {},
            resource if isinstance(resource, Resource) else None,
        )

    def deployment(self, n: Notification) -> Deployment | None:
        """The current incarnation of the deployment it names, or else of the one its operation is about."""
        name = n.deployment.internal_id if n.deployment else self.operation_deployment(n)
        row = self.rows.get(self._deployments.get((n.source, name or ""), n.receipt))
        return row if isinstance(row, Deployment) else None

    def operation_deployment(self, n: Notification) -> str | None:
        """The deployment that its operation is known to be about."""
        operation = self.rows.get(operation_id(n) or n.receipt)
        return operation.deployment if isinstance(operation, Operation) and n.resource is None else None

    def apply(self, decision: Decision) -> None:
        """Let the next letter see what this one did."""
        for entity in decision.entities:
            self._index(entity)
            self.changed[entity.id] = entity
        for alias in decision.aliases:
            self.aliases[alias.source, alias.vm_uuid, alias.vm_id] = alias

    def new(self, kind: type[Entity]) -> list[Entity]:
        """Changed rows that are not stored yet."""
        return [e for e in self.changed.values() if isinstance(e, kind) and e.id not in self.stored]

    def old(self, kind: type[Entity]) -> list[Entity]:
        """Changed rows that are stored already."""
        return [e for e in self.changed.values() if isinstance(e, kind) and e.id in self.stored]

    def _index(self, entity: Entity) -> None:
        self.rows[entity.id] = entity
        if isinstance(entity, Vm):
            self._vms.setdefault(entity.deployment_id, {})[entity.vm_name] = entity
        elif isinstance(entity, Deployment) and entity.current:
            self._deployments[entity.source, entity.internal_deployment_id] = entity.id
