"""What a callback says once it has been parsed.

Values only, never changed once they are made; not frozen, because making them would take several times as long. This
file must not know HTTP, XML, SQL or NATS, nor what a message does to an entity: `parsing` makes a Notification,
`lifecycle` decides on it. Names of ESC appear here in our spelling; the spelling that arrived stays in the `raw_…`
fields and in the stored body.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Channel(StrEnum):
    """Which of the two ESC URLs the callback was posted to; for `POST /` the root element decides. What ESC answered
    when it was asked came to neither."""

    CALLBACK = "callback"
    EVENTS = "events"
    RECONCILE = "reconcile"


POSTED = (Channel.CALLBACK, Channel.EVENTS)
"""Those that have a URL."""


class Family(StrEnum):
    """The payload family (docs/esc-callbacks.md#3), shown by the root element."""

    DEPLOYMENT = "deployment"
    VM_EVENT = "esc_event"
    RESOURCE = "resource"
    UNKNOWN = "unknown"


class Status(StrEnum):
    """What `esc-status-code` says: 2xx, another number, or nothing that is a number (docs/esc-callbacks.md#1)."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """How a callback was decided; every stored callback has exactly one."""

    APPLIED = "applied"
    """It moved or refreshed an entity, or noted something new about it."""
    DUPLICATE = "duplicate"
    """It repeats an earlier message, and changed nothing."""
    LATE = "late"
    """Out of order: a later stage was seen already; missing facts were filled in, no state moved back."""
    UNCLASSIFIED = "unclassified"
    """Well-formed, but of an unknown root, stage or event, or it names no entity."""
    MALFORMED = "malformed"
    """A document that is not parsed: not well-formed, with a DTD, nested too deep, or undecodable."""


@dataclass(slots=True)
class VmReport:
    """One VM as a message shows it: `deployment_details`, `vm_source` or `vm_target`
    (docs/esc-callbacks.md#3.1, #3.2)."""

    name: str | None = None
    group: str | None = None
    uuid: str | None = None
    host_uuid: str | None = None
    host_name: str | None = None
    interfaces: tuple[Mapping[str, Any], ...] = ()
    state: str | None = None
    """A `VmState` value when the reported state is a known one, else None."""
    raw_state: str | None = None
    extra: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    monitored: bool | None = None
    """What the reported state says of it."""


@dataclass(slots=True)
class DeploymentReport:
    """The deployment a message belongs to (docs/esc-callbacks.md#3.1)."""

    internal_id: str
    external_id: str | None = None
    name: str | None = None
    internal_tenant_id: str | None = None
    external_tenant_id: str | None = None
    state: str | None = None
    """A `DeploymentState` value when the reported state is a known one, else None."""
    raw_state: str | None = None
    extra: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    is_looked_up: bool = False
    """The message does not tell the internal id: it is looked up by external id, or tenant and name, among the
    deployments that are known; `internal_id` is what it is called when there is none."""


@dataclass(slots=True)
class ResourceReport:
    """A tenant, network, subnet, image, flavor, router … (docs/esc-callbacks.md#3.3)."""

    kind: str
    id: str
    external_id: str | None = None
    name: str | None = None
    internal_tenant_id: str | None = None
    external_tenant_id: str | None = None
    internal_deployment_id: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=lambda: NOTHING)


@dataclass(slots=True)
class Notification:
    """One callback, parsed. `trigger` is the normalised stage or event (upper case; `VM_UPDATED` also
    when only the message text tells it, docs/esc-callbacks.md#trap-1); None makes the callback unclassified, and
    `unclassified_because` then says why."""

    receipt: UUID
    source: str
    received_at: datetime
    family: Family
    root: str
    trigger: str | None
    raw_trigger: str | None
    status: Status
    status_code: int | None = None
    status_message: str | None = None
    transaction_id: str | None = None
    ref: str | None = None
    deployment: DeploymentReport | None = None
    vm: VmReport | None = None
    """`deployment_details` or `vm_source`."""
    target: VmReport | None = None
    """`vm_target`."""
    resource: ResourceReport | None = None
    fingerprint: str = ""
    """16 hex digits over source, transaction id, status and body: equal for a repeat."""
    unclassified_because: str | None = None
    notes: tuple[str, ...] = field(default=())
    """Remarks of envelope and parser, e.g. `conflicting-transaction-ids`."""
    event: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    """What is said of the event itself: the KPI that caused it (`name`, `threshold`, `value`, `details`), its
    `time`."""
