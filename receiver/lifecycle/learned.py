"""How long operations usually take, as the ledger teaches, and the limit of their silence that follows.

A limit that a person sets for all deployments of all ESCs is hours; a deployment that usually takes a minute is late
long before. Learned is by source and kind, and by how many VMs an operation spoke of, in classes that double. Pure:
what was learned and the factor are handed in.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from receiver.model.entities import Operation

ANY_NUMBER = 0
"""The class of all operations of a kind, whatever their number of VMs."""


class LearnedDuration(NamedTuple):
    """A row of `learned_durations`; seconds, of operations that succeeded."""

    source: str
    kind: str
    vms_max: int
    """The class: those that spoke of at most so many VMs, and of more than half as many. 0: all."""
    samples: int
    usual_s: float
    """Half of them took longer."""
    p99_s: float
    longest_s: float


class LearnedDurations:
    """What was learned, for all sources; empty at first."""

    def __init__(self, learned: Iterable[LearnedDuration] = (), factor: float = 1.0) -> None:
        """The limit is `factor` times what all but one of a hundred take."""
        rows = list(learned)
        self._rows = {(row.source, row.kind, row.vms_max): row for row in rows}
        self.limits_s: dict[tuple[str, str], float] = {}
        """By source and kind. That of the slowest class: an operation that has spoken of few VMs may have many."""
        for row in rows:
            key = row.source, row.kind
            self.limits_s[key] = max(self.limits_s.get(key, 0.0), factor * row.p99_s)

    def of_any_number(self) -> list[LearnedDuration]:
        """What was learned of each source and kind, whatever the number of VMs."""
        return [row for (_, _, vms_max), row in self._rows.items() if vms_max == ANY_NUMBER]

    def of(self, operation: Operation) -> LearnedDuration | None:
        """What is usual for one like this; None while too few have been seen."""
        found = self._rows.get((operation.source, operation.kind, size_class(operation.vms_seen)))
        return found or self._rows.get((operation.source, operation.kind, ANY_NUMBER))


def size_class(vms: int) -> int:
    """The power of two that is not less; 1 for none."""
    return 1 << max(vms - 1, 0).bit_length()
