"""What must be true of every input, and of all of them together. Must not know how they were sent."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.config.settings import Settings
from tests.hostile.trial import Report, Seen, percentile

MEMORY_MB_MAX = 100
BYSTANDER_MS_MAX = 100
CLOSED = frozenset({"head: nothing"})
"""Inputs that are no request, and get no answer."""
REFUSALS = frozenset(
    {"broken-head", "body-cut-off", "parameter", "not-found", "method-not-allowed", "expectation-failed"}
)
"""What is refused for no limit: it is no HTTP, not whole, or asks for what there is not."""


def fault(name: str, seen: Seen) -> str | None:
    """What is wrong with an answer; None: 2xx, stored and malformed, or refused by a limit that is named."""
    answer = seen.answer
    if answer is None:
        return None if name in CLOSED else "no answer"
    if 200 <= answer.status < 300 or (answer.status == 400 and "esc-receipt-id" in answer.headers):
        return None
    if "problem+json" not in answer.headers.get("content-type", ""):
        return f"{answer.status} without a problem document"
    problem = answer.json
    if answer.status != 500 and (problem.get("setting") in Settings.model_fields or _slug(problem["type"]) in REFUSALS):
        return None
    return f"{answer.status} {problem}"


def _slug(kind: str) -> str:
    return kind.rpartition(":")[2]


def faults(report: Report) -> list[str]:
    """All that is wrong, but for times and memory."""
    return [f"{name}: {why}" for name, seen in report.seen.items() if (why := fault(name, seen))] + list(_whole(report))


def _whole(report: Report) -> Iterator[str]:
    counts = report.counts
    ended = sum(counts[name] for name in ("stored", "spooled", "refused", "lost", "in_flight"))
    if counts["received"] + counts["recovered"] != ended:
        yield f"the counts do not add up: {counts}"
    assert report.bystander is not None
    if others := {status for status in report.bystander.statuses if not 200 <= status < 300}:
        yield f"the bystander was answered with {others}"
    for word in ("Traceback", '"request failed"'):
        if word in report.log:
            yield f"the log holds {word}"


def bounds(report: Report) -> list[tuple[str, float, float]]:
    """Name, value and bound."""
    assert report.bystander is not None
    quiet, loud = (percentile(seconds, 0.99) * 1e3 for seconds in (report.quiet, report.bystander.seconds))
    late = max(seen.late_s for seen in report.seen.values()) * 1e3
    return [
        ("lateness of the loop, ms", late, 20),
        ("memory above that before, MB", (report.memory_most - report.memory_before) / 1e6, MEMORY_MB_MAX),
        (f"p99 of the bystander above the quiet {quiet:.1f} ms, ms", loud - quiet, BYSTANDER_MS_MAX),
    ]
