"""The rows that a batch is decided against, while it is decided: each decision is seen by the next callback.

It also tells new rows from stored ones. Must not know SQL (`store`) nor how decisions are made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from operator import attrgetter
from uuid import UUID

from receiver.lifecycle import Current, is_about_source
from receiver.model.entities import Alias, Decision, Deployment, Entity, Operation, Resource, Source, Vm
from receiver.model.entity_ids import entity_id
from receiver.model.notification import Notification


def operation_id(n: Notification) -> UUID | None:
    """The id of its operation's row."""
    return entity_id("operation", n.source, n.transaction_id) if n.transaction_id else None


def resource_id(n: Notification) -> UUID | None:
    """The id of its resource's row."""
    return entity_id("resource", n.source, n.resource.kind, n.resource.id) if n.resource else None


class UnitOfWork:
    """Rows by id, found by the names in a notification (an identity map)."""

    def __init__(self) -> None:
        self.sequence_floor = 0
        """As `Current` has it."""
        self.rows: dict[UUID, Entity] = {}
        self.stored: set[UUID] = set()
        self.changed: dict[UUID, Entity] = {}
        self.aliases: dict[tuple[str, str, UUID], Alias] = {}
        self._deployments: dict[tuple[str, str], UUID] = {}
        self._vms: dict[UUID, dict[str, Vm]] = {}

    def add(self, entities: Iterable[Entity]) -> None:
        """Add stored rows; those that were changed since stay as they are."""
        for entity in entities:
            self.stored.add(entity.id)
            if entity.id not in self.changed:
                self._index(entity)

    def next_unit(self) -> UnitOfWork:
        """One with the changed rows, for the next batch of a run that writes nothing."""
        unit = UnitOfWork()
        unit.changed = dict(self.changed)
        for entity in self.changed.values():
            unit._index(entity)
        return unit

    def current(self, n: Notification) -> Current:
        """The entities that this notification is decided against."""
        deployment = self.deployment(n)
        resource = self.rows.get(resource_id(n) or n.receipt) if n.resource else None
        return Current(
            self.operation(n),
            deployment,
            self._vms.get(deployment.id, {}) if deployment else {},
            resource if isinstance(resource, Resource) else None,
            self.source(n),
            self.sequence_floor,
        )

    def operation(self, n: Notification) -> Operation | None:
        """The operation of its transaction id."""
        row = self.rows.get(entity_id("operation", n.source, n.transaction_id)) if n.transaction_id else None
        return row if isinstance(row, Operation) else None

    def source(self, n: Notification) -> Source | None:
        """What is known of the ESC that sent it, if it is about that."""
        row = self.rows.get(entity_id("source", n.source)) if is_about_source(n) else None
        return row if isinstance(row, Source) else None

    def deployment(self, n: Notification) -> Deployment | None:
        """The current incarnation of its deployment."""
        row = self.rows.get(self._deployments.get((n.source, self.deployment_name(n) or ""), n.receipt))
        return row if isinstance(row, Deployment) else None

    def deployment_name(self, n: Notification) -> str | None:
        """The internal id of the deployment that it names, or else of the one its operation is about."""
        if n.deployment:
            return n.deployment.internal_id
        operation = self.operation(n)
        return operation.deployment if operation and n.resource is None else None

    def apply(self, decision: Decision) -> None:
        """Let the next callback see this decision."""
        for entity in decision.entities:
            self._index(entity)
            self.changed[entity.id] = entity
        for alias in decision.aliases:
            self.aliases[alias.source, alias.vm_uuid, alias.vm_id] = alias

    def changed_rows(self) -> Mapping[tuple[type[Entity], bool], list[Entity]]:
        """Changed rows in key order, by their kind and whether they are stored already."""
        found: defaultdict[tuple[type[Entity], bool], list[Entity]] = defaultdict(list)
        for entity in sorted(self.changed.values(), key=attrgetter("id")):
            found[type(entity), entity.id in self.stored].append(entity)
        return found

    def _index(self, entity: Entity) -> None:
        self.rows[entity.id] = entity
        if isinstance(entity, Vm):
            self._vms.setdefault(entity.deployment_id, {})[entity.vm_name] = entity
        elif isinstance(entity, Deployment) and entity.current:
            self._deployments[entity.source, entity.internal_deployment_id] = entity.id
