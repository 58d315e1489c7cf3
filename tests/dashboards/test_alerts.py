"""Alerts: each fires when it should, and is quiet when it should be, by Prometheus's own tool; each has a page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml

from receiver.observability.catalogue import CATALOGUE
from tests.support.figures import named_in, run_with_input
from tests.support.live_service import ALERTS, RULES, URLS

RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"
BOARDS = Path(__file__).parents[2] / "dashboards" / "boards"
SECTIONS = ("## What it means", "## What users feel", "## Look here", "## Do this", "## How it was tried")


def read(name: str) -> Any:
    """A file of the folder."""
    return yaml.safe_load((ALERTS / name).read_text("utf-8"))


def alerts() -> dict[str, dict[str, Any]]:
    """Every alerting rule by name."""
    return {rule["alert"]: rule for group in read("alerts.yml")["groups"] for rule in group["rules"]}


CASES = [(name, kind) for name, both in read("cases.yml").items() for kind in both]


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    """And there are cases of no other."""
    assert {name: set(both) for name, both in read("cases.yml").items()} == {
        name: {"fires", "quiet"} for name in alerts()
    }


async def test_the_rules_are_rules(promtool: Path) -> None:
    """`promtool check rules` takes them, and has no word of warning."""
    status, said = await run_with_input(promtool, b"", "check", "rules", *(ALERTS / name for name in RULES))
    assert status == 0, said
    assert "warn" not in said.lower()


async def test_alerts_fire_when_they_should_and_not_otherwise(promtool: Path, tmp_path: Path) -> None:
    """All cases, by `promtool test rules`."""
    told = promtools(read("cases.yml"), alerts())
    for interval in ("1m", "5m"):  # a case of many hours is looked at less often: a minute of promtool's for each day
        path = tmp_path / f"cases-{interval}.json"
        tests = [test for test in told["tests"] if is_long(test) == (interval == "5m")]
        path.write_text(yaml.safe_dump(told | {"tests": tests, "evaluation_interval": interval}))
        status, said = await run_with_input(promtool, b"", "test", "rules", path)
        assert status == 0, said


async def test_a_case_that_is_wrong_is_found(promtool: Path, tmp_path: Path) -> None:
    """What is quiet is told to fire: promtool must object, else the test above would prove nothing."""
    cases = {name: {"fires": both["quiet"]} for name, both in read("cases.yml").items() if name == "EscVmsFlapping"}
    path = tmp_path / "cases.json"
    path.write_text(yaml.safe_dump(promtools(cases, alerts())))
    status, _ = await run_with_input(promtool, b"", "test", "rules", path)
    assert status != 0


def promtools(cases: dict[str, Any], rules: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The cases as promtool wants them: with labels and texts as the rules tell them."""
    tests = []
    for name, both in cases.items():
        for kind, case in both.items():
            texts = {key: _filled(text) for key, text in rules[name]["annotations"].items()}
            told = {"exp_labels": rules[name]["labels"] | case.get("labels", {}), "exp_annotations": texts}
            tests.append({
                "name": f"{name} {kind}",
                "interval": "1m",
                "external_labels": URLS,
                "input_series": [{"series": key, "values": str(values)} for key, values in case["series"].items()],
                "alert_rule_test": [
                    {"eval_time": case["at"], "alertname": name, "exp_alerts": [told] if kind == "fires" else []}
                ],
            })  # fmt: skip
    return {"rule_files": [str(ALERTS / name) for name in RULES], "evaluation_interval": "1m", "tests": tests}


def is_long(test: dict[str, Any]) -> bool:
    """A case of hours."""
    return bool(test["alert_rule_test"][0]["eval_time"].endswith("h"))


def _filled(text: str) -> str:
    return re.sub(r"\{\{ \$externalLabels\.(\w+) }}", lambda found: URLS[found[1]], text)


@pytest.mark.parametrize("name", sorted(alerts()))
def test_an_alert_says_what_a_tired_person_needs(name: str) -> None:
    """A name in CamelCase with the prefix, a severity, two sentences, a runbook, a board that exists."""
    rule = alerts()[name]
    assert re.fullmatch(r"Esc([A-Z][a-z]+)+", name)
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    texts = rule["annotations"]
    assert texts.keys() == {"summary", "description", "runbook_url", "dashboard_url"}
    assert texts["runbook_url"] == f"{{{{ $externalLabels.runbooks_url }}}}/{name}.md"
    board = re.fullmatch(r"\{\{ \$externalLabels\.grafana_url }}/d/([a-z-]+)", texts["dashboard_url"])
    assert board
    assert (BOARDS / f"{board[1]}.json").exists()


@pytest.mark.parametrize("name", sorted(alerts()))
def test_an_alert_has_a_page_that_can_be_followed(name: str) -> None:
    """All sections, each with something in it."""
    page = (RUNBOOKS / f"{name}.md").read_text("utf-8")
    assert page.startswith(f"# {name}\n")
    places = [page.index(section) for section in SECTIONS]
    assert places == sorted(places)
    assert all(len(part.strip()) > 20 for part in re.split(r"^## .*$", page, flags=re.MULTILINE)[1:])
    assert f"/d/{alerts()[name]['annotations']['dashboard_url'].rpartition('/')[2]}" in page


def test_there_is_no_page_of_an_alert_that_is_gone() -> None:
    """Beside the list of all."""
    pages = {path.stem for path in RUNBOOKS.glob("*.md")}
    assert pages == {*alerts(), "README"}
    listed = (RUNBOOKS / "README.md").read_text("utf-8")
    assert all(f"({name}.md)" in listed for name in alerts())


async def test_the_questions_in_the_pages_can_be_asked(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """A tired person must not find a column that is not there."""
    asked = [
        sql
        for path in sorted(RUNBOOKS.glob("*.md"))
        for sql in re.findall(r"`((?:SELECT|VACUUM)[^`]*)`", path.read_text("utf-8"))
    ]
    assert len(asked) >= 6
    for sql in asked:
        statement = sql.rstrip(";").replace("(PID)", "(0)")
        if statement.startswith("SELECT"):
            await connection.prepare(statement)
        else:
            await connection.execute(statement)


def test_rules_ask_for_metrics_that_there_are() -> None:
    """No rule looks at a name that nothing tells."""
    known = {measure.series for measure in CATALOGUE}
    exprs = [rule["expr"] for name in RULES for group in read(name)["groups"] for rule in group["rules"]]
    assert {name for expr in exprs for name in named_in(expr)} <= known


def test_gauges_are_guarded_against_a_missed_scrape() -> None:
    """Whatever is no rate is looked at over some minutes."""
    gauges = {measure.series for measure in CATALOGUE if measure.kind == "gauge"}
    for name, rule in alerts().items():
        bare = re.sub(r"\w+\([\w:]+(\{[^}]*})?\[\w+\]", "", rule["expr"])
        assert not named_in(bare) & gauges, name
