"""All metrics of the service, and the steps in which they change.

Must not know where the facts come from. Counts that must add up are changed by one method each, without an await
inside, so that a scrape (also one synchronous step of the same thread) never sees half of a step:
received + recovered = stored + spooled + refused + lost + in flight (+ unaccounted, which only a killed worker leaves:
`receiver.workers.tally`). No id of a VM, deployment or transaction is ever
a label; label sets that are known start at zero, so that a rate is right from the first event on.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from functools import cache

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from receiver import __version__
from receiver.config.settings import Settings
from receiver.model.entities import Decision
from receiver.model.notification import POSTED
from receiver.observability.catalogue import Catalogue
from receiver.observability.definition import total
from receiver.observability.labels import ROOT_CHANNEL, UNKNOWN_SOURCE, Kept, Mode, Refused
from receiver.observability.lifecycle_metrics import LifecycleMetrics
from receiver.observability.source_activity import SourceActivity
from receiver.observability.spool_figures import SpoolFigures


class Metrics(Catalogue):
    """Every metric of the catalogue as an attribute, on a registry of its own."""

    def __init__(self, sources: Iterable[str] = ("default",), settings: Settings | None = None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # theirs has no types
        self.registry = CollectorRegistry()
        self.sources = tuple(sources)
        self._known = frozenset(self.sources)
        super().__init__(self.registry, self.sources)
        self.activity = SourceActivity(self.sources)
        self.spools = SpoolFigures(self)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.lifecycle = LifecycleMetrics(self, settings or Settings())
        self._set_constants(settings or Settings())
        for channel in (*POSTED, ROOT_CHANNEL):
            self.received.labels(UNKNOWN_SOURCE, channel)
        # `labels` takes longer than the counting itself, so each child is looked up once.
        self._received, self._refused = cache(self.received.labels), cache(self.refused.labels)
        self._stored = cache(self.stored.labels)

    def source_label(self, source: str) -> str:
        """The value of the label `source`."""
        return source if source in self._known else UNKNOWN_SOURCE

    def count_received(self, source: str, channel: str) -> None:
        """A POST has reached a callback path; it is in flight until it is stored, spooled or refused."""
        self._received(self.source_label(source), channel).inc()
        self.in_flight.inc()

    def count_refused(self, reason: Refused) -> None:
        """A callback was answered with an error and not kept."""
        self._refused(reason).inc()
        self.in_flight.dec()

    def count_stored(self, source: str, family: str, outcome: str) -> None:
        """A callback was committed in PostgreSQL."""
        self._stored(self.source_label(source), family, outcome).inc()
        self.in_flight.dec()

    def count_spooled(self, callbacks: int) -> None:
        """Callbacks were fsynced in the spool."""
        self.spool_callbacks.inc(callbacks)
        self.in_flight.dec(callbacks)

    def count_recovered(self, callbacks: int) -> None:
        """Callbacks of an earlier run were found in the spool."""
        self.recovered.inc(callbacks)
        self.spool_callbacks.inc(callbacks)

    def count_lost(self, callbacks: int) -> None:
        """Callbacks were in the spool, and its damaged file no longer gives them."""
        self.spool_lost.inc(callbacks)
        self.spool_callbacks.dec(callbacks)

    def count_drained(self, source: str, family: str, outcome: str) -> None:
        """A callback of the spool was committed in PostgreSQL."""
        self._stored(self.source_label(source), family, outcome).inc()
        self.spool_callbacks.dec()
        self.drained.inc()

    def count_decision(self, decision: Decision) -> None:
        """A decision was committed."""
        self.lifecycle.count(decision)

    def set_mode(self, mode: Mode) -> None:
        """Callbacks take another way from now on."""
        for other in Mode:
            self.mode.labels(other).set(other is mode)

    def sums(self) -> dict[str, int]:
        """What adds up (docs/promises.md#promise-8), over all labels, read in one step."""
        return {
            "received": total(self.received),
            "recovered": total(self.recovered),
            "stored": total(self.stored),
            "spooled": total(self.spool_callbacks),
            "refused": total(self.refused),
            "lost": total(self.spool_lost),
            "in_flight": total(self.in_flight),
        }

    def _set_constants(self, settings: Settings) -> None:
        self.build_info.labels(__version__, platform.python_version()).set(1)
        self.queue_limit_callbacks.set(settings.queue_callbacks_max)
        self.spool_limit_bytes.set(settings.spool_bytes_max)
        self.postgres_limit_connections.set(settings.postgres_pool_size)
        self.retention_seconds.labels(Kept.CALLBACKS).set(86_400 * settings.callbacks_retention_days)
        self.retention_seconds.labels(Kept.TRANSITIONS).set(86_400 * settings.ledger_retention_days)
