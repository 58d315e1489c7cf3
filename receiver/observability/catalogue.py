"""Every metric of the service, in the order of `docs/metrics.md`. Nothing is measured that is not listed here.

Which panel and which alert uses a metric follows from the boards and rules themselves, and is told in
`docs/metrics.md`. Must not know how anything is counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from receiver.lifecycle.overdue import KINDS, RESOURCE
from receiver.model.entities import DeploymentState, EntityKind, OperationState, ResourceState, VmState
from receiver.model.notification import Channel, Family, Outcome
from receiver.observability.definition import Label, Measure, counter, gauge, histogram
from receiver.observability.labels import (
    ROOT_CHANNEL,
    CommitFailure,
    Kept,
    Mode,
    Published,
    PublishFailure,
    RecoveryEnd,
    RecoveryStep,
    Refused,
    Rejected,
    Step,
    Taken,
)

MICROSECONDS = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.025, 0.1)
"""Work of the processor."""
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)
"""Work that waits for a disk, a network, or for what is away."""
QUERY_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 1.0, 5.0)
LIFECYCLE_SECONDS = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)
"""Work that ESC does: a second for an image, an hour for a large service."""
BODY_BYTES = (256, 512, 1024, 2048, 4096, 8192, 16384, 65536, 262144, 1048576)
BATCH_CALLBACKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

OPERATION_KINDS = (*sorted(KINDS), RESOURCE)
"""Those of resources (`create_image` …) are one."""
ENDED = (OperationState.SUCCEEDED, OperationState.FAILED, OperationState.CANCELLED)
STATES: dict[EntityKind, type[StrEnum]] = {
    EntityKind.DEPLOYMENT: DeploymentState,
    EntityKind.VM: VmState,
    EntityKind.RESOURCE: ResourceState,
    EntityKind.OPERATION: OperationState,
}


def _live(states: Iterable[StrEnum]) -> tuple[str, ...]:
    """What is gone stays known for ever, and is not counted; what was never seen has no row."""
    return tuple(state for state in states if state not in ("UNSEEN", "UNDEPLOYED"))


def operation_kind(kind: str) -> str:
    """The value of the label `kind`."""
    return kind if kind in KINDS else RESOURCE


SOURCE = Label("source", from_where="the configured sources; what was posted to any other is `(unknown)`")
ENDPOINT = Label("endpoint", from_where="the endpoints of the query API")
KIND = Label("kind", OPERATION_KINDS)
TABLE = Label("table", tuple(Kept))

# The way of a callback.

RECEIVED = counter(
    "received", "callbacks", "POSTs that reached a callback path.", SOURCE, Label("channel", (*Channel, ROOT_CHANNEL))
)
REFUSED = counter(
    "refused", "callbacks", "Callbacks that were answered with an error and not kept.",
    Label("reason", tuple(Refused)),
)  # fmt: skip
REJECTED = counter(
    "rejected_before_routing", "requests", "Requests turned away for their head, before any path was known.",
    Label("reason", tuple(Rejected)),
)  # fmt: skip
IN_FLIGHT = gauge("in_flight", "callbacks", "Callbacks received and not yet answered for.")
REQUEST_SECONDS = histogram(
    "request_seconds", "seconds", "One callback that was kept, from its head to its answer.", SECONDS
)
BODY_SIZE = histogram("body_bytes", "bytes", "Size of a body, decoded.", BODY_BYTES)
PARSE_SECONDS = histogram("parse_seconds", "seconds", "Reading one body.", MICROSECONDS)
QUEUE_CALLBACKS = gauge("queue_callbacks", "callbacks", "Callbacks waiting for a transaction.")
QUEUE_LIMIT = gauge("queue_limit_callbacks", "callbacks", "Most that may wait (`queue_callbacks_max`).")
BATCH = histogram("batch_callbacks", "callbacks", "Callbacks in one transaction.", BATCH_CALLBACKS)
COMMIT_SECONDS = histogram("commit_seconds", "seconds", "One transaction, from begin to commit.", SECONDS)
COMMIT_FAILURES = counter(
    "commit_failures", "batches", "Batches that were not committed at the first attempt.",
    Label("reason", tuple(CommitFailure)),
)  # fmt: skip
STORED = counter(
    "stored", "callbacks", "Callbacks committed in PostgreSQL.", SOURCE, Label("family", tuple(Family)),
    Label("outcome", tuple(Outcome)),
)  # fmt: skip

# The spool.

RECOVERED = counter("recovered", "callbacks", "Callbacks found in the spool at start.")
SPOOL_CALLBACKS = gauge("spool_callbacks", "callbacks", "Callbacks in the spool.")
SPOOL_REFUSED = gauge(
    "spool_refused_callbacks", "callbacks",
    "Callbacks in the spool that PostgreSQL refuses: passed over, tried again after `drain_refused_retry_s`.",
)  # fmt: skip
SPOOL_LOST = counter(
    "spool_lost", "callbacks", "Callbacks that were in the spool, and that its damaged file no longer gives."
)
SPOOL_BYTES = gauge("spool_bytes", "bytes", "What the spool takes on the disk.")
SPOOL_LIMIT = gauge("spool_limit_bytes", "bytes", "Most that the spool may take (`spool_bytes_max`).")
SPOOL_FREE = gauge("spool_free_bytes", "bytes", "What is free on the disk that the spool lies on.")
SPOOL_OLDEST = gauge(
    "spool_oldest_timestamp_seconds", "seconds",
    "When the oldest callback in the spool was received; 0 when there is none.",
)  # fmt: skip
SPOOL_SECONDS = histogram("spool_seconds", "seconds", "One batch, to the disk and fsynced.", SECONDS)
DRAINED = counter("drained", "callbacks", "Callbacks taken from the spool to PostgreSQL.")
DRAIN_SECONDS = histogram("drain_seconds", "seconds", "One batch, from the spool to PostgreSQL.", SECONDS)
MODE = gauge("mode", "boolean", "1 for the way that callbacks take now.", Label("mode", tuple(Mode)))

# The lifecycle.

TRANSITIONS = counter(
    "transitions", "entries", "Ledger entries written.", Label("entity", tuple(EntityKind)),
    Label("to_state", from_where="the states of that entity"),
)  # fmt: skip
DEPLOYMENTS = gauge(
    "deployments", "deployments", "Deployments that are not gone. All receivers of a database tell the same number.",
    SOURCE, Label("state", _live(DeploymentState)),
)  # fmt: skip
VMS = gauge(
    "vms", "VMs", "VMs that are not gone. All receivers of a database tell the same number.", SOURCE,
    Label("state", _live(VmState)),
)  # fmt: skip
OPERATIONS = gauge(
    "operations", "operations", "Operations under way. All receivers of a database tell the same number.", KIND,
    Label("state", (OperationState.OPEN, OperationState.OVERDUE)),
)  # fmt: skip
OPERATIONS_OVERDUE = gauge(
    "operations_overdue", "operations",
    "Open operations that have been silent for too long; all receivers of a database tell the same number.",
)  # fmt: skip
OPERATION_OLDEST = gauge(
    "operation_oldest_timestamp_seconds", "seconds", "When the oldest open operation began; 0 when there is none."
)
COUNTED_AT = gauge(
    "counted_timestamp_seconds", "seconds", "When deployments, VMs and operations were counted last; 0: not yet."
)
OPERATIONS_ENDED = counter(
    "operations_ended", "operations", "Operations that ended, by their outcome at that time.", KIND,
    Label("outcome", tuple(state.lower() for state in ENDED)),
)  # fmt: skip
OPERATION_SECONDS = histogram(
    "operation_seconds", "seconds", "One operation that succeeded, from its first message to its end.",
    LIFECYCLE_SECONDS, KIND,
)  # fmt: skip
VM_STATE_SECONDS = histogram(
    "vm_state_seconds", "seconds", "How long a VM was in a state that it left.", LIFECYCLE_SECONDS,
    Label("state", _live(VmState)),
)  # fmt: skip
STEP_SECONDS = histogram(
    "step_seconds", "seconds", "A step of a lifecycle: how long the first state lasted until the second.",
    LIFECYCLE_SECONDS, Label("step", tuple(Step)),
)  # fmt: skip
RECOVERIES_STARTED = counter("recoveries_started", "recoveries", "Recoveries of a VM that ESC began.")
RECOVERIES_ENDED = counter(
    "recoveries_ended", "recoveries", "Recoveries that ended, or wait for a person.",
    Label("outcome", tuple(RecoveryEnd)),
)  # fmt: skip
RECOVERY_ATTEMPTS = counter(
    "recovery_attempts", "attempts", "What recoveries tried.", Label("step", tuple(RecoveryStep)),
    Label("outcome", ("succeeded", "failed")),
)  # fmt: skip
FLAPPING = counter(
    "flapping", "recoveries", "Recoveries of a VM that had `flapping_recoveries` within `flapping_window_s`."
)
FLAPPING_VMS = gauge("flapping_vms", "VMs", "VMs of which this is so now, as far as this receiver has seen.")
TENANT_OPERATIONS = counter(
    "tenant_operations", "operations", "Operations that ended, by tenant.",
    Label("tenant", from_where="the first `tenants_max` that were seen, and `(other)`"),
    Label("outcome", tuple(state.lower() for state in ENDED)), lazy=True,
)  # fmt: skip
TENANTS_FOLDED = counter("tenants_folded", "operations", "Operations of tenants that were counted as `(other)`.")

# The feed.

OUTBOX_MESSAGES = gauge("outbox_messages", "messages", "Messages waiting to be published.")
OUTBOX_OLDEST = gauge("outbox_oldest_seconds", "seconds", "Age of the oldest message waiting to be published.")
PUBLISHED = counter(
    "published", "messages", "Messages acknowledged by JetStream.", Label("stream", tuple(Published))
)  # fmt: skip
PUBLISH_SECONDS = histogram(
    "publish_seconds", "seconds", "One batch, from the first publish to the last acknowledgement.", SECONDS
)
PUBLISH_LAG = histogram(
    "publish_lag_seconds", "seconds", "One message, from its ledger entry to its acknowledgement.", SECONDS
)
PUBLISH_FAILURES = counter(
    "publish_failures", "publishes", "Publishes not acknowledged.", Label("reason", tuple(PublishFailure))
)
RELAY_LEADER = gauge("relay_leader", "boolean", "1 while this receiver publishes.")
STREAM_MESSAGES = gauge("stream_messages", "messages", "Messages in the stream, as the relay last saw it.")
STREAM_BYTES = gauge("stream_bytes", "bytes", "Size of the stream, as the relay last saw it.")
STREAM_CONSUMERS = gauge("stream_consumers", "consumers", "Consumers of the stream, as the relay last saw it.")
CONSUMER = Label("consumer", from_where="durable names, the first `consumers_max`; all others together are `(other)`")
CONSUMER_PENDING = gauge(
    "consumer_pending_messages", "messages", "Messages that a consumer has yet to be given.", CONSUMER, lazy=True
)
CONSUMER_UNACKNOWLEDGED = gauge(
    "consumer_unacknowledged_messages", "messages", "Messages that a consumer was given and has not acknowledged.",
    CONSUMER, lazy=True,
)  # fmt: skip

# The windows.

QUERIES = counter(
    "queries", "questions", "Questions answered by the query API.", ENDPOINT,
    Label("status", from_where="HTTP status codes"), lazy=True,
)  # fmt: skip
QUERY_TIME = histogram(
    "query_seconds", "seconds", "One question, from its head to its answer; waits and the feed are not timed.",
    QUERY_SECONDS, ENDPOINT, lazy=True,
)  # fmt: skip
WAITS = gauge("waits", "requests", "Requests that wait for an operation to end.")
FEED_READERS = gauge("feed_readers", "readers", "Readers of the live feed.")
FEED_DROPPED = counter("feed_dropped", "readers", "Readers of the live feed that were dropped as too slow.")

# The surroundings.

BUILD_INFO = gauge(
    "build_info", "boolean", "Always 1; the labels say what runs.", Label("version", from_where="of this program"),
    Label("python", from_where="its version"), lazy=True,
)  # fmt: skip
POSTGRES_UP = gauge("postgres_up", "boolean", "1 while PostgreSQL answers.")
NATS_UP = gauge("nats_up", "boolean", "1 while NATS is connected.")
POSTGRES_CONNECTIONS = gauge(
    "postgres_connections", "connections", "Connections to PostgreSQL for writing.", Label("state", tuple(Taken))
)
POSTGRES_LIMIT = gauge(
    "postgres_limit_connections", "connections", "Most connections for writing (`postgres_pool_size`)."
)
DATABASE_BYTES = gauge("database_bytes", "bytes", "Size of the database on PostgreSQL's disk; 0: not known yet.")
PARTITIONS_END = gauge(
    "partitions_end_timestamp_seconds", "seconds", "Until when there are partitions; 0: not known yet.", TABLE
)
PARTITIONS_BEGIN = gauge(
    "partitions_begin_timestamp_seconds", "seconds", "Since when there are partitions; 0: not known yet.", TABLE
)
RETENTION = gauge("retention_seconds", "seconds", "How long a row is kept.", TABLE)
LOOP_LAG = histogram(
    "loop_lag_seconds", "seconds", "How much later than asked for the event loop turned.", SECONDS[:-2]
)

CATALOGUE = tuple(value for value in list(globals().values()) if isinstance(value, Measure))
