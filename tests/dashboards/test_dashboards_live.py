"""Every expression and every question of the boards, asked of a live service under simulated traffic.

One service (with its own PostgreSQL and NATS) and one real Prometheus that scrapes it. What the
traffic leaves is asked for; each answer must have data, in the shape that its panel needs.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.boards import Asked, expressions, promql, questions, sql
from tests.support.figures import run_with_input
from tests.support.live_service import ALERTS, DEPLOYMENTS, RULES, Stage, staged
from tests.support.servers import passable

ELSEWHERE = ("esc_receiver_tls_certificate_expiry_timestamp_seconds", "esc_receiver_worker_restarts_total")
"""What this service has not: a listener with TLS, a worker that died (`tests/http/test_tls.py`, `tests/workers`)."""


async def every_expression_returns_data(stage: Stage) -> None:
    """Panels and annotations of all boards; each says something, and a number where it can."""
    empty: list[str] = []
    for one in expressions():
        if any(metric in one.text for metric in ELSEWHERE):
            continue
        found = await stage.series(promql(one.text))
        numbers = [series["value"][1] for series in found]
        if not numbers or set(numbers) == {"NaN"}:
            empty.append(f"{one.name}: {one.text}: {numbers[:3]}")
    assert not empty, "\n".join(empty)


async def every_rule_is_evaluated_without_a_fault(stage: Stage) -> None:
    """Recording rules and alerts, by the Prometheus that scrapes the service."""
    groups = (await stage.ask("rules"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == sum(path.read_text().count("        expr:") for path in map(ALERTS.joinpath, RULES))
    assert {rule["health"] for rule in rules} == {"ok"}, [rule for rule in rules if rule["health"] != "ok"]


async def exemplars_lead_to_a_transaction(stage: Stage) -> None:
    """Prometheus keeps them, with the transaction id and nothing else; that operation is in PostgreSQL."""
    now = datetime.now(UTC).timestamp()
    found = await stage.ask(
        "query_exemplars", query="esc_receiver_operation_seconds_bucket", start=str(now - 600), end=str(now)
    )
    told = [exemplar["labels"] for series in found for exemplar in series["exemplars"]]
    assert told
    assert all(labels.keys() == {"transaction_id"} for labels in told)
    question = "SELECT count(*) FROM operations WHERE transaction_id = $1"
    assert await stage.connection.fetchval(question, told[0]["transaction_id"])


async def a_scrape_of_the_service_is_clean(stage: Stage, promtool: Path) -> None:
    """`promtool check metrics` on what a service that has worked shows."""
    (target,) = (await stage.ask("targets", state="active"))["activeTargets"]
    async with stage.session.get(target["scrapeUrl"]) as answer:
        assert await run_with_input(promtool, await answer.read(), "check", "metrics") == (0, "")


async def every_question_returns_rows_of_its_panels_shape(stage: Stage) -> None:
    """Tables, timelines, annotations and variables, for a deployment that lived through it."""
    empty: list[str] = []
    for one in questions():
        rows = await _first_rows(stage.connection, one)
        if not rows:
            empty.append(f"{one.name}: {one.text}")
            continue
        _check_shape(one, rows[0])
    assert not empty, "\n".join(empty)


async def _first_rows(connection: Any, one: Asked) -> list[Any]:
    """Of the deployments with the richest histories: what Grafana would be given."""
    now = datetime.now(UTC)
    since, until = (now - timedelta(hours=1)).isoformat(), (now + timedelta(minutes=1)).isoformat()
    richest = await connection.fetch(
        "SELECT source, deployment, min(vm) AS vm FROM grafana_vm_timeline"
        " GROUP BY 1, 2 ORDER BY count(*) FILTER (WHERE state = 'RECOVERING') DESC, count(*) DESC"
    )
    for deployment in richest:
        rows: list[Any] = await connection.fetch(sql(one.text, dict(deployment), since, until))
        if rows:
            return rows
    return []


def _check_shape(one: Asked, row: Any) -> None:
    kinds = {name: type(value) for name, value in row.items()}
    if one.type == "state-timeline":
        by = next(name for name in kinds if name not in ("time", "state"))
        assert kinds == {"time": datetime, by: str, "state": str}, one
    elif one.type == "annotation":
        assert kinds == {"time": datetime, "text": str, "tags": str}, one
    elif one.type == "variable":
        assert list(kinds.values()) == [str], one
    else:
        assert one.type == "table", one
        assert all(kind is float for name, kind in kinds.items() if name.endswith("seconds")), one


async def a_timeline_is_the_ledger(stage: Stage) -> None:
    """Each bar ends where the next begins, and the last is the state now."""
    rows = await stage.connection.fetch(
        "SELECT t.*, v.state AS now, lead(began_at) OVER each AS next"
        " FROM grafana_vm_timeline AS t JOIN grafana_vms AS v USING (source, deployment, incarnation, vm)"
        " WINDOW each AS (PARTITION BY source, deployment, incarnation, vm ORDER BY t.sequence)"
    )
    assert len(rows) > DEPLOYMENTS
    assert all(row["ended_at"] == row["next"] for row in rows)
    assert all(row["state"] == row["now"] for row in rows if row["next"] is None)


async def test_a_live_service_answers_all_that_is_asked_of_it(
    tmp_path_factory: pytest.TempPathFactory, promtool: Path, subtests: pytest.Subtests
) -> None:
    """Service and traffic take longer than the questions, so that they are started once for all of them."""
    checks = (
        every_expression_returns_data, every_rule_is_evaluated_without_a_fault, exemplars_lead_to_a_transaction,
        partial(a_scrape_of_the_service_is_clean, promtool=promtool),
        every_question_returns_rows_of_its_panels_shape, a_timeline_is_the_ledger,
    )  # fmt: skip
    async with staged(passable(tmp_path_factory.mktemp("stage"))) as stage:
        for check in checks:
            with subtests.test(str(check)):
                await check(stage)
