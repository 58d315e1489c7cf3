"""The query API by itself: a real server on a real database, and the writer that fills it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from receiver.api.routes import Api
from receiver.config.read_tokens import ReadToken, Scope
from receiver.config.settings import Settings
from receiver.http.server import make_app, start_site
from receiver.lifecycle import Windows
from receiver.model.entities import Decision
from receiver.observability.metrics import Metrics
from receiver.parsing.parsed_callback import ParsedCallback
from receiver.postgres.database import Database
from receiver.postgres.partitions import Partitions
from receiver.postgres.store import Store
from receiver.publishing.broker import Broker
from receiver.replay.dead_letters import DeadLetters
from receiver.webhooks.commands import Commands
from tests.support import batches as keeping
from tests.support.batches import letter, of_deployment
from tests.support.samples import SAMPLES

API = "/api/v1"
DEPLOYED, ALIVE, SERVICE_ALIVE = (
    SAMPLES[name] for name in ("rec-deploy-01-vm-deployed", "rec-deploy-02-vm-alive", "rec-deploy-03-service-alive")
)
READ, RAW = ReadToken("reader"), ReadToken("rawreader", frozenset({Scope.READ, Scope.RAW}))


@dataclass(slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def items(self) -> list[dict[str, Any]]:
        """Of a list."""
        assert self.status == 200, self.body
        items: list[dict[str, Any]] = self.body["items"]
        return items


@dataclass(slots=True)
class RunningApi:
    """A running API, and a client of it."""

    url: str
    api: Api
    metrics: Metrics
    client: aiohttp.ClientSession

    async def get(self, path: str, headers: dict[str, str] | None = None, **asked: Any) -> Answer:
        """Ask; the body is read as JSON where it says that it is."""
        return await self.ask("GET", path, headers, params={k: v for k, v in asked.items() if v is not None})

    async def ask(self, method: str, path: str, headers: dict[str, str] | None = None, **more: Any) -> Answer:
        """Any method."""
        async with self.client.request(method, self.url + API + path, headers=headers, **more) as answer:
            body: Any = await answer.read()
            if body and "json" in answer.headers.get("Content-Type", ""):
                body = json.loads(body)
            return Answer(answer.status, answer.headers.copy(), body)

    async def all_items(self, path: str, **asked: Any) -> list[dict[str, Any]]:
        """The items of all pages."""
        items: list[dict[str, Any]] = []
        cursor = None
        while True:
            answer = await self.get(path, cursor=cursor, **asked)
            items += answer.items
            cursor = answer.body["next"]
            if cursor is None:
                return items


@asynccontextmanager
async def running_api(dsn: str, **changed: Any) -> AsyncIterator[RunningApi]:
    """The API on a database; `changed` are settings."""
    settings = Settings.model_validate({"postgres_dsn": dsn, "port": 0} | changed)
    metrics = Metrics(settings.all_sources)
    database = Database(settings, metrics)
    store = Store(Windows(settings.reorder_window_s, settings.duplicate_window_s))
    dead_letters = DeadLetters(database, store, Partitions(settings), settings)
    webhooks = Commands(Broker(settings, metrics), database, settings)
    api = Api(database.connect, settings, metrics, dead_letters=dead_letters, webhooks=webhooks)
    await database.open()
    await api.open()
    app = make_app([api], settings)
    app.on_shutdown.append(api.stop)
    runner = await start_site(app, settings, metrics)
    running = asyncio.create_task(api.run())
    host, port = runner.addresses[0][:2]
    try:
        async with aiohttp.ClientSession() as client:
            yield RunningApi(f"http://{host}:{port}", api, metrics, client)
    finally:
        await runner.cleanup()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        api.close()
        await database.close()


async def store(dsn: str, callbacks: Iterable[ParsedCallback], together: int = 1_000) -> list[Decision]:
    """Write callbacks as a receiver does, so many in one transaction, which may take long on a busy machine."""
    waiting, decisions = list(callbacks), []
    async with keeping.keeping(dsn, commit_timeout_s=120) as writer:
        for first in range(0, len(waiting), together):
            decisions += await keeping.decisions(writer, waiting[first : first + together])
    return decisions


def deploy(name: str) -> list[ParsedCallback]:
    """The three messages by which a deployment with one VM comes up."""
    return [letter(of_deployment(sample, name)) for sample in (DEPLOYED, ALIVE, SERVICE_ALIVE)]
