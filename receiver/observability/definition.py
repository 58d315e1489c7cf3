"""How the catalogue describes a metric, and how prometheus-client's object is made of that description.

Must not know which metrics exist.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import product
from time import time
from typing import Any, Generic, TypeVar, overload

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.samples import Exemplar

NAMESPACE = "esc_receiver"
EXEMPLAR_LABEL = "transaction_id"
EXEMPLAR_CHARACTERS_MAX = 128 - len(EXEMPLAR_LABEL)
"""OpenMetrics allows 128 characters for name and value of an exemplar's labels together."""


class Histogram(prometheus_client.Histogram):
    """As theirs, but in a third of the time, several times for each callback: the bucket is found by bisection, and an
    exemplar of ours (`exemplar`) is not checked again."""

    def observe(self, amount: float, exemplar: Mapping[str, str] | None = None) -> None:
        """One more; without labels, or of a child with all of them."""
        bucket = self._buckets[bisect_left(self._upper_bounds, amount)]
        self._sum.inc(amount)
        bucket.inc(1)
        if exemplar:
            bucket.set_exemplar(Exemplar(dict(exemplar), amount, time()))


M = TypeVar("M", Counter, Gauge, Histogram)


class Merge(Enum):
    """What is told of the values that several workers have of one metric."""

    SUM = auto()
    GREATEST = auto()
    LEAST = auto()
    EARLIEST = auto()
    """The least that is not 0."""


@dataclass(frozen=True, slots=True)
class Label:
    """A label and the closed set of its values."""

    name: str
    values: tuple[str, ...] = ()
    """Empty: they are known when the service starts, or bounded by a setting; `from_where` says which."""
    from_where: str = ""


@dataclass(eq=False)
class Definition(Generic[M]):
    """One metric, named after the attribute of the catalogue that holds it.

    Read from the class it is this description; read from an instance it is the metric that counts.
    """

    make: type[M]
    unit: str
    """In full words, plural. It ends the name where it is a base unit."""
    help: str
    labels: tuple[Label, ...]
    buckets: tuple[float, ...] = ()
    """Upper bounds, of a histogram."""
    lazy: bool = False
    """Label sets appear when first seen, because they are many or not known before."""
    merged: Merge = Merge.SUM
    """Of several workers."""
    name: str = ""
    """Without the prefix of all and without `_total`."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Definition[M]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> M: ...
    def __get__(self, instance: object | None, owner: type) -> Any:
        return self if instance is None else vars(instance)[self.name]

    @property
    def kind(self) -> str:
        """`counter`, `gauge` or `histogram`."""
        return self.make.__name__.lower()

    @property
    def family(self) -> str:
        """The name of the metric family."""
        return f"{NAMESPACE}_{self.name}"

    @property
    def series(self) -> str:
        """The name that a query asks for; of a histogram, the one that its three series begin with."""
        return self.family + ("_total" if self.kind == "counter" else "")

    @property
    def label_names(self) -> tuple[str, ...]:
        """In their order."""
        return tuple(label.name for label in self.labels)

    def known(self, at_start: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, ...]]:
        """The label sets that start at zero; `at_start` holds the values of labels that settings tell."""
        if not self.lazy:
            yield from product(*(label.values or at_start.get(label.name, ()) for label in self.labels))

    def create(self, registry: CollectorRegistry, at_start: Mapping[str, Sequence[str]]) -> M:
        """The metric, registered, its known label sets at zero."""
        unit = self.unit if self.name.endswith(f"_{self.unit}") else ""
        options: dict[str, Any] = {"buckets": self.buckets} if self.buckets else {}
        metric = self.make(
            self.name, self.help, self.label_names, namespace=NAMESPACE, unit=unit, registry=registry, **options
        )
        for values in self.known(at_start) if self.labels else ():
            metric.labels(*values)
        return metric


def counter(unit: str, help_text: str, *labels: Label, lazy: bool = False) -> Definition[Counter]:
    """It only ever rises."""
    return Definition(Counter, unit, help_text, labels, lazy=lazy)


def gauge(
    unit: str, help_text: str, *labels: Label, lazy: bool = False, merged: Merge = Merge.SUM
) -> Definition[Gauge]:
    """It rises and falls."""
    return Definition(Gauge, unit, help_text, labels, lazy=lazy, merged=merged)


def common(unit: str, help_text: str, *labels: Label, lazy: bool = False) -> Definition[Gauge]:
    """A gauge of what several workers share: mostly all tell the same, else the greatest counts."""
    return gauge(unit, help_text, *labels, lazy=lazy, merged=Merge.GREATEST)


def histogram(
    unit: str, help_text: str, buckets: tuple[float, ...], *labels: Label, lazy: bool = False
) -> Definition[Histogram]:
    """It counts observations by their size."""
    return Definition(Histogram, unit, help_text, labels, buckets, lazy)


def exemplar(transaction_id: str | None) -> dict[str, str] | None:
    """The exemplar of an observation; None without an id, or with one that OpenMetrics has no room for."""
    if transaction_id and len(transaction_id) <= EXEMPLAR_CHARACTERS_MAX:
        return {EXEMPLAR_LABEL: transaction_id}
    return None


def total(metric: Counter | Gauge) -> int:
    """The sum of a metric over all its label sets."""
    return int(sum(sample.value for family in metric.collect() for sample in family.samples))


def set_all(gauge: Gauge, values: Mapping[tuple[str, ...], float]) -> None:
    """Set these label sets, and all others that are known to 0."""
    for family in gauge.collect():
        for sample in family.samples:
            gauge.labels(*sample.labels.values()).set(0)
    for labels, value in values.items():
        gauge.labels(*labels).set(value)
