"""Counters for one thread: what is counted at every callback costs a tenth of prometheus-client's locked ones.

Shaped like its metrics, so that the rooms see no difference. They must be changed in the event loop's
thread only, as everything here is; a scrape is one step of the same thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Cell:
    """One number."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, amount: int = 1) -> None:
        """Counts up."""
        self.value += amount

    def dec(self, amount: int = 1) -> None:
        """Counts down."""
        self.value -= amount


class Cells(dict[tuple[str, ...], Cell]):
    """A cell for each set of label values, made when first asked for."""

    def __missing__(self, values: tuple[str, ...]) -> Cell:
        cell = self[tuple(map(str, values))] = Cell()
        return cell


class Tally(Collector):
    """A counter with labels; counting `cells[values].inc()` is the quick way."""

    def __init__(self, name: str, documentation: str, labelnames: Sequence[str], registry: CollectorRegistry) -> None:
        self._name, self._documentation, self._labelnames = name, documentation, tuple(labelnames)
        self.cells = Cells()
        registry.register(self)

    def labels(self, *values: str) -> Cell:
        """The cell of these label values."""
        return self.cells[values]

    @property
    def total(self) -> int:
        """The sum over all labels."""
        return sum(cell.value for cell in self.cells.values())

    def collect(self) -> Iterable[Metric]:
        """As Prometheus wants it."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labelnames)
        for values, cell in self.cells.items():
            family.add_metric(values, cell.value)
        yield family


class Level(Cell, Collector):
    """A gauge without labels."""

    __slots__ = ("_documentation", "_name")

    def __init__(self, name: str, documentation: str, registry: CollectorRegistry) -> None:
        super().__init__()
        self._name, self._documentation = name, documentation
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """As Prometheus wants it."""
        yield GaugeMetricFamily(self._name, self._documentation, value=self.value)


class Spread(Collector):
    """A histogram without labels."""

    def __init__(self, name: str, documentation: str, bounds: Sequence[float], registry: CollectorRegistry) -> None:
        self._name, self._documentation, self._bounds = name, documentation, tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0
        registry.register(self)

    def observe(self, amount: float) -> None:
        """Counts one observation."""
        self._counts[bisect_left(self._bounds, amount)] += 1
        self._sum += amount

    def collect(self) -> Iterable[Metric]:
        """As Prometheus wants it: buckets that include the ones below."""
        buckets, below = [], 0
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            below += count
            buckets.append((floatToGoString(bound), below))  # type: ignore[no-untyped-call]  # theirs has no types
        yield HistogramMetricFamily(self._name, self._documentation, buckets=buckets, sum_value=self._sum)
