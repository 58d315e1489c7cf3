"""Dead letters through the API: grouped, acknowledged with a note, replayed, and tried beforehand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import asyncpg
import pytest

from receiver.app import App, running
from receiver.config.settings import Settings
from tests.support.auditor import Connection, assert_ledger_is_whole
from tests.support.batches import decisions, keeping, letter, of_deployment
from tests.support.samples import MALFORMED, SAMPLES, SEQUENCES

STORY = next(one for one in SEQUENCES if one.scenario == "deploy-ok").samples
UNKNOWN = SAMPLES["tol-unknown-stage"]
OPERATOR = {"Authorization": "Bearer operator"}
READER = {"Authorization": "Bearer reader"}


@pytest.fixture
async def app(postgres_dsn: str, nats_url: str, tmp_path: Any) -> AsyncIterator[App]:
    """The service on a database with a deploy that could not be judged, and what nobody can read."""
    async with keeping(postgres_dsn) as keeper:
        told = [letter(of_deployment(sample, "d1")).without_content() for sample in STORY]
        await decisions(keeper, [*told, letter(UNKNOWN), letter(MALFORMED[0]), letter(MALFORMED[0])])
    settings = {
        "postgres_dsn": postgres_dsn, "nats_url": nats_url, "data_dir": tmp_path, "port": 0,
        "read_tokens": "reader,operator:operate", "replay_callbacks_max": 4, "counts_interval_s": 0.001,
    }  # fmt: skip
    async with running(Settings.model_validate(settings)) as app:
        await app.until_ready()
        yield app


async def ask(app: App, method: str, path: str, **more: Any) -> tuple[int, Any]:
    """Status and document; as the operator unless it is said."""
    headers = {**OPERATOR, **more.pop("headers", {})}
    async with (
        aiohttp.ClientSession(app.url) as session,
        session.request(method, f"/api/v1/{path}", headers=headers, **more) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


async def groups(app: App, **asked: str) -> dict[tuple[str, str], tuple[int, int]]:
    """How many there are, and how many wait, by outcome and rule."""
    _, told = await ask(app, "GET", "quarantine", params=asked)
    return {(one["outcome"], one["rule"]): (one["callbacks"], one["unacknowledged"]) for one in told["items"]}


async def test_dead_letters_are_grouped_and_acknowledged(app: App, connection: Connection) -> None:
    """One or a group, with a note, who and when; what came since is not; they stay, and can be asked for."""
    assert await groups(app) == {
        ("unclassified", "internal-error"): (len(STORY), len(STORY)), ("unclassified", "unclassified"): (1, 1),
        ("malformed", "malformed"): (2, 2),
    }  # fmt: skip
    (group,) = (await ask(app, "GET", "quarantine", params={"outcome": "malformed"}))[1]["items"]
    chosen = {name: group[name] for name in ("source", "outcome", "rule", "reason")}
    before = await ask(app, "POST", "quarantine/acknowledge", json={**chosen, "until": group["first_at"], "note": "x"})
    assert before == (200, {"acknowledged": 0})
    order = {**chosen, "note": "seen: ticket 4711", "by": "anna"}
    assert await ask(app, "POST", "quarantine/acknowledge", json=order) == (200, {"acknowledged": 2})
    assert await ask(app, "POST", "quarantine/acknowledge", json={**order, "by": "bob"}) == (200, {"acknowledged": 0})
    assert (await groups(app))["malformed", "malformed"] == (2, 0)
    assert await groups(app, acknowledged="true") == {("malformed", "malformed"): (2, 0)}
    _, told = await ask(app, "GET", "callbacks", params={"outcome": "malformed", "acknowledged": "true"})
    assert {(one["acknowledged_by"], one["acknowledged_note"]) for one in told["items"]} == {
        ("anna", "seen: ticket 4711")
    }
    assert all(one["acknowledged_at"] for one in told["items"])
    unknown = (await ask(app, "GET", "callbacks", params={"rule": "unclassified", "outcome": "unclassified"}))[1]
    receipt = unknown["items"][0]["receipt"]
    one = {"receipts": [receipt], "note": "one"}
    assert await ask(app, "POST", "quarantine/acknowledge", json=one) == (200, {"acknowledged": 1})
    assert (
        await connection.fetchval("SELECT acknowledged_by FROM acknowledgements WHERE receipt = $1", receipt)
        == "127.0.0.1"
    )
    assert (await ask(app, "GET", "stats"))[1]["quarantine"]["unacknowledged"] == len(STORY)
    await app.entity_counts.run_once()
    gauge = app.metrics.quarantine_unacknowledged_callbacks.labels("default")
    assert gauge._value.get() == len(STORY)


async def test_what_is_malformed_alike_is_one_group_wherever_the_fault_is(app: App, postgres_dsn: str) -> None:
    """Looked at, listed, acknowledged and replayed together; each callback still says where its own is."""
    bodies = (b"<a>\n<b></a>", b"<a><b></a>", b"<aa>\n\n  <b></aa>")
    async with keeping(postgres_dsn) as keeper:
        await decisions(keeper, [letter(replace(MALFORMED[0], body=body)) for body in bodies])
    asked = {"outcome": "malformed"}
    alike = [one for one in (await ask(app, "GET", "quarantine", params=asked))[1]["items"] if one["callbacks"] == 3]
    (reason,) = (one["reason"] for one in alike)
    assert "line" not in reason
    items = (await ask(app, "GET", "callbacks", params={"reason": reason}))[1]["items"]
    own = {one["reason"] for one in items}
    assert len(own) == len(items) == 3
    assert len((await ask(app, "GET", "callbacks", params={"reason": min(own)}))[1]["items"]) == 1
    order = {"source": "default", "outcome": "malformed", "rule": "malformed", "reason": reason}
    tried = (await ask(app, "POST", "replay", json={**order, "dry_run": True}))[1]
    assert tried["callbacks"] == 3
    done = await ask(app, "POST", "quarantine/acknowledge", json={**order, "note": "a broken sender"})
    assert done == (200, {"acknowledged": 3})


async def test_a_group_is_tried_and_then_replayed(app: App, connection: Connection) -> None:
    """The preview says what the replay then does, and changes nothing."""
    order = {"rule": "internal-error", "dry_run": True}
    status, tried = await ask(app, "POST", "replay", json=order)
    assert (status, tried["callbacks"], tried["applied"]) == (200, len(STORY), len(STORY))
    assert await connection.fetchval("SELECT count(*) FROM transitions") == 0
    _, done = await ask(app, "POST", "replay", json={**order, "dry_run": False})
    assert done == tried | {"dry_run": False}
    assert {(one["entity"], one["to_state"]) for one in done["transitions"]} >= {("deployment", "ACTIVE")}
    assert len(done["transitions"]) == done["entries"] == await connection.fetchval("SELECT count(*) FROM transitions")
    assert {one["fate"] for one in done["results"]} == {"applied"}
    await assert_ledger_is_whole(connection)
    receipt = done["results"][0]["receipt"]
    _, again = await ask(app, "POST", "replay", json={"receipts": [receipt], "quarantine": False, "dry_run": False})
    assert (again["callbacks"], again["unchanged"], again["entries"]) == (1, 1, 0)


async def test_who_may_do_it_and_what_is_refused(app: App, connection: Connection) -> None:
    """A token that only reads may not; nothing is chosen by mistake; limits are named."""
    for path in ("replay", "quarantine/acknowledge"):
        assert (await ask(app, "POST", path, json={}, headers=READER))[0] == 403
        assert (await ask(app, "POST", path, json={}, headers={"Authorization": "Bearer other"}))[0] == 401
        assert (await ask(app, "POST", path, data="{}"))[0] == 415
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"dry_run": True}, "receipts"),  # nothing is chosen
        ({"dry_run": True, "source": "default"}, "receipts"),
        ({"source": "default"}, "dry_run"),
        ({"dry_run": True, "sauce": "default"}, "sauce"),
        ({"dry_run": True, "receipts": ["x"]}, "receipts.0"),
        ({"dry_run": True, "source": None}, "source"),
    ]
    for body, parameter in wrong:
        status, problem = await ask(app, "POST", "replay", json=body)
        assert (status, problem["parameter"]) == (400, parameter)
    nowhere = {"dry_run": True, "source": "default", "to_source": "nobody"}
    assert (await ask(app, "POST", "replay", json=nowhere))[0] == 404
    assert (await ask(app, "POST", "quarantine/acknowledge", json={"source": "default"}))[1]["parameter"] == "note"
    assert (await ask(app, "POST", "quarantine/acknowledge", json={"note": "all"}))[1]["parameter"] == "receipts"
    assert await connection.fetchval("SELECT count(*) FROM acknowledgements") == 0


async def test_without_tokens_only_this_machine_may(postgres_dsn: str, nats_url: str, tmp_path: Any) -> None:
    """A client that a proxy names, or that somebody unknown forwards, is another one."""
    order = {"source": "default", "note": "x"}
    for proxies in ((), ("127.0.0.1",)):
        settings = {
            "postgres_dsn": postgres_dsn, "nats_url": nats_url, "data_dir": tmp_path, "port": 0,
            "trusted_proxies": proxies,
        }  # fmt: skip
        async with running(Settings.model_validate(settings)) as app:
            await app.until_ready()
            away = {"X-Forwarded-For": "10.1.2.3"}
            assert (await ask(app, "POST", "quarantine/acknowledge", json=order, headers=away))[0] == 403
            assert (await ask(app, "GET", "session", headers=away))[1]["scopes"] == ["raw", "read"]
            if not proxies:
                assert (await ask(app, "POST", "quarantine/acknowledge", json=order))[0] == 200
                assert (await ask(app, "GET", "session"))[1]["scopes"] == ["operate", "raw", "read"]


async def test_what_is_acknowledged_is_known_to_an_older_release(connection: Connection) -> None:
    """It writes callbacks by the type of their row, or of their table: neither may get columns (docs/releases.md)."""
    for kind in ("callback_row", "callbacks"):
        with pytest.raises(asyncpg.UndefinedColumnError):
            await connection.fetch(f"SELECT (NULL::{kind}).acknowledged_at")
