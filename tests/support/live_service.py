"""A live service under simulated traffic, and a real Prometheus that scrapes it: what boards are asked on.

The service brings its own PostgreSQL and NATS. The traffic has faults, and PostgreSQL is away for a while.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import nats
import nats.js.errors

from receiver.config.settings import Settings
from receiver.publishing.outbox import FORMER_LOCK_KEY
from tests.lifecycle.test_source import OUT
from tests.support.batches import of_deployment
from tests.support.feed import until
from tests.support.field import Post
from tests.support.figures import installed
from tests.support.program import program, run
from tests.support.samples import SAMPLES
from tests.support.webhook_endpoint import Endpoint, chosen

ALERTS = Path(__file__).parents[2] / "dashboards" / "alerts"
RULES = ("alerts.yml", "recording.yml")
SCRAPE = "1s"
DEPLOYMENTS = 24
PLAYED: Mapping[str, object] = {
    "deployments": DEPLOYMENTS,
    "seed": 7,
    "rate": 150,
    "faults": "duplicate=0.05,reorder=0.05,malformed=0.01,unknown=0.01,gap=0.03",
}
UNFINISHED = (
    "rec-deploy-01-vm-deployed", "rec-deploy-02-vm-alive", "rec-deploy-03-service-alive", "rec-recovery-01-init",
)  # fmt: skip
"""A deployment that comes up, and whose VM is then being recovered."""


class Stage:
    """What is asked: Prometheus over HTTP, PostgreSQL over a connection."""

    def __init__(self, url: str, session: aiohttp.ClientSession, connection: Any) -> None:
        self._url, self.session, self.connection = url, session, connection
        self.at: str | None = None
        """The moment that is asked about, once there is one at which all was scraped; else now."""

    async def ask(self, path: str, **asked: str) -> Any:
        """What Prometheus answers."""
        async with self.session.get(f"{self._url}/api/v1/{path}", params=asked) as answer:
            told = await answer.json()
        assert told["status"] == "success", told
        return told["data"]

    async def has(self, expr: str) -> bool:
        """Whether it gives anything."""
        return bool(await self.series(expr))

    async def series(self, expr: str) -> list[dict[str, Any]]:
        """What an expression gives."""
        at = {"time": self.at} if self.at else {}
        found: list[dict[str, Any]] = (await self.ask("query", query=expr, **at))["result"]
        return found


@asynccontextmanager
async def staged(folder: Path, **played: object) -> AsyncIterator[Stage]:
    """All of it, played and scraped; `played` are options of `simulate`."""
    prometheus = installed("prometheus")
    async with AsyncExitStack() as stack:
        endpoint = Endpoint()
        await stack.enter_async_context(endpoint.listening())
        endpoints = await stack.enter_async_context(_service(folder / "data", endpoint))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        await until(lambda: _answers(session, f"{endpoints['http']}/readyz"))
        broker = await nats.connect(endpoints["nats_url"])
        stack.push_async_callback(broker.close)
        await until(lambda: _subscribes(broker))
        url = await stack.enter_async_context(_prometheus(prometheus, folder, endpoints["http"], session))
        await _play(endpoints["http"], session, {**PLAYED, **played})
        connection = await asyncpg.connect(endpoints["postgres_dsn"])
        stack.push_async_callback(connection.close)
        found = Stage(url, session, connection)
        await _away(found, endpoints["http"])
        await _reads(broker)
        await until(lambda: found.has("max(esc_receiver_operations_overdue) > 0"))
        assert await _said(session, endpoints["http"], OUT) == 200
        await until(lambda: _has_scraped_all(found, endpoints["http"]))
        yield found


@asynccontextmanager
async def _service(folder: Path, endpoint: Endpoint) -> AsyncIterator[dict[str, str]]:
    settings = {
        "counts_interval_s": 0.5, "loop_probe_s": 0.05, "overdue_check_s": 0.5, "reorder_window_s": 1,
        "overdue_after_s": json.dumps({"default": 1, "recovery": 3600}), "flapping_recoveries": 2,
        "verify_interval_s": 1, "learn_every_s": 1, "learn_samples_min": 1, "learn_factor": 1_000_000,
        "webhooks": json.dumps([chosen(endpoint, "taking"), chosen(Endpoint(port=1), "away")]),
        "webhook_allow": "127.0.0.0/8", "webhook_check_s": 0.5,
    }  # fmt: skip
    options = ("--embedded", "--data-dir", folder, "--port", "0", "--workers", "2")
    async with program("serve", *options, **settings) as service:
        await service.says("the relay now")  # which of two workers serves first is not known
        listening = asyncio.create_task(_listen(service.process.stderr))
        path = folder / "endpoints.json"
        try:
            await until(lambda: _exists(path))
            yield json.loads(path.read_text())
        finally:
            service.process.terminate()
            await service.process.wait()
            await listening


async def _listen(stream: Any) -> None:
    """A pipe that nobody reads would stop the service when it is full."""
    while await stream.read(65536):
        pass


@asynccontextmanager
async def _prometheus(
    prometheus: Path, folder: Path, target: str, session: aiohttp.ClientSession
) -> AsyncIterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    config = {
        "global": {"scrape_interval": SCRAPE, "evaluation_interval": SCRAPE},
        "rule_files": [str(ALERTS / name) for name in RULES],
        "scrape_configs": [
            {"job_name": "esc-receiver", "static_configs": [{"targets": [target.removeprefix("http://")]}]}
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    process = await asyncio.create_subprocess_exec(
        prometheus, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={address}", "--enable-feature=exemplar-storage", "--log.level=error",
    )  # fmt: skip
    url = f"http://{address}"
    try:
        await until(lambda: _answers(session, f"{url}/-/ready"))
        yield url
    finally:
        process.terminate()
        await process.wait()


async def _play(url: str, session: aiohttp.ClientSession, played: Mapping[str, object]) -> None:
    """Traffic of all kinds, and a few who should not be here."""
    options = [text for name, value in played.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    status, _, said = await run("simulate", "--target", url, *options)
    assert status == 0, said
    for path in ("/esc/nobody/callback", "/api/v1/vms", "/api/v1/stats"):
        async with session.request("POST" if "nobody" in path else "GET", url + path, data=b"<x/>") as answer:
            await answer.read()
    async with session.post(
        f"{url}/esc/default/callback", data=BytesIO(bytes(2 * Settings().body_bytes_max))
    ) as answer:
        assert answer.status == 413
    for name, ends_with in (("young", 1), ("hurt", 4)):
        for sample in UNFINISHED[:ends_with]:
            assert await _post(session, url, sample, name) == 200
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"not http\r\n\r\n")
    await reader.read()
    writer.close()


async def _post(session: aiohttp.ClientSession, url: str, sample: str, deployment: str) -> int:
    told = of_deployment(SAMPLES[sample], deployment)
    async with session.post(url, data=told.body, headers=dict(told.headers)) as answer:
        return answer.status


async def _away(stage: Stage, url: str) -> None:
    """PostgreSQL takes nothing for a while, and the relay's lock is somebody else's."""
    connection = stage.connection
    await connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    await connection.execute("SELECT pg_reload_conf()")
    deployments = (f"away-{number}" for number in count())
    await until(lambda: _is_spooled(stage, url, next(deployments)))
    holder = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND granted"
    await connection.execute("SELECT pg_terminate_backend($1)", await connection.fetchval(holder, FORMER_LOCK_KEY))
    await connection.execute("SELECT pg_advisory_lock($1)", FORMER_LOCK_KEY)
    await until(lambda: stage.has("esc_receiver_mode{mode='spooling'} == 1 and on () esc_receiver_relay_leader == 0"))
    await connection.execute("SELECT pg_advisory_unlock($1)", FORMER_LOCK_KEY)
    await connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
    await connection.execute("SELECT pg_reload_conf()")
    await until(lambda: stage.has("esc_receiver_mode{mode='direct'} == 1 and on () esc_receiver_relay_leader == 1"))


async def _is_spooled(stage: Stage, url: str, deployment: str) -> bool:
    return await _post(stage.session, url, UNFINISHED[0], deployment) == 202


async def _has_scraped_all(stage: Stage, url: str) -> bool:
    """Prometheus knows as many callbacks as the service, and the rules have seen them."""
    async with stage.session.get(f"{url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    received = sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("esc_receiver_received_total"))
    seen = await stage.series("sum(esc_receiver_received_total)")
    overdue = await stage.series("max(esc_receiver_operations_overdue) > 0")
    burned = await stage.series("esc:operations_burn:rate1h > 0")
    behind = await stage.series("esc_receiver_consumer_pending_messages > 0")
    for quiet in ("feed_checked_timestamp_seconds", "consumer_acknowledged_timestamp_seconds", "source_out_of_service"):
        if not await stage.has(f"esc_receiver_{quiet} > 0"):
            return False
    if not (seen and overdue and burned and behind) or float(seen[0]["value"][1]) != received:
        return False
    stage.at = str(max(one[0]["value"][0] for one in (seen, overdue, burned, behind)))
    return True


async def _subscribes(broker: Any) -> bool:
    """A consumer that reads nothing, as soon as there is a stream."""
    try:
        await broker.jetstream().pull_subscribe("esc.v1.>", durable="billing", stream="ESC")
    except nats.js.errors.NotFoundError:
        return False
    return True


async def _reads(broker: Any) -> None:
    """Another consumer takes one message, and acknowledges it."""
    subscription = await broker.jetstream().pull_subscribe("esc.v1.>", durable="paging", stream="ESC")
    (message,) = await subscription.fetch(1)
    await message.ack_sync()


async def _said(session: aiohttp.ClientSession, url: str, post: Post) -> int:
    async with session.post(url + post.path, data=post.body, headers=dict(post.headers)) as answer:
        return answer.status


async def _exists(path: Path) -> bool:
    return path.exists()


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False
