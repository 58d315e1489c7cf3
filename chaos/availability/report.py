"""What was felt, as a line, as a table and for a file."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from chaos.availability.drill import Felt, Outcome

COLUMNS = ("without 2xx", "slowest answer", "PostgreSQL away", "stream away", "feed paused", "of it beyond")


def table(outcome: Outcome) -> Table:
    """A row for each strike; times in seconds."""
    made = Table("strike", "struck", "not 2xx", *COLUMNS, "whole after", title="Strikes; times in seconds")
    for felt in outcome.felt:
        made.add_row(" + ".join(felt.names), felt.struck, str(failed(felt)), *_seconds(felt))
    return made


def line(felt: Felt) -> str:
    """The same on one line."""
    figures = ", ".join(
        f"{name} {value}" for name, value in zip((*COLUMNS, "whole after"), _seconds(felt), strict=True)
    )
    return f"{' + '.join(felt.names)} ({felt.struck}): answers {dict(sorted(felt.answers.items()))}; {figures}"


def failed(felt: Felt) -> int:
    """Callbacks that got another answer than 2xx, or none."""
    return sum(number for status, number in felt.answers.items() if not 200 <= status < 300)


def as_dict(outcome: Outcome) -> dict[str, Any]:
    """All of it."""
    strikes = [
        felt._asdict() | {"window": list(felt.window), "answers": {str(k): v for k, v in felt.answers.items()}}
        for felt in outcome.felt
    ]
    return {"strikes": strikes, "findings": outcome.findings, "sent": outcome.sent, "receipts": outcome.receipts}


def _seconds(felt: Felt) -> list[str]:
    found = (
        felt.without_2xx_s, felt.slowest_s, felt.postgres_s, felt.nats_s, felt.feed_s, felt.beyond_s,
        felt.window.length_s,
    )  # fmt: skip
    return [f"{value:.1f}" for value in found]
