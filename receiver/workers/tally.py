"""One set of figures of all workers, those that ended included, so that no counter ever goes backwards.

A report is what one process counted, read in one step of its event loop; so each adds up, and so does their sum
(docs/promises.md#promise-8). What an ended worker counted is kept. What it left in its spool is found there by another,
and not counted twice; what a killed one had in hand is counted as unaccounted for. Must not know processes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.core import Exemplar, Metric, Timestamp
from prometheus_client.registry import Collector

from receiver.observability.catalogue import CATALOGUE, Catalogue
from receiver.observability.definition import Definition, Merge

Key: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
"""Name and labels of a sample."""
RISING = frozenset({"counter", "histogram"})
PROCESS = {
    "process_max_fds": Merge.LEAST,
    "process_start_time_seconds": Merge.LEAST,
    "python_info": Merge.GREATEST,
}
"""How figures are merged that are not ours."""
_RULES = {definition.family: definition.merged for definition in CATALOGUE} | PROCESS


class Family(NamedTuple):
    """A metric and its samples."""

    name: str
    type: str
    help: str
    unit: str
    samples: Sequence[Sequence[Any]]
    """Each: name, labels, value, exemplar (labels, value, timestamp) or None."""


class Report(NamedTuple):
    """What one process counted, at one moment."""

    families: Sequence[Family]
    sums: Mapping[str, int]
    """`Metrics.sums`."""
    spools: Mapping[str, tuple[str, int | None, int]]
    """For each taking of a folder, by an id: its path, what was found in it (None: not known yet), what is in it.
    Ids of takings are in the order in which a folder was taken (`receiver.spool.left_spools.new_taking`)."""


def report_of(registry: CollectorRegistry, sums: Mapping[str, int], spools: Mapping[str, Any]) -> Report:
    """To be made in one step."""
    return Report([Family(*_family(family)) for family in registry.collect()], sums, spools)


def read_report(content: Any) -> Report:
    """One that came over a line."""
    families, sums, spools = content
    return Report([Family(*family) for family in families], sums, {name: tuple(one) for name, one in spools.items()})


def _family(family: Metric) -> tuple[str, str, str, str, list[tuple[Any, ...]]]:
    samples = [(one.name, one.labels, one.value, _exemplar(one.exemplar)) for one in family.samples]
    return family.name, family.type, family.documentation, family.unit, samples


def _exemplar(exemplar: Exemplar | None) -> tuple[Any, ...] | None:
    return (exemplar.labels, exemplar.value, float(exemplar.timestamp or 0)) if exemplar else None


class Tally:
    """Of one supervisor, from its start on."""

    def __init__(self) -> None:
        self._past: list[Family] = []
        """Counters and histograms of workers that ended."""
        self._past_sums: dict[str, int] = defaultdict(int)
        self._left: dict[str, int] = {}
        """By folder: callbacks left there by workers that ended, and not found yet."""
        self._settled: set[str] = set()
        """Takings of folders that were seen to."""
        self._last: dict[str, tuple[str, int]] = {}
        """By folder: its last taking, and how much of what was found then no ended worker is known to have left."""
        self._found_again = 0
        """Callbacks that one worker left and another found: not counted as recovered."""
        self._unaccounted = 0

    def settle(self, report: Report) -> None:
        """See what this live worker found of what others had left. To be called before its report is counted."""
        for taking, (folder, found, _) in report.spools.items():
            if found is not None and taking not in self._settled:
                self._settled.add(taking)
                self._match(folder, taking, self._left.pop(folder, 0), found)

    def end(self, last: Report) -> None:
        """A worker has ended; `last` is the last that it said."""
        self.settle(last)
        self._past = [family for family in _merged([self._past, last.families]) if family.type in RISING]
        for name in ("received", "recovered", "stored", "refused", "lost"):
            self._past_sums[name] += last.sums[name]
        for taking, (folder, _, left) in last.spools.items():
            self._leave(folder, taking, left)
        self._unaccounted += last.sums["in_flight"]

    def _leave(self, folder: str, taking: str, left: int) -> None:
        """Another may have found it before this end was heard of."""
        later, found = self._last.get(folder, ("", 0))
        if later > taking:
            self._match(folder, later, left, found)
        elif left:
            self._left[folder] = self._left.get(folder, 0) + left

    def _match(self, folder: str, taking: str, left: int, found: int) -> None:
        self._found_again += min(left, found)
        self._unaccounted += max(0, left - found)
        if taking >= self._last.get(folder, ("", 0))[0]:
            self._last[folder] = taking, max(0, found - left)

    def sums(self, live: Iterable[Report]) -> dict[str, int]:
        """What adds up, of all."""
        live = list(live)
        for report in live:
            self.settle(report)
        names = ("received", "recovered", "stored", "spooled", "refused", "lost", "in_flight")
        sums = {name: self._past_sums[name] + sum(report.sums[name] for report in live) for name in names}
        sums["recovered"] -= self._found_again
        sums["spooled"] += sum(self._left.values())
        return sums | {"unaccounted": self._unaccounted}

    def families(self, live: Iterable[Report], more: Iterable[Family] = ()) -> list[Family]:
        """All figures; `more` are the supervisor's own."""
        live = list(live)
        for report in live:
            self.settle(report)
        corrections = [
            _single(Catalogue.recovered, -self._found_again),
            _single(Catalogue.spool_callbacks, sum(self._left.values())),
            _single(Catalogue.unaccounted, self._unaccounted),
        ]
        return list(_merged([self._past, *(report.families for report in live), corrections, list(more)]))


def _single(definition: Definition[Any], value: float) -> Family:
    return labelled(definition, {(): value})


def labelled(definition: Definition[Any], values: Mapping[tuple[str, ...], float]) -> Family:
    """A metric of the catalogue with these values, by labels."""
    samples = [
        (definition.series, dict(zip(definition.label_names, labels, strict=True)), value, None)
        for labels, value in values.items()
    ]
    return Family(definition.family, definition.kind, definition.help, "", samples)


def _merged(parts: Iterable[Sequence[Family]]) -> Iterator[Family]:
    """The families of all parts, each once, in the order in which they are met."""
    found: dict[str, list[Family]] = {}
    for part in parts:
        for family in part:
            found.setdefault(family.name, []).append(family)
    for name, same in found.items():
        yield same[0]._replace(
            unit=max(family.unit for family in same), samples=_samples(same, _RULES.get(name, Merge.SUM))
        )


def _samples(same: Sequence[Family], rule: Merge) -> list[tuple[Any, ...]]:
    values: dict[Key, float] = {}
    shown: dict[Key, tuple[str, Mapping[str, str], Any]] = {}
    merge = _MERGES[rule]
    for family in same:
        for name, labels, value, exemplar in family.samples:
            key = name, tuple(sorted(labels.items()))
            values[key] = merge(values[key], value) if key in values else value
            shown[key] = name, labels, exemplar or (shown[key][2] if key in shown else None)
    return [(name, labels, values[key], exemplar) for key, (name, labels, exemplar) in shown.items()]


_MERGES: Mapping[Merge, Callable[[float, float], float]] = {
    Merge.SUM: lambda one, other: one + other,
    Merge.GREATEST: max,
    Merge.LEAST: min,
    Merge.EARLIEST: lambda one, other: min(one, other) if one and other else one or other,
}


class _Given(Collector):
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            metric = Metric(family.name, family.help, family.type, family.unit)
            for name, labels, value, exemplar in family.samples:
                metric.add_sample(name, labels, value, exemplar=_read_exemplar(exemplar))
            yield metric


def _read_exemplar(exemplar: Sequence[Any] | None) -> Exemplar | None:
    if exemplar is None:
        return None
    labels, value, at_s = exemplar
    return Exemplar(labels, value, Timestamp(int(at_s), int(at_s % 1 * 1e9)) if at_s else None)


def registry_of(families: Iterable[Family]) -> CollectorRegistry:
    """What is exposed of these."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(list(families)))
    return registry


def figure(report: Report | None, series: str) -> float:
    """The sum of a series over its labels."""
    if report is None:
        return 0.0
    return float(sum(one[2] for family in report.families for one in family.samples if one[0] == series))
