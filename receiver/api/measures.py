"""What is counted of the windows: questions, waits, readers of the feed. Names of endpoints are the only labels."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram

from receiver.tally import Level

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 1.0, 5.0)


class Measures:
    """All collectors, on the service's registry."""

    def __init__(self, registry: CollectorRegistry, endpoints: Iterable[str]) -> None:
        self.questions = Counter(
            "esc_receiver_queries", "Questions answered by the query API.", ["endpoint", "status"], registry=registry
        )
        self.seconds = Histogram(
            "esc_receiver_query_seconds",
            "One question, from its head to its answer; waits and the feed are not timed.",
            ["endpoint"],
            buckets=SECONDS,
            registry=registry,
        )
        self.waits = Level("esc_receiver_waits", "Requests that wait for an operation to end.", registry=registry)
        self.feed_readers = Level("esc_receiver_feed_readers", "Readers of the live feed.", registry=registry)
        self.feed_dropped = Counter(
            "esc_receiver_feed_dropped", "Readers of the live feed that were dropped as too slow.", registry=registry
        )
        for endpoint in endpoints:
            self.questions.labels(endpoint, "200")
            self.seconds.labels(endpoint)
