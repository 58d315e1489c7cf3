"""Callbacks whose request has come as a whole are taken off their connection, past aiohttp's request, router, handler
task and response: these cost as much as all that a server which does nothing pays for a request.

What is out of the ordinary in any way (a body that is large or comes later, a source with a quota, a sender that may
not post, a head that is not HTTP, traces) is left to `Ingress.post`, from its beginning. Checks, counts and answers are
the same. Must not know XML, the lifecycle or PostgreSQL.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

import structlog
from aiohttp import HttpVersion11, StreamReader, hdrs, web
from aiohttp.http_parser import RawRequestMessage

from receiver.config.settings import Settings
from receiver.errors import CannotKeepError, ReceiverError
from receiver.http.arrival import Arrival
from receiver.http.ingress import Ingress, IntakeResult, malformed
from receiver.http.problem import serialized
from receiver.http.request_parser import refusal_of
from receiver.http.responses import acknowledged, keep_alive
from receiver.model.envelope import Envelope
from receiver.model.notification import POSTED, Outcome
from receiver.observability.labels import ROOT_CHANNEL

log = structlog.get_logger()

_BROKEN: Final = b""
"""In place of an answer: the connection is closed."""

Request = tuple[RawRequestMessage, StreamReader]


class Connection(Protocol):
    """Where a request came from, and its answer goes."""

    transport: asyncio.Transport | None
    peer: str | None

    def give(self, answer: bytes) -> None:
        """The answer to the request that was taken, if it is still wanted; nothing: close."""

    def untaken(self, message: RawRequestMessage, sent: bytes) -> Request:
        """A request whose body was read already, as if it was not."""


class Express:
    """Takes requests off connections."""

    def __init__(
        self, ingress: Ingress, settings: Settings, answer_to: Callable[[ReceiverError], web.Response]
    ) -> None:
        """`answer_to` makes the answer that says why a callback was not kept."""
        self._ingress = ingress
        self._settings = settings
        self._bytes_max = min(settings.body_bytes_max, settings.body_inline_bytes_max)
        sources = () if ingress.traced else frozenset(settings.all_sources) - ingress.quotas.sources
        self._paths = {f"/esc/{source}/{channel}": (source, str(channel)) for source in sources for channel in POSTED}
        if "default" in sources:
            self._paths["/"] = ("default", ROOT_CHANNEL)
        self.answer_to = answer_to
        self.keep_alive = keep_alive(settings.keepalive_timeout_s)

    def take(self, message: RawRequestMessage, payload: StreamReader, connection: Connection) -> Request | None:
        """None when it was taken; else what is left to others."""
        request = message, payload
        if message.method != hdrs.METH_POST or message.version != HttpVersion11 or message.should_close:
            return request
        if message.upgrade or payload.total_bytes > self._bytes_max or payload.exception() is not None:
            return request
        place = self._place(message.path)
        if place is None or hdrs.CONTENT_ENCODING in message.headers:
            return request
        arrival = Arrival(
            *place, message.url, message.raw_headers, message.headers, connection.peer, connection.transport
        )
        return self._begin(arrival, request, connection)

    def _place(self, target: str) -> tuple[str, str, str | None] | None:
        """Source, channel and token of a request target, as the router would find them; None where it must look."""
        path = target.partition("?")[0]
        if found := self._paths.get(path):
            return *found, None
        head, _, token = path.rpartition("/")
        found = self._paths.get(head)
        return (*found, token) if found and token and token.isalnum() and token.isascii() else None

    def _begin(self, arrival: Arrival, request: Request, connection: Connection) -> Request | None:
        started_s, ingress, (message, payload) = time.perf_counter(), self._ingress, request
        try:
            sender = ingress.admit(arrival)
            head = ingress.heads.read(arrival.raw_headers, self._settings.header_bytes_max)
        except ReceiverError:
            return request
        if refusal_of(arrival.raw_headers):
            return request
        sent = payload.read_nowait()
        stored = ingress.readers.store_small(sent, None)
        if stored is None:
            return connection.untaken(message, sent)
        ingress.count_received(arrival)
        envelope = ingress.envelope(arrival, sender, head, stored)
        taken = Taken(self, ingress, connection, arrival, envelope, started_s)
        try:
            ingress.intake.begin(envelope, None, taken)
        except CannotKeepError as error:
            taken.set_exception(error)
        return None


class Taken:
    """A callback that was taken, for whoever makes it durable: it stands where `Ingress.post` has a future."""

    __slots__ = ("_arrival", "_connection", "_envelope", "_express", "_ingress", "_started_s")

    def __init__(
        self,
        express: Express,
        ingress: Ingress,
        connection: Connection,
        arrival: Arrival,
        envelope: Envelope,
        started_s: float,
    ) -> None:
        self._express = express
        self._ingress = ingress
        self._connection = connection
        self._arrival = arrival
        self._envelope = envelope
        self._started_s = started_s

    def done(self) -> bool:
        """Never before it is answered: nobody else waits who could give up."""
        return False

    def set_result(self, result: IntakeResult) -> None:
        """Record and answer it; never raises, since others wait behind it."""
        answer = _BROKEN
        try:
            receipt = str(self._envelope.receipt)
            self._ingress.record(self._envelope, receipt, result, time.perf_counter() - self._started_s, None)
            answer = self._answer(receipt, result)
        except Exception:
            log.exception("a callback was kept, but not answered", receipt=str(self._envelope.receipt))
        self._connection.give(answer)

    def set_exception(self, error: Exception) -> None:
        """Count it as refused, and say so; never raises."""
        answer = _BROKEN
        try:
            self._ingress.refuse(error, self._arrival)
            if isinstance(error, ReceiverError):
                answer = serialized(self._express.answer_to(error), self._express.keep_alive)
        except Exception:
            log.exception("a callback was not kept, and not answered")
        self._connection.give(answer)

    def _answer(self, receipt: str, result: IntakeResult) -> bytes:
        again = self._express.keep_alive
        if result.outcome is Outcome.MALFORMED:
            return serialized(malformed(receipt, result), again)
        return acknowledged(receipt, result.outcome, again, empty=self._ingress.answers_204(self._envelope.source))
