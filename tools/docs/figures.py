"""The metrics as a table: from the catalogue, the boards and the rules. Must not know into which page it goes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from receiver.observability.catalogue import CATALOGUE
from receiver.observability.definition import Definition, Label
from tools.dashboards.__main__ import BOARDS

RULES = Path(__file__).parents[2] / "dashboards" / "alerts"
VALUES_MAX = 12
"""A longer set is told by its size and its first values."""


def metrics() -> str:
    """Name, type, labels, meaning, and who looks at it."""
    shown, watched = _panels(), _alerts()
    rows = [
        f"| `{measure.series}` | {measure.kind} | {measure.unit} | {_labels(measure)} | {_meaning(measure)} "
        f"| {'; '.join(shown.get(measure.series, ())) or '-'} | {', '.join(watched.get(measure.series, ())) or '-'} |"
        for measure in CATALOGUE
    ]
    head = [
        "| metric | type | unit | labels | meaning | panels | alerts |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *rows])


def _labels(measure: Definition[Any]) -> str:
    return "<br>".join(_label(label) for label in measure.labels) or "-"


def _label(label: Label) -> str:
    if not label.values:
        return f"`{label.name}`: {label.from_where}"
    named = ", ".join(f"`{value}`" for value in label.values[:VALUES_MAX])
    return f"`{label.name}`: {named}" + (f" … ({len(label.values)})" if len(label.values) > VALUES_MAX else "")


def _meaning(measure: Definition[Any]) -> str:
    if not measure.buckets:
        return measure.help
    least, most = (f"{bound:,.5f}".rstrip("0").rstrip(".") for bound in (measure.buckets[0], measure.buckets[-1]))
    return f"{measure.help} Buckets from {least} to {most}."


def _panels() -> dict[str, list[str]]:
    """By metric, the panels that ask for it: "Fleet: VMs by state"."""
    found: dict[str, list[str]] = {}
    for board in BOARDS:
        built = board.build()
        for panel in built.panels:
            for target in panel.targets or ():
                _note(found, getattr(target, "expr", ""), f"{_name(board.title)}: {panel.title}")
        for event in built.annotations.list_val or ():
            _note(found, event.expr or "", f"{_name(board.title)}: marks of {event.name.lower()}")
    return found


def _name(title: str) -> str:
    return title.partition(" · ")[2]


def _alerts() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in ("recording.yml", "alerts.yml"):
        told: Any = yaml.safe_load((RULES / name).read_text("utf-8"))
        for group in told["groups"]:
            for rule in group["rules"]:
                _note(found, rule["expr"], f"`{rule.get('alert') or rule['record']}`")
    return found


def _note(found: dict[str, list[str]], expr: str, where: str) -> None:
    for asked in re.findall(r"\besc_receiver_\w+", expr):
        places = found.setdefault(re.sub(r"_(bucket|sum|count)$", "", asked), [])
        if where not in places:
            places.append(where)
