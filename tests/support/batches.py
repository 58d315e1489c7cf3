"""Letters to keep, keepers to keep them, and a wire between a keeper and PostgreSQL that can be cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from receiver.config.settings import Settings
from receiver.errors import NotXmlError
from receiver.ingest.batcher import Accepted, Batcher
from receiver.lifecycle import Windows
from receiver.model.entities import Decision
from receiver.model.envelope import Clock
from receiver.observability.metrics import Metrics
from receiver.parsing.body_readers import BodyReaders
from receiver.parsing.parsed_callback import ParsedCallback
from receiver.parsing.parser import parse
from receiver.postgres.batch_writer import BatchWriter
from receiver.postgres.database import Database
from receiver.postgres.partitions import Partitions
from receiver.postgres.store import Store
from receiver.postgres.wake_ups import WakeUps
from receiver.spool import Spool
from receiver.spool.router import SpoolRouter
from tests.support.feed import until
from tests.support.samples import Sample, envelope_of

_CLOCK = Clock()
UNHURRIED = {"commit_timeout_s": 30, "postgres_connect_timeout_s": 20}
"""For a busy machine: what does not time out in a test is not to do so because of other tests."""
COMMITTED = b"COMMIT\0"
"""How PostgreSQL tells that a transaction is committed."""


@asynccontextmanager
async def keeping(dsn: str, **changed: Any) -> AsyncIterator[BatchWriter]:
    """A keeper on a database; `changed` are settings."""
    settings = Settings.model_validate({"postgres_dsn": dsn} | UNHURRIED | changed)
    metrics = Metrics(settings.all_sources)
    database = Database(settings, metrics)
    await database.open()
    try:
        async with WakeUps(database.acquire, settings) as wake_ups:
            yield BatchWriter(database, Store(Windows()), Partitions(settings), wake_ups, settings, metrics)
    finally:
        await database.close()


@dataclass(frozen=True)
class Place:
    """A batcher with what is around it, running."""

    batcher: Batcher
    router: SpoolRouter
    metrics: Metrics
    wake_ups: WakeUps
    running: asyncio.Task[None]
    readers: BodyReaders

    def accept(self, sample: Sample, **changed: Any) -> asyncio.Task[Accepted]:
        """Hand in one callback, as a request does."""
        received_at, receipt = _CLOCK.stamp()
        self.metrics.count_received("default", "callback")
        envelope = envelope_of(sample, **{"received_at": received_at, "receipt": receipt} | changed)
        return asyncio.create_task(self.batcher.accept(envelope))

    async def is_direct(self) -> bool:
        """Whether nothing waits in the spool, so that callbacks go to PostgreSQL at once."""
        return self.router.direct

    def sums(self) -> dict[str, int]:
        """Those that are not zero."""
        return {name: number for name, number in self.metrics.sums().items() if number}


@asynccontextmanager
async def accepting(dsn: str, folder: Path, **changed: Any) -> AsyncIterator[Place]:
    """A batcher on a database, with a spool in a folder; `changed` are settings."""
    settings = Settings.model_validate({"postgres_dsn": dsn, "data_dir": folder} | UNHURRIED | changed)
    metrics = Metrics(settings.all_sources)
    database, spool = Database(settings, metrics), Spool(settings)
    wake_ups, readers = WakeUps(database.acquire, settings), BodyReaders(settings)
    keeper = BatchWriter(database, Store(Windows()), Partitions(settings), wake_ups, settings, metrics)
    router = SpoolRouter(spool, keeper, settings, metrics, readers)
    batcher = Batcher(keeper, router, settings, metrics)
    await database.open()
    await router.open()
    async with wake_ups, ended_after(batcher.run(), router.run()) as (running, _):
        place = Place(batcher, router, metrics, wake_ups, running, readers)
        await until(place.is_direct)
        yield place
        batcher.stop()
        await asyncio.wait([running])
    await spool.close()
    await database.close()
    await readers.close()


@asynccontextmanager
async def ended_after(*works: Coroutine[Any, Any, None]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Tasks that run meanwhile, and no longer."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def letter(sample: Sample, **changed: Any) -> ParsedCallback:
    """The sample as it is when it has just been read; `changed` takes the place of the envelope's fields."""
    received_at, receipt = _CLOCK.stamp()
    envelope = envelope_of(sample, **{"received_at": received_at, "receipt": receipt} | changed)
    try:
        return ParsedCallback(envelope, parse(envelope, 64))
    except NotXmlError as error:
        return ParsedCallback(envelope, malformed=str(error))


def of_deployment(sample: Sample, name: str) -> Sample:
    """The same message about another deployment, in a transaction of that deployment's own."""
    body = sample.body.replace(b"tttdepzz", name.encode()).replace(b"depzz_g1", name.encode())
    told = {key: f"{name}-{value}" if key.lower().endswith("id") else value for key, value in sample.headers.items()}
    return replace(sample, body=body, headers=told)


async def decisions(keeper: BatchWriter, letters: Iterable[ParsedCallback]) -> list[Decision]:
    """What became of letters that must all be kept."""
    kept = await keeper.write(list(letters))
    assert all(isinstance(what, Decision) for what in kept), kept
    return [what for what in kept if isinstance(what, Decision)]


class Wire:
    """Stands between a program and a server, and cuts the connection instead of passing certain bytes on."""

    def __init__(self, dsn: str) -> None:
        self._server = urlsplit(dsn)
        self._cut_at: Callable[[bytes], bool] = lambda _: False
        self.cuts = 0
        self.dsn = ""
        self._joined: set[asyncio.Task[None]] = set()

    def cut_instead_of(self, answer: bytes, times: int) -> None:
        """Lose the next `times` answers of the server that contain these bytes, and the connection with them."""
        last = self.cuts + times
        self._cut_at = lambda data: answer in data and self.cuts < last

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[Wire]:
        """In place; `dsn` leads through it."""
        server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        place = self._server.netloc.rpartition(":")[0]
        self.dsn = self._server._replace(netloc=f"{place}:{port}").geturl()
        async with server:
            yield self
        if self._joined:  # else the loop may close before they do
            await asyncio.wait(self._joined, timeout=1)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._joined.add(task)
        there, back = await asyncio.open_connection(self._server.hostname, self._server.port)
        up = asyncio.create_task(self._pump(reader, back, cutting=False))
        down = asyncio.create_task(self._pump(there, writer, cutting=True))
        await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
        for task, end in ((up, back), (down, writer)):
            task.cancel()
            end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, cutting: bool) -> None:
        while data := await reader.read(65_536):
            if cutting and self._cut_at(data):
                self.cuts += 1
                return
            writer.write(data)
            await writer.drain()
