"""Every metric, in one class built on a registry.

It must not know where the facts come from. Counts that must add up are changed by one method each,
without an await inside, so that a scrape (also one synchronous step) never sees half of a step:
received = stored + in flight + refused. No id of a VM, deployment or transaction is ever a label;
label sets that are known start at zero, so that a rate is right from the first event on.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from enum import StrEnum
from itertools import product

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)

from receiver import __version__
from receiver.entities import DeploymentState, EntityKind, OperationState, ResourceState, VmState
from receiver.notification import Channel, Family, Outcome
from receiver.tally import Level, Spread, Tally

UNKNOWN_SOURCE = "(unknown)"
"""Stands for every source that is not configured: a name from outside must not become a label."""
ROOT_CHANNEL = "root"
"""Posted to `/`: the channel is not known before the body is read."""

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)
PARSE_SECONDS = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.025, 0.1)
BODY_BYTES = (256, 512, 1024, 2048, 4096, 8192, 16384, 65536, 262144, 1048576)
BATCH_CALLBACKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

_STATES: dict[EntityKind, type[StrEnum]] = {
    EntityKind.DEPLOYMENT: DeploymentState,
    EntityKind.VM: VmState,
    EntityKind.RESOURCE: ResourceState,
    EntityKind.OPERATION: OperationState,
}


MODES = ("direct", "spooling", "draining")


class Refused(StrEnum):
    """Why a callback that reached a callback path was not kept."""

    UNKNOWN_SOURCE = "unknown-source"
    CREDENTIALS = "credentials"
    ADDRESS = "address"
    HEADER_TOO_LARGE = "header-too-large"
    BODY_TOO_LARGE = "body-too-large"
    BODY_TOO_SLOW = "body-too-slow"
    BODY_CUT_OFF = "body-cut-off"
    CANNOT_KEEP = "cannot-keep"
    INTERNAL_ERROR = "internal-error"


class Rejected(StrEnum):
    """Why a request was turned away before it could be routed, so before it could be called a callback."""

    BROKEN_HEAD = "broken-head"
    REQUEST_LINE_TOO_LONG = "request-line-too-long"
    HEADER_FIELD_TOO_LARGE = "header-field-too-large"
    TOO_MANY_HEADERS = "too-many-headers"
    HEADER_TOO_LARGE = "header-too-large"
    TOO_MANY_CONNECTIONS = "too-many-connections"


class Published(StrEnum):
    """The two streams that the relay publishes to."""

    FEED = "feed"
    KV = "kv"


class PublishFailure(StrEnum):
    """Why a publish was not acknowledged."""

    TIMEOUT = "timeout"
    REFUSED = "refused"
    DEPOSED = "deposed"
    DISCONNECTED = "disconnected"
    LOST = "lost"


class Metrics:
    """All collectors, as attributes; the methods are the steps that belong together."""

    def __init__(self, sources: Iterable[str] = ("default",), registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self._process()
        self._ingress()
        self._callbacks()
        self._spool()
        self._relay()
        self._dependencies()
        self._zero((*sources, UNKNOWN_SOURCE))

    # The steps. Each is one count in and one count out, with no await between.

    def arrived(self, source: str, channel: str) -> None:
        """A POST has reached a callback path."""
        self.received.cells[source, channel].value += 1
        self.in_flight.value += 1

    def refuse(self, reason: Refused) -> None:
        """It was not kept, and the sender was told so."""
        self.refused.cells[(reason,)].value += 1
        self.in_flight.value -= 1

    def kept(self, source: str, family: str, outcome: str) -> None:
        """It is committed in PostgreSQL."""
        self.stored.cells[source, family, outcome].value += 1
        self.in_flight.value -= 1

    def spooled(self, callbacks: int) -> None:
        """They are on this machine's disk."""
        self.spool_callbacks.value += callbacks
        self.in_flight.value -= callbacks

    def recover(self, callbacks: int) -> None:
        """They were found in the spool, put there by an earlier run."""
        self.recovered.cells[()].value += callbacks
        self.spool_callbacks.value += callbacks

    def drained(self, source: str, family: str, outcome: str) -> None:
        """One from the spool is committed in PostgreSQL."""
        self.stored.cells[source, family, outcome].value += 1
        self.spool_callbacks.value -= 1

    def enter(self, mode: str) -> None:
        """Callbacks take another way from now on."""
        for name in MODES:
            self.mode.labels(name).set(name == mode)

    def moved(self, entity: str, to_state: str) -> None:
        """A ledger entry was written."""
        self.transitions.cells[entity, to_state].value += 1

    def sums(self) -> dict[str, int]:
        """What adds up (design promise 8), over all labels."""
        return {
            "received": self.received.total,
            "recovered": self.recovered.total,
            "stored": self.stored.total,
            "spooled": self.spool_callbacks.value,
            "refused": self.refused.total,
            "in_flight": self.in_flight.value,
        }

    # The collectors, by room.

    def _process(self) -> None:
        registry = self.registry
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self.build_info = Gauge(
            "esc_receiver_build_info", "Always 1; the labels say what runs.", ["version", "python"], registry=registry
        )
        self.build_info.labels(__version__, platform.python_version()).set(1)

    def _ingress(self) -> None:
        registry = self.registry
        self.received = Tally(
            "esc_receiver_received", "POSTs that reached a callback path.", ["source", "channel"], registry=registry
        )
        self.refused = Tally(
            "esc_receiver_refused",
            "Callbacks that were answered with an error and not kept.",
            ["reason"],
            registry=registry,
        )
        self.in_flight = Level(
            "esc_receiver_in_flight", "Callbacks received and not yet answered for.", registry=registry
        )
        self.rejected_before_routing = Counter(
            "esc_receiver_rejected_before_routing",
            "Requests turned away for their head, before any path was known.",
            ["reason"],
            registry=registry,
        )
        self.body_bytes = Spread(
            "esc_receiver_body_bytes", "Size of a body, decoded.", bounds=BODY_BYTES, registry=registry
        )

    def _callbacks(self) -> None:
        registry = self.registry
        self.stored = Tally(
            "esc_receiver_stored",
            "Callbacks committed in PostgreSQL.",
            ["source", "family", "outcome"],
            registry=registry,
        )
        self.parse_seconds = Spread(
            "esc_receiver_parse_seconds", "Reading one body.", bounds=PARSE_SECONDS, registry=registry
        )
        self.queue_callbacks = Gauge(
            "esc_receiver_queue_callbacks", "Callbacks waiting for a transaction.", registry=registry
        )
        self.batch_callbacks = Spread(
            "esc_receiver_batch_callbacks", "Callbacks in one transaction.", bounds=BATCH_CALLBACKS, registry=registry
        )
        self.commit_seconds = Spread(
            "esc_receiver_commit_seconds", "One transaction, from begin to commit.", bounds=SECONDS, registry=registry
        )
        self.transitions = Tally(
            "esc_receiver_transitions", "Ledger entries written.", ["entity", "to_state"], registry=registry
        )
        self.operations_overdue = Gauge(
            "esc_receiver_operations_overdue",
            "Open operations that have been silent for too long; all receivers of a database tell the same number.",
            registry=registry,
        )

    def _spool(self) -> None:
        registry = self.registry
        self.recovered = Tally(
            "esc_receiver_recovered", "Callbacks found in the spool at start.", [], registry=registry
        )
        self.spool_callbacks = Level("esc_receiver_spool_callbacks", "Callbacks in the spool.", registry=registry)
        self.spool_bytes = Gauge("esc_receiver_spool_bytes", "What the spool takes on the disk.", registry=registry)
        self.spool_oldest_timestamp_seconds = Gauge(
            "esc_receiver_spool_oldest_timestamp_seconds",
            "When the oldest callback in the spool was received; 0 when there is none.",
            registry=registry,
        )
        self.drain_seconds = Spread(
            "esc_receiver_drain_seconds", "One batch, from the spool to PostgreSQL.", bounds=SECONDS, registry=registry
        )
        self.mode = Gauge("esc_receiver_mode", "1 for the way that callbacks take now.", ["mode"], registry=registry)
        for name in MODES:
            self.mode.labels(name).set(0)

    def _relay(self) -> None:
        registry = self.registry
        self.outbox_messages = Gauge(
            "esc_receiver_outbox_messages", "Messages waiting to be published.", registry=registry
        )
        self.outbox_oldest_seconds = Gauge(
            "esc_receiver_outbox_oldest_seconds",
            "Age of the oldest message waiting to be published.",
            registry=registry,
        )
        self.published = Counter(
            "esc_receiver_published", "Messages acknowledged by JetStream.", ["stream"], registry=registry
        )
        self.publish_seconds = Spread(
            "esc_receiver_publish_seconds",
            "One batch, from the first publish to the last acknowledgement.",
            bounds=SECONDS,
            registry=registry,
        )
        self.publish_lag_seconds = Spread(
            "esc_receiver_publish_lag_seconds",
            "One message, from its ledger entry to its acknowledgement.",
            bounds=SECONDS,
            registry=registry,
        )
        self.publish_failures = Counter(
            "esc_receiver_publish_failures", "Publishes not acknowledged.", ["reason"], registry=registry
        )
        self.relay_leader = Gauge("esc_receiver_relay_leader", "1 while this receiver publishes.", registry=registry)

    def _dependencies(self) -> None:
        registry = self.registry
        self.postgres_up = Gauge("esc_receiver_postgres_up", "1 while PostgreSQL answers.", registry=registry)
        self.nats_up = Gauge("esc_receiver_nats_up", "1 while NATS is connected.", registry=registry)

    def _zero(self, sources: tuple[str, ...]) -> None:
        """Makes the children beforehand."""
        for pair in product(sources, (*Channel, ROOT_CHANNEL)):
            self.received.labels(*pair)
        for kind in product(sources[:-1], Family, Outcome):
            self.stored.labels(*kind)
        for reason in Refused:
            self.refused.labels(reason)
        for rejected in Rejected:
            self.rejected_before_routing.labels(rejected)
        for stream in Published:
            self.published.labels(stream)
        for failure in PublishFailure:
            self.publish_failures.labels(failure)
        for entity, states in _STATES.items():
            for state in states:
                self.transitions.labels(entity, state)
