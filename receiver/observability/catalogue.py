"""Every metric of the service, in the order of `docs/metrics.md`: name, type, unit, labels, meaning.

Nothing is measured that is not listed here. `docs/metrics.md` also says which panels and alerts use a metric.
Must not know when anything is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from prometheus_client import CollectorRegistry

from receiver.config.overdue_after import OVERDUE_AFTER_S
from receiver.model.entities import DeploymentState, EntityKind, OperationState, ResourceState, SourceState, VmState
from receiver.model.notification import POSTED, Family, Outcome
from receiver.observability.buckets import LIFECYCLE_SECONDS, SECONDS
from receiver.observability.definition import Definition, Label, Merge, common, counter, gauge, histogram
from receiver.observability.labels import (
    ROOT_CHANNEL,
    Asked,
    CommitFailure,
    Fsynced,
    Kept,
    Mended,
    Mode,
    Published,
    PublishFailure,
    RecoveryEnd,
    RecoveryStep,
    Refused,
    Rejected,
    Step,
    Taken,
    cut,
)
from receiver.observability.webhook_catalogue import WebhookCatalogue

MICROSECONDS = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.025, 0.1)
"""For work of the processor."""
QUERY_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 1.0, 5.0)
BODY_BYTES = (256, 512, 1024, 2048, 4096, 8192, 16384, 65536, 262144, 1048576)
BATCH_CALLBACKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

RESOURCE = "resource"
OPERATION_KINDS = (*sorted(OVERDUE_AFTER_S.keys() - {RESOURCE, "default"} | {"unknown"}), RESOURCE)
"""All kinds of operations on resources (`create_image` …) count as one. A test compares with the lifecycle's."""
ENDED = (OperationState.SUCCEEDED, OperationState.FAILED, OperationState.CANCELLED)
STATES: dict[EntityKind, type[StrEnum]] = {
    EntityKind.DEPLOYMENT: DeploymentState,
    EntityKind.VM: VmState,
    EntityKind.RESOURCE: ResourceState,
    EntityKind.OPERATION: OperationState,
    EntityKind.SOURCE: SourceState,
}


def _live(states: Iterable[StrEnum]) -> tuple[str, ...]:
    """The states that are counted: undeployed entities keep their row for ever, unseen ones have none."""
    return tuple(state for state in states if state not in ("UNSEEN", "UNDEPLOYED"))


def operation_kind(kind: str) -> str:
    """The value of the label `kind`."""
    return kind if kind in OPERATION_KINDS else RESOURCE


SOURCE = Label("source", from_where="the configured sources; what was posted to any other is `(unknown)`")
CONFIGURED = Label("source", from_where="the configured sources")
ENDPOINT = Label("endpoint", from_where="the endpoints of the query API")
KIND = Label("kind", OPERATION_KINDS)
ASKED_ABOUT = Label("entity", (EntityKind.DEPLOYMENT, EntityKind.VM, EntityKind.OPERATION))
TABLE = Label("table", tuple(Kept))
WORKER = Label("worker", from_where="the places of workers, from 1; none without `workers`")
CONSUMER = Label("consumer", from_where="durable names, the first `consumers_max`; all others together are `(other)`")


class Catalogue(WebhookCatalogue):
    """Every metric: on the class its definition, on an instance the metric that counts."""

    # The way of a callback.

    received = counter(
        "callbacks", "POSTs that reached a callback path.", SOURCE, Label("channel", (*POSTED, ROOT_CHANNEL))
    )
    refused = counter(
        "callbacks", "Callbacks that were answered with an error and not kept.", Label("reason", tuple(Refused))
    )
    rejected_before_routing = counter(
        "requests", "Requests and connections turned away before they were routed.", Label("reason", tuple(Rejected))
    )
    unaccounted = counter(
        "callbacks", "Callbacks that a worker had in hand when it was killed: what was kept of them was not counted."
    )
    in_flight = gauge("callbacks", "Callbacks received and not yet answered for.")
    request_seconds = histogram("seconds", "One callback that was kept, from its head to its answer.", SECONDS)
    body_bytes = histogram("bytes", "Size of a body, decoded.", BODY_BYTES)
    parse_seconds = histogram("seconds", "Reading one body.", MICROSECONDS)
    queue_callbacks = gauge("callbacks", "Callbacks waiting for a transaction.")
    queue_limit_callbacks = gauge("callbacks", "Most that may wait (`queue_callbacks_max`).")
    batch_callbacks = histogram("callbacks", "Callbacks in one transaction.", BATCH_CALLBACKS)
    commit_seconds = histogram("seconds", "One transaction, from begin to commit.", SECONDS)
    commit_failures = counter(
        "batches", "Batches that were not committed at the first attempt.", Label("reason", tuple(CommitFailure))
    )
    stored = counter(
        "callbacks",
        "Callbacks committed in PostgreSQL.",
        SOURCE,
        Label("family", tuple(Family)),
        Label("outcome", tuple(Outcome)),
    )

    # The spool.

    recovered = counter("callbacks", "Callbacks found in the spool at start.")
    spool_callbacks = gauge("callbacks", "Callbacks in the spool.")
    spool_refused_callbacks = gauge(
        "callbacks",
        "Callbacks in the spool that PostgreSQL refuses: passed over, tried again after `drain_refused_retry_s`.",
    )
    spool_lost = counter("callbacks", "Callbacks that were in the spool, and that its damaged file no longer gives.")
    spool_bytes = gauge("bytes", "What the spool takes on the disk.")
    spool_limit_bytes = gauge("bytes", "Most that the spool may take (`spool_bytes_max`).")
    spool_free_bytes = gauge("bytes", "What is free on the disk that the spool lies on.", merged=Merge.LEAST)
    spool_oldest_timestamp_seconds = gauge(
        "seconds", "When the oldest callback in the spool was received; 0 when there is none.", merged=Merge.EARLIEST
    )
    spool_seconds = histogram("seconds", "One batch, to the disk and fsynced.", SECONDS)
    drained = counter("callbacks", "Callbacks taken from the spool to PostgreSQL.")
    drain_seconds = histogram("seconds", "One batch, from the spool to PostgreSQL.", SECONDS)
    mode = common("boolean", "1 for the way that callbacks take now.", Label("mode", tuple(Mode)))

    # The lifecycle.

    transitions = counter(
        "entries", "Ledger entries written.",
        Label("entity", tuple(EntityKind)), Label("to_state", from_where="the states of that entity"),
    )  # fmt: skip
    deployments = common(
        "deployments", "Deployments that are not gone. All receivers of a database tell the same number.",
        SOURCE, Label("state", _live(DeploymentState)),
    )  # fmt: skip
    vms = common(
        "VMs", "VMs that are not gone. All receivers of a database tell the same number.",
        SOURCE, Label("state", _live(VmState)),
    )  # fmt: skip
    operations = common(
        "operations", "Operations under way. All receivers of a database tell the same number.",
        KIND, Label("state", (OperationState.OPEN, OperationState.OVERDUE)),
    )  # fmt: skip
    operations_overdue = common(
        "operations",
        "Open operations that have been silent for too long; all receivers of a database tell the same number.",
    )
    operation_usual_seconds = common("seconds", "What half of those that succeeded took.", CONFIGURED, KIND, lazy=True)
    operation_longest_seconds = common("seconds", "What the longest of them took.", CONFIGURED, KIND, lazy=True)
    operation_limit_seconds = common("seconds", "When one is overdue, as learned.", CONFIGURED, KIND, lazy=True)
    operations_became_overdue = counter("operations", "Operations that were found to be silent for too long.", SOURCE)
    reconcile_sweeps = counter(
        "sweeps",
        "Turns through an ESC that was asked, by what came of them.",
        CONFIGURED,
        Label("outcome", tuple(Asked)),
    )
    reconcile_changes = counter("entries", "Ledger entries that answers of an ESC brought.", CONFIGURED, ASKED_ABOUT)
    reconcile_missing = counter(
        "deployments", "Deployments that an ESC did not show in a sweep, and that were not believed gone.", CONFIGURED
    )
    operation_oldest_timestamp_seconds = gauge(
        "seconds", "When the oldest open operation began; 0 when there is none.", merged=Merge.EARLIEST
    )
    counted_timestamp_seconds = common("seconds", "When deployments, VMs and operations were counted last; 0: not yet.")
    operations_ended = counter(
        "operations", "Operations that ended, by their outcome at that time.",
        SOURCE, KIND, Label("outcome", tuple(state.lower() for state in ENDED)),
    )  # fmt: skip
    operation_seconds = histogram(
        "seconds", "One operation that succeeded, from its first message to its end.", LIFECYCLE_SECONDS, KIND
    )
    vm_state_seconds = histogram(
        "seconds", "How long a VM was in a state that it left.", LIFECYCLE_SECONDS, Label("state", _live(VmState))
    )
    step_seconds = histogram(
        "seconds", "A step of a lifecycle: how long the first state lasted until the second.",
        LIFECYCLE_SECONDS, Label("step", tuple(Step)),
    )  # fmt: skip
    recoveries_started = counter("recoveries", "Recoveries of a VM that ESC began.", SOURCE)
    recoveries_ended = counter(
        "recoveries", "Recoveries that ended, or wait for a person.", Label("outcome", tuple(RecoveryEnd))
    )
    recovery_attempts = counter(
        "attempts",
        "What recoveries tried.",
        Label("step", tuple(RecoveryStep)),
        Label("outcome", ("succeeded", "failed")),
    )
    flapping = counter("recoveries", "Recoveries of a VM that had `flapping_recoveries` within `flapping_window_s`.")
    flapping_vms = gauge("VMs", "VMs of which this is so now, as far as this receiver has seen.", SOURCE)
    manual_recovery_vms = common(
        "VMs", "VMs that wait for a person to recover them. All receivers of a database tell the same number.", SOURCE
    )
    tenant_operations = counter(
        "operations",
        "Operations that ended, by tenant.",
        Label("tenant", from_where="the first `tenants_max` that were seen, and `(other)`"),
        Label("outcome", tuple(state.lower() for state in ENDED)),
        lazy=True,
    )
    tenants_folded = counter("operations", "Operations of tenants that were counted as `(other)`.")

    # The sources. All receivers of a database tell the same, as it was counted last.

    source_out_of_service = common("boolean", "1 while an ESC says that it is out of service.", CONFIGURED)
    source_state_timestamp_seconds = common(
        "seconds", "Since when it is in or out of service; 0: it never said anything of itself.", CONFIGURED
    )
    source_last_message_timestamp_seconds = common("seconds", "When it was heard of last; 0: not yet.", CONFIGURED)
    source_silence_ratio = common("ratio", "Its silence, of what is usual at this hour; 0: out of service.", CONFIGURED)
    source_usual_silence_seconds = common("seconds", "Usual at this hour: learned, or `silence_usual_s`.", CONFIGURED)
    source_refused_callbacks = common("callbacks", "Callbacks of it that were refused, of all time.", CONFIGURED)

    quarantine_unacknowledged_callbacks = common(
        "callbacks",
        "Dead letters that nobody has acknowledged, the latest 100,000; all receivers of a database tell the same.",
        SOURCE,
    )  # fmt: skip

    # The feed.

    outbox_messages = common("messages", "Messages waiting to be published.")
    outbox_oldest_seconds = common("seconds", "Age of the oldest message waiting to be published.")
    published = counter("messages", "Messages acknowledged by JetStream.", Label("stream", tuple(Published)))
    publish_seconds = histogram("seconds", "One batch, from the first publish to the last acknowledgement.", SECONDS)
    publish_lag_seconds = histogram("seconds", "One message, from its ledger entry to its acknowledgement.", SECONDS)
    publish_failures = counter("publishes", "Publishes not acknowledged.", Label("reason", tuple(PublishFailure)))
    feed_mended = counter(
        "messages", "Messages put into the outbox again because the stream had lost them.", Label("loss", tuple(Mended))
    )
    feed_foreign = counter("messages", "Messages of other publishers that were found in the feed's stream.")
    feed_missing = common("messages", "Messages that the last comparison of the stream with the ledger found missing.")
    feed_checked_timestamp_seconds = common(
        "seconds", "When this receiver compared the stream with the ledger last; 0: not yet."
    )
    relay_leader = common("boolean", "1 while this receiver publishes.")
    feed_fsynced = common(
        "boolean", "1 for what is known: whether NATS writes a message to disk before it acknowledges it.",
        Label("state", tuple(Fsynced)),
    )  # fmt: skip
    stream_messages = common("messages", "Messages in the stream, as the relay last saw it.")
    stream_bytes = common("bytes", "Size of the stream, as the relay last saw it.")
    stream_consumers = common("consumers", "Consumers of the stream, as the relay last saw it.")
    consumer_pending_messages = common("messages", "Messages that a consumer has yet to be given.", CONSUMER, lazy=True)
    consumer_unacknowledged_messages = common(
        "messages", "Messages that a consumer was given and has not acknowledged.", CONSUMER, lazy=True
    )
    consumer_redelivered_messages = common(
        "messages", "Those of them that it was given more than once.", CONSUMER, lazy=True
    )
    consumer_acknowledged_timestamp_seconds = common(
        "seconds", "When a consumer acknowledged last; 0: not yet.", CONSUMER, lazy=True
    )

    # The windows.

    queries = counter(
        "questions",
        "Questions answered by the query API.",
        ENDPOINT,
        Label("status", from_where="HTTP status codes"),
        lazy=True,
    )
    query_seconds = histogram(
        "seconds",
        "One question, from its head to its answer; waits and the feed are not timed.",
        QUERY_SECONDS,
        ENDPOINT,
        lazy=True,
    )
    waits = gauge("requests", "Requests that wait for an operation to end.")
    feed_readers = gauge("readers", "Readers of the live feed.")
    feed_dropped = counter("readers", "Readers of the live feed that were dropped as too slow.")

    # The workers. Figures of several are told as one: sums, or what `Merge` says of each.

    worker_up = gauge("boolean", "1 while this worker serves.", WORKER, lazy=True)
    worker_restarts = counter("restarts", "How often this worker died, and was started again.", WORKER, lazy=True)
    worker_received_callbacks = gauge(
        "callbacks", "POSTs that reached a callback path of the process that is this worker now.", WORKER, lazy=True
    )
    worker_cpu_seconds = gauge("seconds", "What that process has taken of the processors.", WORKER, lazy=True)
    worker_resident_bytes = gauge("bytes", "Memory that it has resident.", WORKER, lazy=True)

    labels_cut = counter("values", "Uses of a label value that was too long, and is cut to 128 bytes.")

    # The surroundings.

    build_info = common(
        "boolean",
        "Always 1; the labels say what runs.",
        Label("version", from_where="of this program"),
        Label("python", from_where="its version"),
        lazy=True,
    )
    tls_certificate_expiry_timestamp_seconds = gauge(
        "seconds",
        "When the first certificate of the listener's chain expires; 0: it speaks plain HTTP.",
        merged=Merge.EARLIEST,
    )
    postgres_up = gauge("boolean", "1 while PostgreSQL answers.", merged=Merge.LEAST)
    nats_up = gauge("boolean", "1 while NATS is connected.", merged=Merge.LEAST)
    postgres_standbys = common("standbys", "Standbys and other receivers of PostgreSQL's log that are connected.")
    postgres_synchronous_standbys_named = common("boolean", "1 while `synchronous_standby_names` is not empty.")
    postgres_connections = gauge("connections", "Connections to PostgreSQL for writing.", Label("state", tuple(Taken)))
    postgres_limit_connections = gauge("connections", "Most connections for writing (`postgres_pool_size`).")
    database_bytes = common("bytes", "Size of the database on PostgreSQL's disk; 0: not known yet.")
    partitions_end_timestamp_seconds = common("seconds", "Until when there are partitions; 0: not known yet.", TABLE)
    partitions_begin_timestamp_seconds = gauge(
        "seconds", "Since when there are partitions; 0: not known yet.", TABLE, merged=Merge.EARLIEST
    )
    retention_seconds = common("seconds", "How long a row is kept.", TABLE)
    retention_waiting_partitions = common(
        "partitions", "Partitions past retention that stay, because too few days with callbacks followed.", TABLE
    )
    clock_skew_seconds = common("seconds", "How far this machine's clock is ahead of PostgreSQL's; negative: behind.")
    clock_ahead_seconds = common(
        "seconds", "How far `received_at` is ahead of this machine's clock, which was set back."
    )
    loop_lag_seconds = histogram("seconds", "How much later than asked for the event loop turned.", SECONDS[:-2])
    log_lines_dropped = counter("lines", "Log lines that nobody took in time, or that could not be written.")

    def __init__(self, registry: CollectorRegistry, sources: Sequence[str] = ()) -> None:
        for definition in CATALOGUE:
            setattr(self, definition.name, definition.create(registry, {"source": sources}))

    def fit(self, value: str) -> str:
        """A value from outside as it may be a label; counted when it had to be cut."""
        short = cut(value)
        if short is not value:
            self.labels_cut.inc()
        return short


CATALOGUE: tuple[Definition[Any], ...] = tuple(
    value for kind in (Catalogue, WebhookCatalogue) for value in vars(kind).values() if isinstance(value, Definition)
)
