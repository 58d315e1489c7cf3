"""The committed boards as a reader sees them: expressions, questions to PostgreSQL, and Grafana's macros filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parents[2] / "dashboards" / "boards"


class Asked(NamedTuple):
    """One expression or question."""

    board: str
    panel: str
    type: str
    text: str

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.board}: {self.panel}"


def boards() -> dict[str, Any]:
    """All, by uid."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def expressions() -> list[Asked]:
    """Every PromQL expression of panels and annotations."""
    return [one for board in boards().values() for one in _asked(board, "expr")]


def questions() -> list[Asked]:
    """Every SQL statement of panels, annotations and variables."""
    found = [one for board in boards().values() for one in _asked(board, "rawSql")]
    variables = [(uid, one) for uid, board in boards().items() for one in board["templating"]["list"]]
    return found + [
        Asked(uid, f"${one['name']}", "variable", one["query"])
        for uid, one in variables
        if one["type"] == "query" and isinstance(one["query"], str)
    ]


def _asked(board: Mapping[str, Any], key: str) -> Iterator[Asked]:
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            if key in target:
                yield Asked(board["uid"], panel["title"], panel["type"], target[key])
    for annotation in board["annotations"].get("list", []):
        told = annotation if key in annotation else annotation.get("target", {})
        if told and key in told:
            yield Asked(board["uid"], annotation["name"], "annotation", told[key])


def promql(text: str, interval: str = "2m") -> str:
    """With Grafana's variables filled in: everything is chosen."""
    return text.replace("$__rate_interval", interval).replace("$instance", ".*").replace("$source", ".*")


def sql(text: str, chosen: Mapping[str, str], since: str, until: str) -> str:
    """With Grafana's macros and variables filled in."""
    text = text.replace("$__timeFrom()", f"'{since}'").replace("$__timeTo()", f"'{until}'")
    return re.sub(r"\$\{(\w+):sqlstring}", lambda found: "'" + chosen[found[1]].replace("'", "''") + "'", text)
