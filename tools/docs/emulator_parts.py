"""The parts of docs/emulator.md that follow from the emulator's tables. Markdown, without a newline at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from esc_lab.emulator.control import BASE, CONTROLS
from esc_lab.emulator.endpoint_model import Need, Row, evidence_of
from esc_lab.emulator.endpoint_tables import ROWS
from esc_lab.emulator.injected_faults import ANSWERS, DELIVERY, WORK
from esc_lab.emulator.models import Evidence

NONE = "-"
MARKS = {Evidence.VERIFIED: "●", Evidence.RECONSTRUCTED: "◐", Evidence.GUESSED: "○"}


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def coverage() -> str:
    """Each operation of the document: answers, headers, callbacks, evidence."""
    return _table(
        ("chapter", "operation", "answers", "callback headers", "callbacks", "evidence"),
        (
            (row.chapter, f"`{row.method} {row.path}`", _answers(row), _headers(row), _sends(row), row.evidence)
            for row in ROWS
        ),
    )


def control() -> str:
    """The control API."""
    rows = (
        (f"`{one.method} {BASE}{one.path}`", one.summary, f"`{one.example}`" if one.example else "") for one in CONTROLS
    )
    return _table(("request", "does", "body, for example"), rows)


def faults() -> str:
    """What can go wrong."""
    rows = [(f"`{name}`", what, _of(name)) for name, what in {**WORK, **DELIVERY, **ANSWERS}.items()]
    return _table(("fault", "does", "of"), rows)


def _of(name: str) -> str:
    return "the work" if name in WORK else "the delivery" if name in DELIVERY else "answers"


def _answers(row: Row) -> str:
    extra = [f"({status})" for status in sorted(row.extra.keys() - row.answers.keys())]
    printed = [f"[{status}]" if status in row.unproduced else str(status) for status in row.answers]
    return " ".join([*printed, *extra])


def _headers(row: Row) -> str:
    words = {"Callback": row.callback, "Callback-ESC-Events": row.events}
    told = {Need.OPTIONAL: " (optional)", Need.ENFORCED: " (else 400)"}
    return ", ".join(f"{name}{told.get(need, '')}" for name, need in words.items() if need is not Need.NONE) or NONE


def _sends(row: Row) -> str:
    return ", ".join(f"{MARKS[evidence_of(event)]} {event}" for event in row.sends) or NONE


EMULATOR_PARTS: Mapping[str, Callable[[], str]] = {
    "emulator-coverage": coverage,
    "emulator-control": control,
    "emulator-faults": faults,
}
