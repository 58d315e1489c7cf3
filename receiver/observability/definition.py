"""The form of an entry of the catalogue, and the label sets that it makes known. Values only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

PREFIX = "esc_receiver_"


class Kind(StrEnum):
    """As Prometheus and OpenMetrics call them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Label:
    """A label and the closed set of its values."""

    name: str
    values: tuple[str, ...] = ()
    """Empty: they are known when the service starts, or bounded by a setting; `from_where` says which."""
    from_where: str = ""


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric. `name` is without the prefix of all and without `_total`."""

    name: str
    kind: Kind
    unit: str
    """In full words, plural. It ends the name where it is a base unit."""
    help: str
    labels: tuple[Label, ...] = ()
    bounds: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets."""
    lazy: bool = False
    """Label sets appear when first seen, because they are many or not known before."""

    @property
    def family(self) -> str:
        """The name of the metric family."""
        return PREFIX + self.name

    @property
    def series(self) -> str:
        """The name that a query asks for; of a histogram, the one that its three series begin with."""
        return self.family + ("_total" if self.kind is Kind.COUNTER else "")

    @property
    def label_names(self) -> tuple[str, ...]:
        """In their order."""
        return tuple(label.name for label in self.labels)

    def known(self, at_start: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, ...]]:
        """The label sets that start at zero; `at_start` holds the values of labels that settings tell."""
        if not self.lazy:
            yield from product(*(label.values or at_start.get(label.name, ()) for label in self.labels))


def counter(name: str, unit: str, help_text: str, *labels: Label, lazy: bool = False) -> Measure:
    """It only ever rises."""
    return Measure(name, Kind.COUNTER, unit, help_text, labels, lazy=lazy)


def gauge(name: str, unit: str, help_text: str, *labels: Label, lazy: bool = False) -> Measure:
    """It is what it is now."""
    return Measure(name, Kind.GAUGE, unit, help_text, labels, lazy=lazy)


def histogram(
    name: str, unit: str, help_text: str, bounds: tuple[float, ...], *labels: Label, lazy: bool = False
) -> Measure:
    """How it is spread."""
    return Measure(name, Kind.HISTOGRAM, unit, help_text, labels, bounds, lazy)
