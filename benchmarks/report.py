"""What was found, as tables for people and as a document for programs.

This file must not know how it was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from statistics import median
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.compare import NOTHING, ORDINARY, SERVICE, Plan, Results, Round
from benchmarks.felt import Felt
from benchmarks.outage import Found
from benchmarks.shapes import Shapes


def rate(one: Round) -> float:
    """Callbacks per second."""
    return one.heard.rate


def p50(one: Round) -> float:
    """Seconds."""
    return one.heard.p50_s


def p99(one: Round) -> float:
    """Seconds."""
    return one.heard.p99_s


def outage_table(found: Found) -> Table:
    """What the service does without PostgreSQL."""
    table = Table("without PostgreSQL", "", title="Outage")
    spooled, nothing = (median(one.rate for one in rounds) for rounds in (found.spooled, found.nothing))
    p99_ms = 1e3 * median(one.p99_s for one in found.spooled)
    grown = found.bytes_held - found.bytes_before
    for what, value in (
        ("callbacks/s at 128 connections, fsynced", f"{spooled:,.0f}, p99 {p99_ms:.0f} ms"),
        ("answers/s of nothing", f"{nothing:,.0f}"),
        ("ratio (wanted: 0.4 or more)", f"{found.ratio:.2f}"),
        ("held", f"{found.held:,} in {found.spool_bytes / 1e6:,.0f} MB of disk"),
        ("memory more than at its beginning (wanted: 50 MB or less)", f"{grown / 1e6:+,.0f} MB"),
        ("drained/s beside live traffic (wanted: 3,000 or more)", f"{found.drain_rate:,.0f}"),
        ("  of that, live callbacks/s", f"{found.live / found.drain_seconds:,.0f}"),
        ("200 callbacks/s before an outage, p99", f"{1e3 * found.killed.before_p99_s:,.0f} ms"),
        ("PostgreSQL killed and back, three times: slowest answer (wanted: 1 s or less)", _felt(found.killed)),
        ("  while spooling, p99 (wanted: 50 ms or less)", f"{1e3 * found.killed.spooled_p99_s:,.0f} ms"),
        ("  first callback after its return (wanted: 1 s or less)", f"{1e3 * found.killed.first_after_s:,.0f} ms"),
        ("PostgreSQL frozen: slowest answer (wanted: COMMIT_TIMEOUT_S, 2 s, or less)", _felt(found.frozen)),
        ("  first callback after its return (wanted: 1 s or less)", f"{1e3 * found.frozen.first_after_s:,.0f} ms"),
    ):
        table.add_row(what, value)
    return table


def shapes_table(found: Shapes) -> Table:
    """What another shape of traffic costs, beside the ordinary one."""
    table = Table("shape", title="Traffic of another shape")
    for heading in ("per s", "own µs", "PG µs", "p99 ms"):
        table.add_column(heading, justify="right")
    for name, rounds in found.rounds.items():
        figures = (rate, cpu, postgres_cpu, lambda one: 1e3 * p99(one))
        table.add_row(name, *(f"{median(map(of, rounds)):,.0f}" for of in figures))
    name, other = reversed(found.rounds)
    rates, costs = found.rate_ratio(name, other), found.cost_ratio(name, other)
    table.caption = (
        f"Of {other}: rate {rates:.2f}, processor time {costs:.2f}; {found.stored:,} callbacks stored before."
    )
    return table


def _felt(felt: Felt) -> str:
    refused = f", {felt.refused:,} refused" if felt.refused else ""
    return f"{1e3 * felt.slowest_s:,.0f} ms of {felt.answers:,}{refused}"


class Target(NamedTuple):
    """What the service is to reach on two cores, with the load beside it."""

    what: str
    wanted: str
    found: float
    is_reached: bool


def document(plan: Plan, results: Results) -> dict[str, Any]:
    """Everything, as plain values."""
    return {
        "plan": asdict(plan),
        "rounds": [
            {"program": program, "connections": connections, "rate": one.heard.rate} | asdict(one)
            for (program, connections), rounds in results.rounds.items()
            for one in rounds
        ],
        "peak_bytes": results.peak_bytes,
        "ledger_entries_each": results.ledger_entries_each,
        "delay": asdict(results.delay) if results.delay else None,
        "drain_rate": results.drain_rate,
        "targets": [target._asdict() for target in targets(plan, results)],
    }


def tables(plan: Plan, results: Results) -> Iterator[Table]:
    """The comparison, the rest, the targets."""
    yield _comparison(plan, results)
    if SERVICE in plan.programs:
        yield _others(results)
        yield _targets(plan, results)


def cpu(one: Round) -> float:
    """Microseconds of the program's own processor time for a callback."""
    return one.each_us(one.cpu_s)


def postgres_cpu(one: Round) -> float:
    """Microseconds of PostgreSQL's."""
    return one.each_us(one.postgres_cpu_s)


def nats_cpu(one: Round) -> float:
    """Microseconds of NATS's."""
    return one.each_us(one.nats_cpu_s)


def targets(plan: Plan, results: Results) -> Iterator[Target]:
    """Those of which enough was measured."""
    for what, wanted, other, connections, of, at_least in _WITH_WORKERS if plan.workers > 1 else _WITH_ONE:
        if _are_there(results, (SERVICE, other), connections):
            yield _target(what, wanted, results.ratio(SERVICE, other, connections, of), at_least=at_least)
    if plan.workers > 1:
        return
    if _are_there(results, (SERVICE, NOTHING), 128):
        yield _target("PostgreSQL's processor time, of nothing's", 1.6, _postgres_of_nothing(results), at_least=False)
    if results.delay:
        what = f"POST to consumer at {results.feed_rate:,.0f}/s, p99 in ms"
        yield _target(what, 40, 1e3 * results.delay.p99_s, at_least=False)
    if SERVICE in results.peak_bytes:
        yield _target("peak resident memory in MB", 120, results.peak_bytes[SERVICE] / 1e6, at_least=False)
    if results.drain_rate:
        yield _target("messages/s from a backlog", 5_000, results.drain_rate, at_least=True)


_WITH_ONE = (
    ("processor time at 128 connections, of nothing's", 3.5, NOTHING, 128, cpu, False),
    ("rate at 128 connections, of nothing's", 0.18, NOTHING, 128, rate, True),
    ("rate at 128 connections, of the ordinary way's", 4.0, ORDINARY, 128, rate, True),
    ("p50 at 1 connection, of the ordinary way's", 1.2, ORDINARY, 1, p50, False),
)
_WITH_WORKERS = (
    ("rate at 128 connections, of nothing's", 0.25, NOTHING, 128, rate, True),
    ("rate at 128 connections, of the ordinary way's", 4.5, ORDINARY, 128, rate, True),
    ("p99 at 128 connections, of the ordinary way's", 0.15, ORDINARY, 128, p99, False),
)


def _are_there(results: Results, programs: tuple[str, ...], connections: int) -> bool:
    return all((program, connections) in results.rounds for program in programs)


def _postgres_of_nothing(results: Results) -> float:
    pairs = zip(results.rounds[SERVICE, 128], results.rounds[NOTHING, 128], strict=True)
    return median(postgres_cpu(one) / cpu(other) for one, other in pairs)


def _target(what: str, wanted: float, found: float, *, at_least: bool) -> Target:
    return Target(what, f"{'≥' if at_least else '≤'} {wanted:,g}", found, (found >= wanted) is at_least)


def _comparison(plan: Plan, results: Results) -> Table:
    workers = f"; service: {plan.workers} workers" if plan.workers > 1 else ""
    table = Table(
        title=f"Medians of {plan.rounds} rounds of {plan.seconds:g} s{workers}",
        box=SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("at", justify="right")
    table.add_column("program")
    for heading in ("per s", "of n.", "of o.", "p50 ms", "p99 ms", "own µs", "of n.", "PG µs", "NATS µs", "left"):
        table.add_column(heading, justify="right")
    for connections in plan.connections:
        for program in plan.programs:
            last = program == plan.programs[-1]
            table.add_row(str(connections), program, *_figures(results, program, connections), end_section=last)
    table.caption = (
        "At: connections. Of n., of o.: of what nothing and ordinary have. µs: processor time for one callback, "
        "of the program's own processes, PostgreSQL and NATS. Left: messages not yet published at the end."
    )
    return table


def _figures(results: Results, program: str, connections: int) -> Iterator[str]:
    def middle(of: Callable[[Round], float]) -> float:
        return results.middle(program, connections, of)

    yield f"{middle(rate):,.0f}"
    for other in (NOTHING, ORDINARY):
        compared = program == SERVICE and (other, connections) in results.rounds
        yield f"{results.ratio(program, other, connections, rate):.2f}" if compared else ""
    yield f"{1e3 * middle(p50):.3g}"
    yield f"{1e3 * middle(p99):.3g}"
    yield f"{middle(cpu):,.0f}"
    compared = program != NOTHING and (NOTHING, connections) in results.rounds
    yield f"{results.ratio(program, NOTHING, connections, cpu):.2f}" if compared else ""
    yield f"{middle(postgres_cpu):,.0f}" if program != NOTHING else ""
    yield f"{middle(nats_cpu):,.0f}" if program != NOTHING else ""
    yield f"{middle(lambda one: one.backlog):,.0f}" if program == SERVICE else ""


def _others(results: Results) -> Table:
    table = Table(show_header=False)
    for program, peak_bytes in results.peak_bytes.items():
        table.add_row(f"peak resident memory, {program}", f"{peak_bytes / 1e6:.0f} MB")
    table.add_row("ledger entries for one callback", f"{results.ledger_entries_each:.2f}")
    if delay := results.delay:
        table.add_row(
            f"POST to consumer at {results.feed_rate:,.0f}/s, p50 · p99",
            f"{1e3 * delay.p50_s:.1f} ms · {1e3 * delay.p99_s:.1f} ms",
        )
    if results.drain_rate:
        table.add_row("publishing what has piled up", f"{results.drain_rate:,.0f} messages/s")
    if refused := sum(one.heard.refused for rounds in results.rounds.values() for one in rounds):
        table.add_row("callbacks refused: the figures are worth nothing", f"{refused:,}")
    return table


def _targets(plan: Plan, results: Results) -> Table:
    table = Table("target", "wanted", "found", "")
    for target in targets(plan, results):
        table.add_row(target.what, target.wanted, f"{target.found:,.2f}", "reached" if target.is_reached else "missed")
    return table
