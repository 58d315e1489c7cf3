"""Boards: as the code writes them, and such that people find their way; every metric is shown, every name exists."""

from __future__ import annotations

import re

import pytest

from receiver.observability.catalogue import CATALOGUE
from tests.dashboards.test_alerts import read
from tests.support.boards import boards, expressions, questions
from tests.support.figures import named_in
from tests.support.live_service import RULES
from tools.dashboards.__main__ import BOARDS, stale

VIEWS = {
    "grafana_deployments",
    "grafana_vms",
    "grafana_operations",
    "grafana_vm_timeline",
    "grafana_deployment_timeline",
    "grafana_ledger",
}
UIDS = ["esc-feed", "esc-fleet", "esc-operations", "esc-receiver", "esc-vm-lifecycle"]


def test_the_boards_are_as_the_code_writes_them() -> None:
    """`make docs` writes them."""
    assert stale() == {}


def test_the_boards_are_these() -> None:
    """Their uids are fixed: alerts and people link to them."""
    assert list(boards()) == [board["uid"] for board in boards().values()] == UIDS


@pytest.mark.parametrize("uid", UIDS)
def test_a_board_says_what_it_answers_and_leads_to_the_others(uid: str) -> None:
    """A text panel first, every panel with a sentence, links and annotations."""
    board = boards()[uid]
    first, *panels = board["panels"]
    assert (first["type"], first["title"]) == ("text", "What this board answers")
    assert "?**" in first["options"]["content"]
    assert all(panel["description"] for panel in panels)
    assert board["links"][0]["tags"] == ["esc-receiver"]
    assert board["annotations"]["list"]
    titles = [panel["title"] for panel in board["panels"]]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("uid", UIDS)
def test_data_sources_are_variables(uid: str) -> None:
    """So that a board fits wherever it is imported."""
    board = boards()[uid]
    offered = {f"${{{v['name']}}}" for v in board["templating"]["list"] if v["type"] == "datasource"}
    asked = {panel["datasource"]["uid"] for panel in board["panels"] if "targets" in panel}
    asked |= {annotation["datasource"]["uid"] for annotation in board["annotations"]["list"]}
    assert asked == offered


def test_panels_do_not_cover_each_other() -> None:
    """Nor leave the grid."""
    for board in BOARDS:
        taken: set[tuple[int, int]] = set()
        for panel in board.build().panels:
            at = panel.grid_pos
            cells = {(x, y) for x in range(at.x, at.x + at.w) for y in range(at.y, at.y + at.h)}
            assert at.x + at.w <= 24
            assert not cells & taken, panel.title
            taken |= cells


def test_rates_follow_the_scrape_interval() -> None:
    """`$__rate_interval`, whatever the panel's width; a fixed span only where the title tells it."""
    for one in expressions():
        for span in re.findall(r"\[([^\]]+)\]", one.text):
            assert span == "$__rate_interval" or "1 h" in one.panel, one


def test_boards_ask_for_metrics_that_there_are() -> None:
    """No panel asks for a name that nothing tells, but what the client library and Prometheus tell themselves."""
    known = {measure.series for measure in CATALOGUE}
    recorded = {rule["record"] for group in read("recording.yml")["groups"] for rule in group["rules"]}
    for one in expressions():
        assert named_in(one.text) <= known, one
        assert set(re.findall(r"esc:[\w:]+", one.text)) <= recorded, one


def test_every_metric_is_shown_or_watched() -> None:
    """What nobody looks at need not be measured."""
    exprs = [rule["expr"] for name in RULES for group in read(name)["groups"] for rule in group["rules"]]
    seen = {name for expr in [*exprs, *(one.text for one in expressions())] for name in named_in(expr)}
    assert {measure.series for measure in CATALOGUE} - seen == set()


def test_boards_read_views_alone() -> None:
    """The role that Grafana has may read nothing else."""
    for one in questions():
        tables = re.findall(r"(?:FROM|JOIN) ([a-z_]+)(?![\w(])", re.sub(r"extract\(epoch FROM", "", one.text))
        assert set(tables) <= VIEWS, one
