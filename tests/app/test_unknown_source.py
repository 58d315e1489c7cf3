"""What is posted to a mistyped URL: kept as dead letters by the real service, shown, and moved to the right source."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import aiohttp

from receiver.app import App, running
from receiver.config.settings import Settings
from receiver.events.subjects import token
from tests.cli.test_replay_command import replay
from tests.support import feed
from tests.support.auditor import Connection, assert_counts_add_up, assert_ledger_is_whole, published
from tests.support.batches import of_deployment
from tests.support.samples import MALFORMED, SEQUENCES, Sample

STORY = [of_deployment(one, "d1") for one in next(one for one in SEQUENCES if one.scenario == "deploy-ok").samples]
SOURCES: dict[str, dict[str, Any]] = {"lab1": {}, "lab2": {}}
TABLES = ("deployments", "vms", "operations", "resources", "transitions", "sources")


def settings_of(dsn: str, nats_url: str, folder: Path, **changed: object) -> Settings:
    """Those of a service with two sources."""
    told = {"postgres_dsn": dsn, "nats_url": nats_url, "port": 0, "data_dir": folder, "sources": SOURCES}
    return Settings.model_validate(told | changed)


async def post(app: App, sample: Sample, path: str) -> tuple[int, dict[str, Any]]:
    """Status and body of the answer."""
    async with (
        aiohttp.ClientSession(app.url) as session,
        session.post(path, data=sample.body, headers=dict(sample.headers)) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


async def get(app: App, path: str) -> Any:
    """An answer of the query API."""
    async with aiohttp.ClientSession(app.url) as session, session.get(f"/api/v1/{path}") as answer:
        return await answer.json()


async def all_published(connection: Connection) -> bool:
    """Whether nothing waits."""
    return not await connection.fetchval("SELECT count(*) FROM outbox")


async def is_kept(app: App) -> bool:
    """Whether the dead letter is in PostgreSQL."""
    items = (await get(app, "callbacks?source=lba1"))["items"]
    return [one["rule"] for one in items] == ["unknown-source"]


async def nothing_moved(connection: Connection) -> bool:
    """Whether no lifecycle has a row."""
    return not any([await connection.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES])  # noqa: S608


async def test_a_mistyped_url_loses_nothing(
    postgres_dsn: str, nats_url: str, tmp_path: Path, connection: Connection
) -> None:
    """202, a dead letter, no state; listed under its name; then moved to the right source, where it counts."""
    async with running(settings_of(postgres_dsn, nats_url, tmp_path)) as app:
        await app.until_ready()
        answers = [await post(app, one, "/esc/lba1/callback") for one in STORY]
        assert {(status, body["outcome"]) for status, body in answers} == {(202, "unclassified")}
        assert (await post(app, MALFORMED[0], "/esc/lba1/events"))[0] == 400
        assert await nothing_moved(connection)
        (source,) = [one for one in (await get(app, "sources"))["items"] if not one["configured"]]
        assert (source["source"], source["quarantined"], source["state"]) == ("lba1", len(STORY) + 1, "UNSEEN")
        assert source["last_message_at"]
        kept = (await get(app, "callbacks?outcome=unclassified&source=lba1"))["items"]
        assert {one["rule"] for one in kept} == {"unknown-source"}
        async with aiohttp.ClientSession(app.url) as session:
            await assert_counts_add_up(session)
    again = await replay(postgres_dsn, "--quarantine", ESC_RECEIVER_SOURCES=json.dumps(SOURCES))
    assert f"{len(STORY) + 1} quarantined" in again.stdout, again.output
    assert await nothing_moved(connection), "a replay that names no other source judges none of them"
    move = partial(replay, postgres_dsn, "--source", "lba1", ESC_RECEIVER_SOURCES=json.dumps(SOURCES))
    refused = await move("--to-source", "lab3")
    assert (refused.exit_code, "no source lab3 is configured" in refused.stderr) == (2, True)
    tried = await move("--to-source", "lab1", "--dry-run")
    assert await nothing_moved(connection)
    moved = await move("--to-source", "lab1")
    assert moved.stdout.replace("appended", "would be appended") == tried.stdout
    assert f"{len(STORY)} applied, 1 quarantined" in moved.stdout
    assert await connection.fetchval("SELECT array_agg(DISTINCT source) FROM callbacks") == ["lab1"]
    assert await connection.fetchval("SELECT array_agg(DISTINCT notes) FROM callbacks") == [["posted-to:lba1"]]
    assert await connection.fetchval("SELECT array_agg(source || state) FROM deployments") == ["lab1ACTIVE"]
    await assert_ledger_is_whole(connection)
    assert (await move("--to-source", "lab2")).stdout.startswith("0 callbacks"), "they are moved once"


async def test_it_is_published_and_counted_under_names_of_ours(
    postgres_dsn: str, nats_url: str, tmp_path: Path, connection: Connection
) -> None:
    """The feed tells the name, encoded; metrics call all of them `(unknown)`; beyond the limit it is refused."""
    names = ["lba1", "a.b*>", "Ünbekannt", "x" * 200]
    settings = settings_of(postgres_dsn, nats_url, tmp_path, unknown_source_per_hour=len(names))
    async with running(settings) as app:
        await app.until_ready()
        for name in names:
            assert (await post(app, STORY[0], f"/esc/{name}/callback/a-token"))[0] == 202
        status, problem = await post(app, STORY[0], "/esc/one-more/callback")
        assert (status, problem["setting"]) == (404, "unknown_source")
        assert "unknown_source_per_hour" in problem["detail"]
        assert (await post(app, STORY[0], "/esc/lab1/callback"))[0] == 200
        async with aiohttp.ClientSession(app.url) as session:
            await assert_counts_add_up(session)
        async with aiohttp.ClientSession(app.url) as session, session.get("/metrics") as answer:
            shown = await answer.text()
        await feed.until(partial(all_published, connection))
    assert 'esc_receiver_stored_total{family="deployment",outcome="unclassified",source="(unknown)"} 4.0' in shown
    assert 'esc_receiver_refused_total{reason="unknown-source"} 1.0' in shown
    assert not any(name in shown for name in names)
    subjects = [one.subject for one in await published(connection, nats_url) if ".callback." in one.subject]
    assert [subject.removeprefix("esc.v1.callback.unclassified.") for subject in subjects] == [
        "lba1", "a=2Eb=2A=3E", "=C3=9Cnbekannt", token("x" * 128),
    ]  # fmt: skip
    assert "a-token" not in str(await connection.fetch("SELECT headers, source, notes, remote, ref FROM callbacks"))


async def test_what_is_spooled_stays_a_dead_letter(postgres_dsn: str, nats_url: str, tmp_path: Path) -> None:
    """PostgreSQL is away when it comes: the spool keeps that its source was unknown."""
    nowhere = "postgresql://127.0.0.1:1/nowhere"
    async with running(settings_of(nowhere, nats_url, tmp_path)) as app:
        assert await post(app, STORY[0], "/esc/lba1/callback") == (202, {"receipt": ANY, "outcome": "pending"})
    async with running(settings_of(postgres_dsn, nats_url, tmp_path)) as app:
        await app.until_ready()
        await feed.until(partial(is_kept, app))
        assert (await get(app, "deployments"))["items"] == []


async def test_it_may_be_refused(postgres_dsn: str, nats_url: str, tmp_path: Path, connection: Connection) -> None:
    """As before."""
    async with running(settings_of(postgres_dsn, nats_url, tmp_path, unknown_source="refuse")) as app:
        await app.until_ready()
        assert (await post(app, STORY[0], "/esc/lba1/callback"))[0] == 404
    assert await connection.fetchval("SELECT count(*) FROM callbacks") == 0
