"""The way in by itself: a real server on a free port, and a keeper that keeps in a list."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from receiver.config.settings import Settings
from receiver.errors import CannotKeepError
from receiver.http.ingress import Ingress
from receiver.http.server import HasRoutes, make_app, start_site
from receiver.http.tls import ListenerTls
from receiver.model.envelope import Envelope
from receiver.model.notification import Outcome
from receiver.observability.metrics import Metrics
from receiver.parsing.body_readers import BodyReaders
from receiver.parsing.reading import Reading


@dataclass(frozen=True, slots=True)
class Kept:
    """What a sender is told."""

    outcome: Outcome | None
    reason: str


class Shelf:
    """Keeps envelopes in a list; refuses when told to, and waits when told to."""

    def __init__(self, metrics: Metrics) -> None:
        self.envelopes: list[Envelope] = []
        self.readings: list[Reading | None] = []
        self.full = False
        self.outcome: Outcome | None = Outcome.APPLIED
        """Of what can be read; None: as if it went into the spool."""
        self.gate = asyncio.Event()
        self.gate.set()
        self.reached = asyncio.Event()
        self._metrics = metrics
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, envelope: Envelope, reading: Reading | None, answer: Any) -> None:
        """Accept it, and tell the answer."""
        if self.gate.is_set() and self.full:
            raise CannotKeepError("the shelf is full")
        self._tasks.append(asyncio.create_task(self._tell(envelope, reading, answer)))

    async def _tell(self, envelope: Envelope, reading: Reading | None, answer: Any) -> None:
        try:
            answer.set_result(await self.accept(envelope, reading))
        except CannotKeepError as error:
            answer.set_exception(error)

    async def accept(self, envelope: Envelope, reading: Reading | None = None) -> Kept:
        """Malformed is what could not be decoded or is empty."""
        self.reached.set()
        await self.gate.wait()
        if self.full:
            raise CannotKeepError("the shelf is full")
        self.envelopes.append(envelope)
        self.readings.append(reading)
        outcome = self.outcome if envelope.body and not envelope.undecodable_because else Outcome.MALFORMED
        self._metrics.count_stored(envelope.source, "unknown", outcome or "pending")
        return Kept(outcome, envelope.undecodable_because or "the body is empty")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body read."""
        return json.loads(self.body)


@dataclass(slots=True)
class Serving:
    """A running server and what it keeps."""

    host: str
    port: int
    metrics: Metrics
    shelf: Shelf
    tls: ListenerTls | None = None
    end: Callable[[], Awaitable[None]] | None = None
    """Ends the server in order."""
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{self.host}:{self.port}"

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A bare connection."""
        return await asyncio.open_connection(self.host, self.port)

    async def send(self, *pieces: bytes) -> Answer:
        """The answer to bytes as they are."""
        reader, writer = await self.open()
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            return await answer_from(reader)
        finally:
            writer.close()

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: Iterable[tuple[str, str | bytes]] = ()
    ) -> Answer:
        """An ordinary request, whose fields may hold any bytes."""
        fields = [("Host", "receiver"), ("Content-Length", str(len(body))), *headers]
        lines = [
            name.encode() + b": " + (value.encode() if isinstance(value, str) else value) for name, value in fields
        ]
        head = b"\r\n".join([f"{method} {path} HTTP/1.1".encode(), *lines])
        return await self.send(head + b"\r\n\r\n" + body)

    def counts(self) -> dict[str, int]:
        """What adds up."""
        sums = self.metrics.sums()
        return {name: sums[name] for name in ("received", "stored", "refused", "in_flight")}

    def count(self, name: str, **labels: str) -> float:
        """One figure, as a scrape shows it."""
        value = self.metrics.registry.get_sample_value(f"esc_receiver_{name}", labels)
        assert value is not None, (name, labels)
        return value


async def answer_from(reader: asyncio.StreamReader) -> Answer:
    """The next answer on a connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-1])}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(int(head[0].split()[1]), headers, body)


@asynccontextmanager
async def serving(rooms: Iterable[HasRoutes] = (), **settings: object) -> AsyncIterator[Serving]:
    """The way in, with these settings."""
    chosen = Settings.model_validate({"port": 0, "stop_timeout_s": 1, "default_source": True} | settings)
    metrics = Metrics(chosen.all_sources)
    shelf, readers = Shelf(metrics), BodyReaders(chosen)
    app = make_app([Ingress(shelf, chosen, metrics, readers), *rooms], chosen)
    tls = ListenerTls(chosen, metrics)
    tls.open()
    runner = await start_site(app, chosen, metrics, tls.context)
    try:
        host, port = runner.addresses[0][:2]
        yield Serving(host, port, metrics, shelf, tls, runner.cleanup)
    finally:
        await runner.cleanup()
        await readers.close()
