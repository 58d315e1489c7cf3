"""The service as a whole: how it starts, what it needs, how it stops, and what is left when it is killed."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import pytest
import structlog
from prometheus_client import Counter

from chaos.wire import Wire
from receiver.app import App, running
from receiver.config.settings import Settings
from receiver.embedded.servers import EmbeddedNats, EmbeddedPostgres
from receiver.errors import SettingsError, SetupError
from receiver.observability.definition import total
from tests.support import feed
from tests.support.auditor import Connection, assert_feed_equals_ledger, assert_ledger_is_whole, published
from tests.support.batches import of_deployment
from tests.support.program import Load, program, run
from tests.support.samples import SAMPLES, Sample
from tests.support.waiting import a_session_waits

DEPLOYED = SAMPLES["rec-deploy-01-vm-deployed"]
ALIVE = SAMPLES["rec-deploy-02-vm-alive"]
CLOSING = SAMPLES["rec-deploy-03-service-alive"]


async def post(session: aiohttp.ClientSession, sample: Sample) -> aiohttp.ClientResponse:
    """As ESC does; the answer, read."""
    async with session.post("/", data=sample.body, headers=dict(sample.headers)) as response:
        await response.read()
        return response


async def readiness(session: aiohttp.ClientSession) -> tuple[int, dict[str, Any]]:
    """What /readyz says."""
    async with session.get("/readyz") as response:
        return response.status, await response.json()


async def well(session: aiohttp.ClientSession) -> bool:
    """Whether nothing is wrong at all."""
    status, told = await readiness(session)
    return status == 200 and not told["degraded"]


@asynccontextmanager
async def away(tmp_path: Path) -> AsyncIterator[tuple[EmbeddedPostgres, EmbeddedNats]]:
    """Servers of the test's own that are not running; started, they are where they were."""
    postgres, nats_server = EmbeddedPostgres(tmp_path / "postgres"), EmbeddedNats(tmp_path / "nats")
    try:
        for server in (postgres, nats_server):
            await server.start()
            await server.stop()
        yield postgres, nats_server
    finally:
        await postgres.stop()
        await nats_server.stop()


async def test_it_starts_without_postgresql_and_nats_and_recovers_by_itself(tmp_path: Path) -> None:
    """With both away it serves, keeps and says so; when they come it is well, and nothing is missing anywhere."""
    async with away(tmp_path) as (postgres, nats_server):
        settings = Settings(postgres_dsn=postgres.dsn, nats_url=nats_server.url, port=0, data_dir=tmp_path)
        async with running(settings) as app, aiohttp.ClientSession(app.url) as session:
            async with session.get("/healthz") as response:
                assert response.status == 200
            assert (await post(session, DEPLOYED)).status == 202
            status, told = await readiness(session)
            assert (status, told["degraded"]) == (200, True)
            assert not told["dependencies"]["postgres"]["ok"]
            assert not told["dependencies"]["nats"]["ok"]
            await postgres.start()
            await nats_server.start()
            await app.until_ready()
            await feed.until(lambda: well(session))
            assert (await post(session, ALIVE)).status == 200
            connection = await asyncpg.connect(postgres.dsn)
            messages = await published(connection, nats_server.url)
            await assert_feed_equals_ledger(connection, messages)
            assert [m.event["change"] for m in messages if m.event["entity"] == "vm"] == ["inert", "alive"]
            await connection.close()


async def test_it_is_ready_while_postgresql_says_nothing(postgres_dsn: str, nats_url: str, tmp_path: Path) -> None:
    """From the first moment on, when nobody has waited for PostgreSQL yet: the spool keeps what comes."""
    port = urlsplit(postgres_dsn).port
    assert port is not None
    async with Wire(lambda: port).laid() as wire:
        dsn = postgres_dsn.replace(f":{port}/", f":{wire.port}/")
        settings = Settings(postgres_dsn=dsn, nats_url=nats_url, port=0, data_dir=tmp_path)
        async with running(settings) as app, aiohttp.ClientSession(app.url) as session:
            await app.until_ready()
            await feed.until(lambda: well(session))
            wire.stall()
            status, told = await readiness(session)
            assert app.router.direct
            assert (status, told["dependencies"]["keeping"]) == (200, {"ok": True})
            assert not told["dependencies"]["postgres"]["ok"]
            wire.mend()


async def test_with_nowhere_to_keep_it_refuses_and_asks_to_come_again(tmp_path: Path) -> None:
    """PostgreSQL away and the spool full: 503 with Retry-After, and /readyz is 503 and names what is wrong."""
    async with away(tmp_path) as (postgres, nats_server):
        settings = Settings(
            postgres_dsn=postgres.dsn, nats_url=nats_server.url, port=0, data_dir=tmp_path, spool_bytes_max=1
        )
        async with running(settings) as app, aiohttp.ClientSession(app.url) as session:
            answer = await post(session, DEPLOYED)
            assert (answer.status, answer.headers["Retry-After"]) == (503, str(settings.retry_after_s))
            assert answer.content_type == "application/problem+json"
            status, told = await readiness(session)
            assert status == 503
            wrong = {name for name, dependency in told["dependencies"].items() if not dependency["ok"]}
            assert {"keeping", "postgres", "nats", "spool"} <= wrong
            assert all(told["dependencies"][name]["why"] for name in wrong)
            assert app.metrics.sums()["refused"] == 1


async def test_a_stream_with_other_subjects_is_told_once_and_callbacks_are_kept(
    postgres_dsn: str, nats_url: str, connection: Connection, tmp_path: Path
) -> None:
    """Somebody else's stream is left alone: one clear line however often it is tried, and the outbox waits."""
    async with feed.jetstream(nats_url) as js:
        await js.add_stream(name="ESC", subjects=["somebody.else.>"])
    settings = Settings(
        postgres_dsn=postgres_dsn, nats_url=nats_url, port=0, data_dir=tmp_path, relay_takeover_s=0.05, relay_sweep_s=1
    )
    with structlog.testing.capture_logs() as said:
        async with running(settings) as app, aiohttp.ClientSession(app.url) as session:
            await app.until_ready()
            assert (await post(session, DEPLOYED)).status == 200
            failures = app.metrics.publish_failures.labels("refused")
            await feed.until(lambda: is_at_least(failures, 5))
            status, told = await readiness(session)
            assert status == 200
            assert "exists with other subjects" in told["dependencies"]["relay"]["why"]
            async with feed.jetstream(nats_url) as js:
                await js.delete_stream("ESC")
            assert len(await published(connection, nats_url)) == 3
    warnings = [line for line in said if line["log_level"] == "warning"]
    assert ["exists with other subjects" in line["why"] for line in warnings] == [True]


async def is_at_least(counter: Counter, number: int) -> bool:
    """Whether a counter has come so far."""
    return total(counter) >= number


async def test_two_services_on_one_database_have_one_relay_and_the_other_takes_over(
    postgres_dsn: str, nats_url: str, connection: Connection, tmp_path: Path
) -> None:
    """Both keep callbacks, one publishes; when it stops, the other goes on, and the feed is whole and in order."""
    apps = [
        App(
            Settings(
                postgres_dsn=postgres_dsn, nats_url=nats_url, port=0, data_dir=tmp_path / name, relay_takeover_s=0.2
            )
        )
        for name in ("one", "other")
    ]
    for app in apps:
        await app.start()
        await app.until_ready()
        await feed.until(lambda: is_led(apps))
    first = next(app for app in apps if leads(app))
    second = next(app for app in apps if app is not first)
    await send_stories(apps, range(10))
    assert (leads(first), leads(second)) == (True, False)
    await first.stop()
    await feed.until(lambda: is_led([second]))
    await send_stories([second], range(10, 20))
    messages = await published(connection, nats_url)
    await second.stop()
    await assert_ledger_is_whole(connection)
    await assert_feed_equals_ledger(connection, messages)
    assert await connection.fetchval("SELECT count(*) FROM deployments WHERE state = 'ACTIVE'") == 20


def leads(app: App) -> bool:
    """Whether it is the relay."""
    return bool(total(app.metrics.relay_leader))


async def is_led(apps: list[App]) -> bool:
    """Whether one of them is."""
    return any(map(leads, apps))


async def send_stories(apps: list[App], numbers: range) -> None:
    """Deploys, each message to another of the services, all at once."""
    sessions = [aiohttp.ClientSession(app.url) for app in apps]

    async def deploy(number: int) -> None:
        for step, sample in enumerate((DEPLOYED, ALIVE, CLOSING)):
            answer = await post(
                sessions[(number + step) % len(sessions)], of_deployment(sample, f"deployment-{number}")
            )
            assert answer.status == 200

    await asyncio.gather(*map(deploy, numbers))
    for session in sessions:
        await session.close()


async def test_stopping_twice_is_harmless_and_a_taken_port_is_told(
    postgres_dsn: str, nats_url: str, tmp_path: Path
) -> None:
    """What was begun is undone, so that a later start on a free port works."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        app = App(
            Settings(
                postgres_dsn=postgres_dsn, nats_url=nats_url, port=taken.getsockname()[1], data_dir=tmp_path / "one"
            )
        )
        with pytest.raises(SetupError, match="is taken by another program"):
            await app.start()
        await app.stop()
    async with running(app.settings) as again:
        await again.until_ready()
        await again.stop()


@pytest.mark.parametrize("dsn", ["mysql://u:secret@h/d", "postgresql://u:sec/ret@h/d", "postgresql://u:secret@h:x/d"])
async def test_a_dsn_that_is_none_ends_the_service(nats_url: str, tmp_path: Path, dsn: str) -> None:
    """Trying on would not help; the password is not told."""
    with pytest.raises(SettingsError, match=r"^ESC_RECEIVER_POSTGRES_DSN: ") as told:
        async with running(Settings(postgres_dsn=dsn, nats_url=nats_url, port=0, data_dir=tmp_path)) as app:
            await app.until_ready()
    assert "sec" not in str(told.value)


# As a program.


async def test_a_taken_port_is_one_line(postgres_dsn: str, nats_url: str, tmp_path: Path) -> None:
    """It says what to do, and the exit status is 2."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, _, lines = await run(
            "serve", postgres_dsn=postgres_dsn, nats_url=nats_url, port=port, data_dir=tmp_path
        )
    assert (status, len(lines)) == (2, 1), lines
    assert lines[0].startswith(f"esc-receiver: 127.0.0.1:{port} is taken by another program")


async def test_a_newer_schema_is_one_line(
    postgres_dsn: str, nats_url: str, connection: Connection, tmp_path: Path
) -> None:
    """An older program does not touch what a newer one has made."""
    await connection.execute("INSERT INTO schema_migrations (version, name, checksum) VALUES (9999, '9999_later', '')")
    status, _, lines = await run("serve", postgres_dsn=postgres_dsn, nats_url=nats_url, port=0, data_dir=tmp_path)
    (line,) = [line for line in lines if not line.startswith("{")]
    assert status == 2
    assert line.startswith("esc-receiver: the database has migrations that this program does not know (9999)")


async def test_wrong_settings_are_told_all_at_once(tmp_path: Path) -> None:
    """One line each, the exit status is 2, and no secret is repeated."""
    status, _, lines = await run(
        "serve", port="http", body_byte_max=1, postgres_dsn_file=tmp_path / "none", batch_callbacks_max=0
    )
    assert status == 2
    assert {line.split(":")[1].strip() for line in lines} == {
        "ESC_RECEIVER_BODY_BYTE_MAX",
        "ESC_RECEIVER_POSTGRES_DSN_FILE",
        "ESC_RECEIVER_BATCH_CALLBACKS_MAX",
        "ESC_RECEIVER_PORT",
    }


async def test_it_can_be_stopped_while_it_waits_for_postgresql(nats_url: str, tmp_path: Path) -> None:
    """It says once what it waits for; told to stop, it stops, and the counts are there at any log level."""
    dsn = "postgresql://nobody@127.0.0.1:1/none"
    settings = {"postgres_dsn": dsn, "nats_url": nats_url, "port": 0, "data_dir": tmp_path, "log_level": "warning"}
    async with program("serve", **settings) as waiting:
        assert "127.0.0.1" in (await waiting.says("PostgreSQL cannot be used yet"))["why"]
        waiting.signal(signal.SIGTERM)
        assert await waiting.ended() == 0
    assert '"stopped"' in waiting.lines[-1]


async def test_sigterm_under_load_finishes_what_was_taken_and_a_restart_has_it_all(tmp_path: Path) -> None:
    """Exit status 0, a count that adds up, every acknowledged receipt in PostgreSQL, and the feed as the ledger."""
    folder = tmp_path / "data"
    async with program("serve", "--embedded", "--data-dir", folder, "--port", "0") as first:
        url = (await first.says('"serving"'))["url"]
        await first.says('"PostgreSQL is ready"')
        load = Load(url)
        loading = asyncio.create_task(load.send(senders=16, enough=200))
        await load.enough.wait()
        endpoints = folder / "endpoints.json"
        await feed.until(lambda: exists(endpoints))  # NATS is ready, too
        assert stat.S_IMODE(endpoints.stat().st_mode) == 0o600
        assert json.loads(endpoints.read_text())["http"] == url
        first.signal(signal.SIGTERM)
        assert await first.ended() == 0
        await loading
    sums = json.loads(next(line for line in first.lines if '"stopped"' in line))
    assert sums["in_flight"] == 0
    assert sums["received"] + sums["recovered"] == sums["stored"] + sums["refused"] + sums["spooled"]
    assert sums["stored"] + sums["spooled"] >= len(load.receipts)
    assert not endpoints.exists()
    async with program("serve", "--embedded", "--data-dir", folder, "--port", "0") as second:
        await feed.until(lambda: exists(endpoints))
        where = json.loads(endpoints.read_text())
        await assert_nothing_is_missing(where["postgres_dsn"], where["nats_url"], load)
        second.signal(signal.SIGTERM)
        assert await second.ended() == 0


async def exists(path: Path) -> bool:
    """Whether it is there."""
    return path.exists()


async def assert_nothing_is_missing(dsn: str, nats_url: str, load: Load) -> None:
    """Every receipt that was given is kept; ledger and feed are whole and without repeats."""
    connection = await asyncpg.connect(dsn)
    try:
        messages = await published(connection, nats_url)
        kept = {str(row["receipt"]) for row in await connection.fetch("SELECT receipt FROM callbacks")}
        assert load.receipts <= kept
        await assert_ledger_is_whole(connection)
        await assert_feed_equals_ledger(connection, messages)
    finally:
        await connection.close()


async def test_a_killed_receiver_has_lost_nothing_it_acknowledged(
    postgres_dsn: str, nats_url: str, tmp_path: Path
) -> None:
    """kill -9 under load, three times: what was acknowledged is kept, and the stream has everything once, in order."""
    settings: dict[str, object] = {"postgres_dsn": postgres_dsn, "nats_url": nats_url, "data_dir": tmp_path, "port": 0}
    load = Load("")
    for enough, when in ((100, '"serving"'), (200, '"mode": "direct"'), (300, '"mode": "direct"')):
        async with program("serve", **settings) as killed:
            load.url = (await killed.says('"serving"'))["url"]
            load.enough.clear()
            if when not in killed.lines[-1]:
                await killed.says(when)
            loading = asyncio.create_task(load.send(senders=16, enough=enough))
            await load.enough.wait()
            killed.signal(signal.SIGKILL)
            assert await killed.ended() == -signal.SIGKILL
            await loading
    async with program("serve", **settings) as last:
        await last.says('"mode": "direct"')
        await assert_nothing_is_missing(postgres_dsn, nats_url, load)
        last.signal(signal.SIGINT)
        assert await last.ended() == 0


async def test_a_second_signal_exits_at_once(
    postgres_dsn: str, nats_url: str, connection: Connection, tmp_path: Path
) -> None:
    """Also while a callback waits for a row that somebody else has locked."""
    settings = {"postgres_dsn": postgres_dsn, "nats_url": nats_url, "data_dir": tmp_path, "port": 0}
    async with program("serve", commit_timeout_s=600, stop_timeout_s=600, **settings) as stuck:
        url = (await stuck.says('"serving"'))["url"]
        await stuck.says('"mode": "direct"')
        async with aiohttp.ClientSession(url) as session, connection.transaction():
            assert (await post(session, DEPLOYED)).status == 200
            await connection.fetch("SELECT FROM deployments FOR UPDATE")
            waiting = asyncio.create_task(post(session, ALIVE))
            await feed.until(partial(a_session_waits, connection))
            stuck.signal(signal.SIGTERM)
            await stuck.says("a second signal exits at once")
            stuck.signal(signal.SIGTERM)
            assert await stuck.ended() == 130
            with pytest.raises(aiohttp.ClientError):
                await waiting
