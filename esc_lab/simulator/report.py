"""Counts what was sent and how it was answered, and prints it.

Bounded, however long the run: numbers only (the audit log apart). This file must not know HTTP nor what messages mean.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import zip_longest
from math import ceil, exp, log
from time import monotonic
from typing import Any

from rich.console import Console
from rich.table import Table

from esc_lab.simulator.audit_log import AuditLog
from esc_lab.simulator.delivery_faults import Sort
from esc_lab.simulator.posting import Answer
from esc_lab.simulator.script_runner import Operation


class Latency:
    """Answer times, counted in buckets 2% wide, so that a percentile is right to one part in fifty."""

    _WIDTH = log(1.02)
    _LEAST_S = 1e-6

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """One answer."""
        self._buckets[ceil(log(max(seconds, self._LEAST_S) / self._LEAST_S) / self._WIDTH)] += 1

    def percentile_ms(self, share: float) -> float | None:
        """The time within which that share (0..1) of the answers came, in milliseconds; None before the first."""
        wanted = share * self._buckets.total()
        for bucket, number in sorted(self._buckets.items()):
            wanted -= number
            if wanted <= 0:
                return round(self._LEAST_S * exp(bucket * self._WIDTH) * 1000, 3)
        return None


@dataclass(slots=True)
class Summary:
    """What a run did. `surprises` are answers other than such a message should get; a good run has none."""

    seed: int
    target: str
    audit_log: AuditLog | None = None
    sent: Counter[str] = field(default_factory=Counter)
    """By sort: real, duplicate, malformed, unknown, wrong-token."""
    answers: Counter[str] = field(default_factory=Counter)
    """By status, or by the failure that kept an answer away."""
    surprises: Counter[str] = field(default_factory=Counter)
    operations: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Whole operations by kind and outcome."""
    cut_short: int = 0
    """Operations that the end of the run interrupted."""
    latency: Latency = field(default_factory=Latency)
    began: float = field(default_factory=monotonic)
    elapsed_s: float = 0.0

    def count_operation(self, operation: Operation, *, complete: bool) -> None:
        """An operation is over."""
        if complete:
            self.operations[operation.kind, operation.outcome or "UNSAID"] += 1
        else:
            self.cut_short += 1

    def count_answer(self, sort: Sort, answer: Answer) -> None:
        """A message was answered, or failed for good."""
        outcome = answer.failure or str(answer.status)
        self.sent[sort] += 1
        self.answers[outcome] += 1
        right = {"wrong-token": answer.status in {401, 403}, "malformed": answer.status == 400}
        if not right.get(sort, answer.is_success):
            self.surprises[f"{outcome} to a {sort} message"] += 1

    def rate(self) -> float:
        """Messages per second over the whole run."""
        return self.sent.total() / self.elapsed_s if self.elapsed_s else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        operations: dict[str, dict[str, int]] = {}
        for (kind, outcome), number in sorted(self.operations.items()):
            operations.setdefault(kind, {})[outcome.lower()] = number
        return {
            "seed": self.seed,
            "target": self.target,
            "elapsed_s": round(self.elapsed_s, 3),
            "messages": self.sent.total(),
            "messages_per_s": round(self.rate(), 1),
            "sent": dict(sorted(self.sent.items())),
            "answers": dict(sorted(self.answers.items())),
            "surprises": dict(sorted(self.surprises.items())),
            "operations": operations,
            "operations_cut_short": self.cut_short,
            "latency_ms": {"p50": self.latency.percentile_ms(0.5), "p99": self.latency.percentile_ms(0.99)},
        }


def print_summary(summary: Summary, console: Console) -> None:
    """The tables a person reads after the run."""
    console.print(_operations_table(summary))
    console.print(_messages_table(summary))
    p50, p99 = summary.latency.percentile_ms(0.5), summary.latency.percentile_ms(0.99)
    speed = f"{summary.sent.total()} messages in {summary.elapsed_s:.1f} s, {summary.rate():.0f}/s"
    times = f"answered within {p50:.1f} ms (p50), {p99:.1f} ms (p99)" if p50 and p99 else "none answered"
    console.print(f"{speed}; {times}; seed {summary.seed}", soft_wrap=True)
    for surprise, number in summary.surprises.most_common():
        console.print(f"[yellow]not as expected:[/] {number} times {surprise}", soft_wrap=True)


def _operations_table(summary: Summary) -> Table:
    outcomes = sorted({outcome for _, outcome in summary.operations}, reverse=True)
    table = _table("Operations", "kind", *(f">{outcome.lower()}" for outcome in outcomes))
    for kind in sorted({kind for kind, _ in summary.operations}):
        table.add_row(kind, *(str(summary.operations[kind, outcome] or "") for outcome in outcomes))
    table.add_section()
    totals = (sum(n for (_, one), n in summary.operations.items() if one == outcome) for outcome in outcomes)
    table.add_row("all" + (f" ({summary.cut_short} cut short)" if summary.cut_short else ""), *map(str, totals))
    return table


def _messages_table(summary: Summary) -> Table:
    table = _table("Messages", "sent", ">", "answered", ">")
    both = zip_longest(sorted(summary.sent.items()), sorted(summary.answers.items()), fillvalue=("", ""))
    for (sort, sent), (answer, number) in both:
        table.add_row(sort, str(sent), answer, str(number))
    return table


def _table(title: str, *columns: str) -> Table:
    """Columns whose name begins with ">" are justified to the right."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    return table
