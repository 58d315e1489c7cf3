"""Counters for one thread: what is counted at every callback costs a tenth of prometheus-client's locked ones.

Shaped like its metrics, so that the rooms see no difference. They must be changed in the event loop's thread only, as
everything here is; a scrape is one step of the same thread. Must not know which metrics there are (`catalogue`).
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from receiver.observability.definition import Measure

AtStart = Mapping[str, Sequence[str]]
EXEMPLAR = "transaction_id"
EXEMPLAR_CHARACTERS_MAX = 128 - len(EXEMPLAR)
"""OpenMetrics: name and value of an exemplar's labels have at most 128 characters together."""


class Cell:
    """One number."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def inc(self, amount: int = 1) -> None:
        """Counts up."""
        self.value += amount

    def dec(self, amount: int = 1) -> None:
        """Counts down."""
        self.value -= amount

    def set(self, value: float) -> None:
        """It is this now."""
        self.value = value


class Heap:
    """How many observations fell into which bucket, and the last exemplar of each."""

    __slots__ = ("_bounds", "counts", "exemplars", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.exemplars: dict[int, tuple[str, float, float]] = {}
        self.sum = 0.0

    def observe(self, amount: float, transaction_id: str | None = None) -> None:
        """Counts one observation; the transaction id, when it is short enough, is shown as its bucket's exemplar."""
        place = bisect_left(self._bounds, amount)
        self.counts[place] += 1
        self.sum += amount
        if transaction_id and len(transaction_id) <= EXEMPLAR_CHARACTERS_MAX:
            self.exemplars[place] = transaction_id, amount, time.time()

    def buckets(self) -> list[tuple[str, float] | tuple[str, float, Exemplar | None]]:
        """As Prometheus wants them: each includes the ones below."""
        found: list[tuple[str, float] | tuple[str, float, Exemplar | None]] = []
        below = 0
        for place, (bound, count) in enumerate(zip((*self._bounds, float("inf")), self.counts, strict=True)):
            below += count
            name = floatToGoString(bound)  # type: ignore[no-untyped-call]  # theirs has no types
            found.append((name, below, _exemplar(self.exemplars.get(place))))
        return found


def _exemplar(told: tuple[str, float, float] | None) -> Exemplar | None:
    return Exemplar({EXEMPLAR: told[0]}, told[1], told[2]) if told else None


T = TypeVar("T", bound=Cell | Heap)


class Cells(dict[tuple[str, ...], T], Generic[T]):
    """A cell for each set of label values, made when first asked for."""

    def __init__(self, make: Callable[[], T]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, values: tuple[str, ...]) -> T:
        cell: T = self._make()
        self[tuple(map(str, values))] = cell
        return cell


class _Labelled(Collector, Generic[T]):
    """A metric with labels; `cells[values]` is the quick way to one of them."""

    def __init__(
        self, measure: Measure, registry: CollectorRegistry, make: Callable[[], T], at_start: AtStart | None = None
    ) -> None:
        self.measure = measure
        self.cells: Cells[T] = Cells(make)
        for values in measure.known(at_start or {}):
            self.cells[values]
        registry.register(self)

    def labels(self, *values: str) -> T:
        """The cell of these label values."""
        return self.cells[values]

    @property
    def _unit(self) -> str:
        """Told where the name ends in it, as OpenMetrics asks."""
        return self.measure.unit if self.measure.name.endswith(f"_{self.measure.unit}") else ""


class Tally(_Labelled[Cell]):
    """A counter; counting `cells[values].value += 1` is the quick way."""

    def __init__(self, measure: Measure, registry: CollectorRegistry, at_start: AtStart | None = None) -> None:
        super().__init__(measure, registry, Cell, at_start)

    @property
    def total(self) -> int:
        """The sum over all labels."""
        return int(sum(cell.value for cell in self.cells.values()))

    def inc(self, amount: int = 1) -> None:
        """Counts up, where there are no labels."""
        self.cells[()].value += amount

    def collect(self) -> Iterable[Metric]:
        """As Prometheus wants it."""
        family = CounterMetricFamily(
            self.measure.family, self.measure.help, labels=self.measure.label_names, unit=self._unit
        )
        for values, cell in self.cells.items():
            family.add_metric(values, cell.value)
        yield family


class Levels(_Labelled[Cell]):
    """A gauge with labels."""

    def __init__(self, measure: Measure, registry: CollectorRegistry, at_start: AtStart | None = None) -> None:
        super().__init__(measure, registry, Cell, at_start)
        self._asked: Callable[[], Mapping[tuple[str, ...], float]] | None = None

    def replace(self, values: Mapping[tuple[str, ...], float]) -> None:
        """All of it anew: what is not told is zero, and what appeared only when it was seen is gone."""
        for labels, cell in list(self.cells.items()):
            if labels not in values and self.measure.lazy:
                del self.cells[labels]
            else:
                cell.value = 0
        for labels, value in values.items():
            self.cells[labels].value = value

    def ask(self, asked: Callable[[], Mapping[tuple[str, ...], float]]) -> None:
        """Ask this at each scrape from now on; it must be quick."""
        self._asked = asked

    def collect(self) -> Iterable[Metric]:
        """As Prometheus wants it."""
        if self._asked:
            self.replace(self._asked())
        family = GaugeMetricFamily(
            self.measure.family, self.measure.help, labels=self.measure.label_names, unit=self._unit
        )
        for values, cell in self.cells.items():
            family.add_metric(values, cell.value)
        yield family


class Level(Cell, Collector):
    """A gauge without labels. `asked` is asked at each scrape, and must be quick."""

    __slots__ = ("_asked", "measure")

    def __init__(self, measure: Measure, registry: CollectorRegistry, asked: Callable[[], float] | None = None) -> None:
        super().__init__()
        self.measure, self._asked = measure, asked
        registry.register(self)

    def ask(self, asked: Callable[[], float]) -> None:
        """Ask this at each scrape from now on."""
        self._asked = asked

    def collect(self) -> Iterable[Metric]:
        """As Prometheus wants it."""
        unit = self.measure.unit if self.measure.name.endswith(f"_{self.measure.unit}") else ""
        family = GaugeMetricFamily(self.measure.family, self.measure.help, labels=(), unit=unit)
        family.add_metric((), self.value)
        yield family


class Spreads(_Labelled[Heap]):
    """A histogram with labels."""

    def __init__(self, measure: Measure, registry: CollectorRegistry, at_start: AtStart | None = None) -> None:
        super().__init__(measure, registry, lambda: Heap(measure.bounds), at_start)

    def collect(self) -> Iterable[Metric]:
        """As Prometheus wants it."""
        family = HistogramMetricFamily(
            self.measure.family, self.measure.help, labels=self.measure.label_names, unit=self._unit
        )
        for values, heap in self.cells.items():
            family.add_metric(values, heap.buckets(), heap.sum)  # type: ignore[arg-type]  # a list is invariant
        yield family


class Spread(Heap, Collector):
    """A histogram without labels."""

    __slots__ = ("measure",)

    def __init__(self, measure: Measure, registry: CollectorRegistry) -> None:
        super().__init__(measure.bounds)
        self.measure = measure
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """As Prometheus wants it."""
        unit = self.measure.unit if self.measure.name.endswith(f"_{self.measure.unit}") else ""
        family = HistogramMetricFamily(self.measure.family, self.measure.help, labels=(), unit=unit)
        family.add_metric((), self.buckets(), self.sum)  # type: ignore[arg-type]  # a list is invariant
        yield family
