"""What was found, as tables for people and as a document for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.table import Table

from benchmarks.compare import NOTHING, ORDINARY, SERVICE, Plan, Results, Round


def document(plan: Plan, results: Results) -> dict[str, Any]:
    """Everything, as plain values."""
    return {
        "plan": asdict(plan),
        "rounds": [
            {"program": program, "connections": connections} | asdict(one) | {"rate": one.heard.rate}
            for (program, connections), rounds in results.rounds.items()
            for one in rounds
        ],
        "ratios": [
            {
                "connections": connections,
                "of": SERVICE,
                "to": other,
                "rate": results.ratio(SERVICE, other, connections, rate),
                "p50": results.ratio(SERVICE, other, connections, p50),
            }
            for connections in plan.connections
            for other in (NOTHING, ORDINARY)
            if {SERVICE, other} <= set(plan.programs)
        ],
        "peak_bytes": results.peak_bytes,
        "ledger_entries_each": results.ledger_entries_each,
        "delay": asdict(results.delay) if results.delay else None,
        "drain_rate": results.drain_rate,
    }


def rate(one: Round) -> float:
    """Callbacks per second."""
    return one.heard.rate


def p50(one: Round) -> float:
    """Seconds."""
    return one.heard.p50_s


def p99(one: Round) -> float:
    """Seconds."""
    return one.heard.p99_s


def backlog(one: Round) -> float:
    """Messages."""
    return one.backlog


def tables(plan: Plan, results: Results) -> Iterator[Table]:
    """The comparison, and the rest."""
    yield _comparison(plan, results)
    if SERVICE in plan.programs:
        yield _others(results)


def _comparison(plan: Plan, results: Results) -> Table:
    table = Table(title=f"medians of {plan.rounds} rounds of {plan.seconds:g} s")
    for heading in (
        "connections",
        "program",
        "callbacks/s",
        "of nothing",
        "of ordinary",
        "p50 ms",
        "p99 ms",
        "left to publish",
        "refused",
    ):
        table.add_column(heading, justify="left" if heading == "program" else "right")
    for connections in plan.connections:
        for program in plan.programs:
            table.add_row(
                str(connections),
                program,
                *_figures(plan, results, program, connections),
                end_section=program == plan.programs[-1],
            )
    return table


def _figures(plan: Plan, results: Results, program: str, connections: int) -> list[str]:
    ratios = [
        f"{results.ratio(program, other, connections, rate):.2f}" if other in plan.programs and other != program else ""
        for other in (NOTHING, ORDINARY)
    ]
    refused = sum(one.heard.refused for one in results.rounds[program, connections])
    return [
        f"{results.middle(program, connections, rate):,.0f}",
        *ratios,
        f"{1e3 * results.middle(program, connections, p50):.2f}",
        f"{1e3 * results.middle(program, connections, p99):.2f}",
        f"{results.middle(program, connections, backlog):,.0f}" if program == SERVICE else "",
        str(refused or ""),
    ]


def _others(results: Results) -> Table:
    table = Table(show_header=False)
    for program, peak_bytes in results.peak_bytes.items():
        table.add_row(f"peak resident memory, {program}", f"{peak_bytes / 1e6:.0f} MB")
    table.add_row("ledger entries for one callback", f"{results.ledger_entries_each:.2f}")
    if delay := results.delay:
        table.add_row("POST to consumer, p50", f"{1e3 * delay.p50_s:.1f} ms")
        table.add_row("POST to consumer, p99", f"{1e3 * delay.p99_s:.1f} ms")
    if results.drain_rate:
        table.add_row("draining a backlog", f"{results.drain_rate:,.0f} messages/s")
    return table
