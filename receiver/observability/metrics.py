"""Every metric of the service, in one class made from the catalogue.

It must not know where the facts come from. Counts that must add up are changed by one method each,
without an await inside, so that a scrape (also one synchronous step) never sees half of a step:
received = stored + in flight + refused. No id of a VM, deployment or transaction is ever a label;
label sets that are known start at zero, so that a rate is right from the first event on.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from receiver import __version__
from receiver.config.settings import Settings
from receiver.model.entities import Decision
from receiver.observability import catalogue
from receiver.observability.cells import AtStart, Level, Levels, Spread, Tally
from receiver.observability.labels import UNKNOWN_SOURCE, Mode, Refused
from receiver.observability.lifecycle_metrics import Flapping, Lifecycle, Tenants


class Metrics:
    """All collectors, as attributes; the methods are the steps that belong together."""

    def __init__(
        self,
        sources: Iterable[str] = ("default",),
        registry: CollectorRegistry | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        names = tuple(sources)
        self._process()
        self._ingress({"source": (*names, UNKNOWN_SOURCE)})
        self._callbacks({"source": names})
        self._spool()
        self._lifecycle({"source": names}, settings or Settings())
        self._relay()
        self._surroundings(settings or Settings())

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

    def lose(self, callbacks: int) -> None:
        """They were in the spool, whose damaged file no longer gives them."""
        self.spool_lost.cells[()].value += callbacks
        self.spool_callbacks.value -= callbacks

    def drained(self, source: str, family: str, outcome: str) -> None:
        """One from the spool is committed in PostgreSQL."""
        self.stored.cells[source, family, outcome].value += 1
        self.spool_callbacks.value -= 1
        self.drained_callbacks.cells[()].value += 1

    def enter(self, mode: Mode) -> None:
        """Callbacks take another way from now on."""
        self.mode.replace({(mode,): 1})

    def told(self, decision: Decision) -> None:
        """All that a decision says is committed."""
        self.lifecycle.told(decision)

    def sums(self) -> dict[str, int]:
        """What adds up (docs/promises.md#promise-8), over all labels."""
        return {
            "received": self.received.total,
            "recovered": self.recovered.total,
            "stored": self.stored.total,
            "spooled": int(self.spool_callbacks.value),
            "refused": self.refused.total,
            "lost": self.spool_lost.total,
            "in_flight": int(self.in_flight.value),
        }

    # The collectors, by room.

    def _process(self) -> None:
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.build_info = Levels(catalogue.BUILD_INFO, self.registry)
        self.build_info.labels(__version__, platform.python_version()).set(1)

    def _ingress(self, at_start: AtStart) -> None:
        registry = self.registry
        self.received = Tally(catalogue.RECEIVED, registry, at_start)
        self.refused = Tally(catalogue.REFUSED, registry)
        self.rejected_before_routing = Tally(catalogue.REJECTED, registry)
        self.in_flight = Level(catalogue.IN_FLIGHT, registry)
        self.request_seconds = Spread(catalogue.REQUEST_SECONDS, registry)
        self.body_bytes = Spread(catalogue.BODY_SIZE, registry)

    def _callbacks(self, at_start: AtStart) -> None:
        registry = self.registry
        self.parse_seconds = Spread(catalogue.PARSE_SECONDS, registry)
        self.queue_callbacks = Level(catalogue.QUEUE_CALLBACKS, registry)
        self.batch_callbacks = Spread(catalogue.BATCH, registry)
        self.commit_seconds = Spread(catalogue.COMMIT_SECONDS, registry)
        self.commit_failures = Tally(catalogue.COMMIT_FAILURES, registry)
        self.stored = Tally(catalogue.STORED, registry, at_start)

    def _spool(self) -> None:
        registry = self.registry
        self.recovered = Tally(catalogue.RECOVERED, registry)
        self.spool_callbacks = Level(catalogue.SPOOL_CALLBACKS, registry)
        self.spool_refused_callbacks = Level(catalogue.SPOOL_REFUSED, registry)
        self.spool_lost = Tally(catalogue.SPOOL_LOST, registry)
        self.spool_bytes = Level(catalogue.SPOOL_BYTES, registry)
        self.spool_free_bytes = Level(catalogue.SPOOL_FREE, registry)
        self.spool_oldest_timestamp_seconds = Level(catalogue.SPOOL_OLDEST, registry)
        self.spool_seconds = Spread(catalogue.SPOOL_SECONDS, registry)
        self.drained_callbacks = Tally(catalogue.DRAINED, registry)
        self.drain_seconds = Spread(catalogue.DRAIN_SECONDS, registry)
        self.mode = Levels(catalogue.MODE, registry)

    def _lifecycle(self, at_start: AtStart, settings: Settings) -> None:
        registry = self.registry
        flapping = Flapping(settings.flapping_recoveries, settings.flapping_window_s, settings.flapping_vms_max)
        self.lifecycle = Lifecycle(registry, flapping, Tenants(settings.tenants_max))
        self.deployments = Levels(catalogue.DEPLOYMENTS, registry, at_start)
        self.vms = Levels(catalogue.VMS, registry, at_start)
        self.operations = Levels(catalogue.OPERATIONS, registry)
        self.operations_overdue = Level(catalogue.OPERATIONS_OVERDUE, registry)
        self.operation_oldest_timestamp_seconds = Level(catalogue.OPERATION_OLDEST, registry)
        self.counted_timestamp_seconds = Level(catalogue.COUNTED_AT, registry)
        self.flapping_vms = Level(catalogue.FLAPPING_VMS, registry)

    def _relay(self) -> None:
        registry = self.registry
        self.outbox_messages = Level(catalogue.OUTBOX_MESSAGES, registry)
        self.outbox_oldest_seconds = Level(catalogue.OUTBOX_OLDEST, registry)
        self.published = Tally(catalogue.PUBLISHED, registry)
        self.publish_seconds = Spread(catalogue.PUBLISH_SECONDS, registry)
        self.publish_lag_seconds = Spread(catalogue.PUBLISH_LAG, registry)
        self.publish_failures = Tally(catalogue.PUBLISH_FAILURES, registry)
        self.relay_leader = Level(catalogue.RELAY_LEADER, registry)
        self.stream_messages = Level(catalogue.STREAM_MESSAGES, registry)
        self.stream_bytes = Level(catalogue.STREAM_BYTES, registry)
        self.stream_consumers = Level(catalogue.STREAM_CONSUMERS, registry)
        self.consumer_pending_messages = Levels(catalogue.CONSUMER_PENDING, registry)
        self.consumer_unacknowledged_messages = Levels(catalogue.CONSUMER_UNACKNOWLEDGED, registry)

    def _surroundings(self, settings: Settings) -> None:
        registry = self.registry
        self.postgres_up = Level(catalogue.POSTGRES_UP, registry)
        self.nats_up = Level(catalogue.NATS_UP, registry)
        self.postgres_connections = Levels(catalogue.POSTGRES_CONNECTIONS, registry)
        self.database_bytes = Level(catalogue.DATABASE_BYTES, registry)
        self.partitions_end = Levels(catalogue.PARTITIONS_END, registry)
        self.partitions_begin = Levels(catalogue.PARTITIONS_BEGIN, registry)
        self.loop_lag_seconds = Spread(catalogue.LOOP_LAG, registry)
        Level(catalogue.QUEUE_LIMIT, registry).set(settings.queue_callbacks_max)
        Level(catalogue.SPOOL_LIMIT, registry).set(settings.spool_bytes_max)
        Level(catalogue.POSTGRES_LIMIT, registry).set(settings.postgres_pool_size)
        days = {
            ("callbacks",): settings.callbacks_retention_days,
            ("transitions",): settings.ledger_retention_days,
        }
        Levels(catalogue.RETENTION, registry).replace({table: 86_400 * kept for table, kept in days.items()})
