"""Messages of other publishers in the feed's stream: counted, and warned of. Must not know how they are told apart."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from receiver.observability.metrics import Metrics

SUBJECTS_MAX = 10
"""So many subjects are warned of, each once; after that they are only counted."""

log = structlog.get_logger()


class Strangers:
    """What one relay has seen of them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._subjects: set[str] = set()

    def count(self, subjects: Iterable[str]) -> None:
        """One subject for each message."""
        for subject in subjects:
            self._metrics.feed_foreign.inc()
            if subject not in self._subjects and len(self._subjects) < SUBJECTS_MAX:
                self._subjects.add(subject)
                log.warning(
                    "somebody else publishes to the feed's stream; the messages are passed over", subject=subject
                )
