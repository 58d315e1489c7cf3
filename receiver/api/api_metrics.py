"""Metrics of the query API: requests, waits, subscribers of the feed. Names of endpoints are the only labels."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry

from receiver.observability import catalogue
from receiver.observability.cells import Level, Spreads, Tally


class ApiMetrics:
    """All collectors, on the service's registry."""

    def __init__(self, registry: CollectorRegistry, endpoints: Iterable[str]) -> None:
        self.requests = Tally(catalogue.QUERIES, registry)
        self.seconds = Spreads(catalogue.QUERY_TIME, registry)
        self.waits = Level(catalogue.WAITS, registry)
        self.feed_readers = Level(catalogue.FEED_READERS, registry)
        self.feed_dropped = Tally(catalogue.FEED_DROPPED, registry)
        for endpoint in endpoints:
            self.requests.labels(endpoint, "200")
            self.seconds.labels(endpoint)
