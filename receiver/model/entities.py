"""Rows of deployments, VMs, resources and operations, and the decision that one callback leads to.

One named tuple per table, its fields the columns and, in this order, those of its row type (migration 0008; a test
compares them). Tuples, because several are made for each callback, and a frozen dataclass takes several times as long
to make. What a field holds is never changed in place. Must not know how a state is
decided (`lifecycle`), nor SQL (`postgres`).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from receiver.model.notification import Outcome


class VmState(StrEnum):
    """docs/esc-callbacks.md#6.1."""

    UNSEEN = "UNSEEN"
    DEPLOYING = "DEPLOYING"
    INERT = "INERT"
    ALIVE = "ALIVE"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    STARTING = "STARTING"
    REBOOTING = "REBOOTING"
    RECOVERING = "RECOVERING"
    ERROR = "ERROR"
    UNDEPLOYING = "UNDEPLOYING"
    UNDEPLOYED = "UNDEPLOYED"


class DeploymentState(StrEnum):
    """docs/esc-callbacks.md#6.2."""

    UNSEEN = "UNSEEN"
    DEPLOYING = "DEPLOYING"
    INERT = "INERT"
    ACTIVE = "ACTIVE"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    STARTING = "STARTING"
    REBOOTING = "REBOOTING"
    ERROR = "ERROR"
    UNDEPLOYING = "UNDEPLOYING"
    UNDEPLOYED = "UNDEPLOYED"


class ResourceState(StrEnum):
    """docs/storage.md#states."""

    UNSEEN = "UNSEEN"
    CREATED = "CREATED"
    UPDATED = "UPDATED"
    DELETED = "DELETED"
    ERROR = "ERROR"


class OperationState(StrEnum):
    """docs/storage.md#states. An operation is all that shares one ESC transaction id."""

    UNSEEN = "UNSEEN"
    OPEN = "OPEN"
    OVERDUE = "OVERDUE"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class SourceState(StrEnum):
    """docs/esc-callbacks.md#10: what an ESC says of itself."""

    UNSEEN = "UNSEEN"
    IN_SERVICE = "IN_SERVICE"
    OUT_OF_SERVICE = "OUT_OF_SERVICE"


class EntityKind(StrEnum):
    """The kinds of entities that ESC reports on."""

    DEPLOYMENT = "deployment"
    VM = "vm"
    RESOURCE = "resource"
    OPERATION = "operation"
    SOURCE = "source"


class Operation(NamedTuple):
    """A row of `operations`; `kind` says what was asked (`lifecycle.operation_tables.KINDS`)."""

    id: UUID
    source: str
    transaction_id: str
    kind: str
    state: str
    first_seen_at: datetime
    last_seen_at: datetime
    ended_at: datetime | None = None
    revised: bool = False
    tenant: str | None = None
    deployment: str | None = None
    ref: str | None = None
    vms_seen: int = 0
    vms_deployed: int = 0
    vms_alive: int = 0
    vms_failed: int = 0
    status_code: int | None = None
    status_message: str | None = None
    sequence: int = 0
    memory: dict[str, Any] = {}


class Deployment(NamedTuple):
    """A row of `deployments`: one incarnation of an internal deployment id (docs/esc-callbacks.md#6.3)."""

    id: UUID
    source: str
    internal_deployment_id: str
    incarnation: int
    current: bool
    """False once a newer incarnation of the same internal id has been seen."""
    state: str
    first_seen_at: datetime
    changed_at: datetime
    ended_at: datetime | None = None
    external_deployment_id: str | None = None
    deployment_name: str | None = None
    tenant: str | None = None
    external_tenant_id: str | None = None
    reported_state: str | None = None
    degraded: bool = False
    vim_leak_suspected: bool = False
    conflicting_external_id: str | None = None
    last_operation: dict[str, Any] | None = None
    vms: dict[str, int] = {}
    """How many of its VMs are in which state."""
    extra: dict[str, Any] = {}
    sequence: int = 0
    memory: dict[str, Any] = {}


class Vm(NamedTuple):
    """A row of `vms`: a `vm_name` within an incarnation; its `vm_uuid` may change (docs/esc-callbacks.md#6.3)."""

    id: UUID
    source: str
    deployment_id: UUID
    """The row of its deployment's incarnation."""
    deployment: str
    """Its deployment's internal id."""
    tenant: str | None
    vm_name: str
    state: str
    first_seen_at: datetime
    changed_at: datetime
    ended_at: datetime | None = None
    vm_group: str | None = None
    vm_uuid: str | None = None
    host_uuid: str | None = None
    host_name: str | None = None
    interfaces: list[dict[str, Any]] = []
    reported_state: str | None = None
    monitored: bool | None = None
    recovery_open: bool = False
    needs_manual_recovery: bool = False
    last_operation: dict[str, Any] | None = None
    extra: dict[str, Any] = {}
    sequence: int = 0
    memory: dict[str, Any] = {}


class Resource(NamedTuple):
    """A row of `resources`: a tenant, network, subnet, image, flavor, router … (docs/esc-callbacks.md#3.3)."""

    id: UUID
    source: str
    kind: str
    resource_id: str
    state: str
    first_seen_at: datetime
    changed_at: datetime
    ended_at: datetime | None = None
    external_id: str | None = None
    name: str | None = None
    tenant: str | None = None
    deployment: str | None = None
    attributes: dict[str, Any] = {}
    sequence: int = 0
    memory: dict[str, Any] = {}


class Source(NamedTuple):
    """A row of `sources`: an ESC instance, as far as it has said anything of itself (docs/esc-callbacks.md#10)."""

    id: UUID
    source: str
    state: str
    first_seen_at: datetime
    changed_at: datetime
    reason: str | None = None
    """Why, as it says."""
    sequence: int = 0
    memory: dict[str, Any] = {}

    @property
    def tenant(self) -> None:
        """It belongs to none."""

    @property
    def ended_at(self) -> None:
        """It never ends."""


Entity = Operation | Deployment | Vm | Resource | Source


class Alias(NamedTuple):
    """A `vm_uuid` by which a VM was known, from when and to when."""

    source: str
    vm_uuid: str
    vm_id: UUID
    valid_from: datetime
    valid_to: datetime | None = None


class Transition(NamedTuple):
    """One ledger entry: a change of state, or a note (`from_state` equals `to_state`)."""

    id: UUID
    at: datetime
    entity: str
    entity_id: UUID
    source: str
    tenant: str | None
    deployment: str | None
    incarnation: int | None
    name: str
    """vm_name, internal deployment id, transaction id, `kind/id` of a resource, or the source itself."""
    sequence: int
    from_state: str
    to_state: str
    change: str
    """The new state or the note, lower case: the `<change>` of the feed's subject."""
    trigger: str
    rule: str
    reason: str
    receipt: UUID | None
    operation: str | None
    """The ESC transaction id of the message."""
    ref: str | None


class Decision(NamedTuple):
    """What one callback does. `entities` holds the rows to write, `transitions` pairs each ledger entry with
    the entity as it stands after it (what the feed and the KV bucket show)."""

    outcome: Outcome
    rule: str
    reason: str
    entities: tuple[Entity, ...] = ()
    transitions: tuple[tuple[Transition, Entity], ...] = ()
    aliases: tuple[Alias, ...] = ()
    since: tuple[datetime | None, ...] = ()
    """For each of `transitions`, since when the entity had been in `from_state`; None where that is not known."""
