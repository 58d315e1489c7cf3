"""Alerts: each fires when it should, and is quiet when it should be, by Prometheus's own tool; each has a page."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml

from receiver.observability.catalogue import CATALOGUE
from tests.support.figures import named_in, run_with_input
from tests.support.live_service import ALERTS, RULES
from tools.dashboards import rules as mixin

DASHBOARDS = ALERTS.parent
CASES = sorted((DASHBOARDS / "tests").glob("*.yml"))
CELL = tomllib.loads(mixin.MIXIN.read_text("utf-8"))["cell"]
"""What a summary begins with: nothing, where Prometheus names no cell."""
RUNBOOKS = DASHBOARDS.parent / "docs" / "runbooks"
SECTIONS = ("## What it means", "## What users feel", "## Look here", "## Do this", "## How it was tried")
SAY_NO_FIGURE = {
    "EscReceiverMissing": "it is up or not",
    "EscPostgresAway": "it is away or not",
    "EscOutOfService": "it is out of service or not",
    "EscLedgerBehind": "it is behind or not",
    "EscCannotBeAsked": "it answers or not",
    "EscFeedNotFsynced": "it is fsynced or not",
    "EscWebhookDisabled": "it is sent something or not",
}
"""Alerts whose value is 0 or 1, whatever is wrong."""


def read(name: str) -> Any:
    """A file of the folder."""
    return yaml.safe_load((ALERTS / name).read_text("utf-8"))


def alerts() -> dict[str, dict[str, Any]]:
    """Every alerting rule by name."""
    return {rule["alert"]: rule for group in read("alerts.yml")["groups"] for rule in group["rules"]}


def test_the_folder_holds_rules_and_nothing_else() -> None:
    """`promtool check rules dashboards/alerts/*.yml` must not meet anything that is none."""
    assert {path.name for path in ALERTS.iterdir()} == set(RULES)


async def test_the_rules_are_rules(promtool: Path) -> None:
    """`promtool check rules` takes them, and has no word of warning."""
    status, said = await run_with_input(promtool, b"", "check", "rules", *sorted(ALERTS.iterdir()))
    assert status == 0, said
    assert "warn" not in said.lower()


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    """And there are cases of no other; each tells in its name what it expects."""
    kinds: dict[str, set[str]] = defaultdict(set)
    for path in CASES:
        for test in yaml.safe_load(path.read_text("utf-8"))["tests"]:
            name, kind = re.fullmatch(r"(\w+) (fires|is quiet)(?:: .+)?", test["name"]).groups()  # type: ignore[union-attr]  # else it fails
            (rule,) = test["alert_rule_test"]
            assert (rule["alertname"], bool(rule["exp_alerts"])) == (name, kind == "fires"), test["name"]
            kinds[name].add(kind)
    assert dict(kinds) == {name: {"fires", "is quiet"} for name in alerts()}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
async def test_alerts_fire_when_they_should_and_not_otherwise(promtool: Path, path: Path) -> None:
    """With the texts as they are read, links included, by `promtool test rules`."""
    status, said = await run_with_input(promtool, b"", "test", "rules", path)
    assert status == 0, said


async def test_another_threshold_is_another_rule(promtool: Path, tmp_path: Path) -> None:
    """Of a mixin of one's own, in expression and text; so a case whose threshold is moved fails."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "alerts").mkdir()
    cases = yaml.safe_load((DASHBOARDS / "tests" / "behaviour.yml").read_text("utf-8"))
    cases["tests"] = [case for case in cases["tests"] if case["name"].startswith("EscOperationsOverdue ")]
    (tmp_path / "tests" / "behaviour.yml").write_text(yaml.safe_dump(cases))
    own = tmp_path / "mixin.toml"
    own.write_text(re.sub(r"(?m)^overdue = 3\b", "overdue = 4", mixin.MIXIN.read_text("utf-8")))
    for path, text in mixin.fresh(own, tmp_path / "alerts").items():
        path.write_text(text)
    status, said = await run_with_input(promtool, b"", "test", "rules", tmp_path / "tests" / "behaviour.yml")
    assert status != 0
    assert "EscOperationsOverdue fires" in said


@pytest.mark.parametrize("change", ["overdue_after = 3\n", "# overdue"])
def test_a_value_that_is_misspelt_is_told(tmp_path: Path, change: str) -> None:
    """One that no rule asks for, or that is not there."""
    own = tmp_path / "mixin.toml"
    text = mixin.MIXIN.read_text("utf-8")
    own.write_text(text + change if "=" in change else re.sub("(?m)^overdue", change, text))
    with pytest.raises(ValueError, match="overdue"):
        mixin.fresh(own)


async def test_they_can_be_a_prometheusrule(promtool: Path, tmp_path: Path) -> None:
    """As docs/operations.md makes one: of a text only the name of a cell depends on how Prometheus is set up."""
    told = (DASHBOARDS.parent / "docs" / "operations.md").read_text("utf-8")
    recipe = re.search(r"^    (\(printf .*PrometheusRule(?:.|\n)*?> prometheusrule\.yml)$", told, re.MULTILINE)
    assert recipe
    script = f"cd {DASHBOARDS.parent}\n" + recipe[1].replace("> ", f"> {tmp_path}/")
    status, said = await run_with_input(Path("/bin/sh"), script.encode(), "-e")
    assert (status, said) == (0, "")
    found = yaml.safe_load((tmp_path / "prometheusrule.yml").read_text())
    assert (found["kind"], found["spec"]["groups"]) == (
        "PrometheusRule", read("recording.yml")["groups"] + read("alerts.yml")["groups"]
    )  # fmt: skip
    assert "$externalLabels" not in "".join((ALERTS / name).read_text("utf-8") for name in RULES).replace(CELL, "")
    (tmp_path / "spec.yml").write_text(yaml.safe_dump(found["spec"]))
    status, said = await run_with_input(promtool, b"", "check", "rules", tmp_path / "spec.yml")
    assert status == 0, said


@pytest.mark.parametrize("name", sorted(alerts()))
def test_an_alert_says_what_a_tired_person_needs(name: str) -> None:
    """A name in CamelCase with the prefix, a severity, whom it is about, how much, a runbook, a board that exists."""
    rule = alerts()[name]
    assert re.fullmatch(r"Esc([A-Z][a-z]+)+", name)
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    texts = rule["annotations"]
    assert texts.keys() == {"summary", "description", "runbook_url", "dashboard_url"}
    said = texts["summary"] + texts["description"]
    assert ("$value" in said) is (name not in SAY_NO_FIGURE)
    grouped = re.search(r"by \(([^)]*)\)", rule["expr"])
    for label in grouped[1].split(", ") if grouped else ():
        assert f"$labels.{label}" in said or label in {"le", "job"} or name == "EscReceiverDown", label
    assert texts["runbook_url"].endswith(f"docs/runbooks/{name}.md")
    board = re.fullmatch(r"http://localhost:3000/d/([a-z-]+)", texts["dashboard_url"])
    assert board
    assert (DASHBOARDS / "boards" / f"{board[1]}.json").exists()


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
        bare = re.sub(r"\w+\([\w:]+(\{[^}]*})?\[\w+\]( offset \w+)?", "", rule["expr"])
        assert not named_in(bare) & gauges, name
