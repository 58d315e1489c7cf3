"""The HTTP protocol of aiohttp, with our answers to what never becomes a request.

A head that is broken or too large is answered with a problem document that repeats none of its bytes
(aiohttp says 400 in plain text and echoes them), and counted. It must not know paths nor callbacks.
"""

from __future__ import annotations

import asyncio
import select
from contextlib import suppress
from typing import Any, Final, cast

import structlog
from aiohttp import StreamReader, web
from aiohttp.http_exceptions import BadHttpMethod, LineTooLong
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from receiver.config.settings import Settings
from receiver.http.connections import Connections, HeadTimes
from receiver.http.express import Express
from receiver.http.problem import problem, serialized
from receiver.http.request_parser import Request, RequestParser
from receiver.observability.labels import Rejected
from receiver.observability.metrics import Metrics

log = structlog.get_logger()

READ_BYTES: Final = 4_096
"""Of a connection, before another has its turn: a body in chunks of one byte takes a microsecond for each."""

_ENDS: Final = (b"\r\nConnection: keep-alive\r\n", b"\r\nConnection: close\r\n")
"""What differs in the last answer of a connection."""
_LOOK_AGAIN_S = 1
"""By then what was unread has been read, and the connection is no longer idle."""


class Limits:
    """What all connections share: the counts, the times, and the answers to what never becomes a request."""

    def __init__(self, settings: Settings) -> None:
        self.connections = Connections(settings)
        self.head_times = HeadTimes(settings.head_timeout_s)
        self.head_bytes_max = settings.header_bytes_max + settings.request_line_bytes_max
        again = {"Retry-After": str(settings.retry_after_s)}
        too_many = (503, "too-many-connections", "Too many connections")
        self.refusals = {
            Rejected.TOO_MANY_CONNECTIONS: serialized(_limit(*too_many, "connections_max", again)),
            Rejected.TOO_MANY_OF_ADDRESS: serialized(_limit(*too_many, "connections_per_address_max", again)),
            Rejected.HEADER_TOO_LARGE: serialized(
                _limit(431, "header-too-large", "The header is too large", "header_bytes_max")
            ),
            Rejected.HEAD_TOO_SLOW: serialized(
                _limit(408, "head-too-slow", "The head of the request took too long", "head_timeout_s")
            ),
        }


class Protocol(RequestHandler):
    """One connection. What is not taken by `express` runs through aiohttp's own code, but for `data_received`, which
    takes 1 µs. While a taken request is not answered, aiohttp sees an idle connection and gets nothing to read."""

    __slots__ = (
        "_all_given", "_behind", "_client", "_counted", "_express", "_heads", "_in_flight", "_is_last", "_limits",
        "_metrics", "_owes_head", "on_reserve", "peer",
    )  # fmt: skip

    def __init__(
        self, manager: web.Server, metrics: Metrics, limits: Limits, express: Express | None = None, **options: Any
    ) -> None:
        super().__init__(manager, **options)
        self._express = express
        self._in_flight = False
        """A request was taken and is not answered."""
        self._is_last = False
        """The next answer is the last."""
        self._behind = b""
        """What came meanwhile."""
        self._all_given: asyncio.Future[None] | None = None
        """Waits for the answer, when the server is to end."""
        self.peer: str | None = None
        """The address of the other end."""
        self._metrics = metrics
        self._limits = limits
        self._counted = self._owes_head = False
        self._client: str | None = None
        self.on_reserve = False
        """Whether it was taken only because it may bring callbacks."""
        take = self._take if express else None
        self._heads = RequestParser(self._make_parser, self.max_headers, self.max_field_size, take)
        self._parser = cast(Any, self._heads)

    def answer_once_more(self) -> None:
        """Whatever it is asked next is answered as the last of this connection; idle until then, it stays open."""
        self._is_last = True
        make = self._request_factory
        assert make is not None  # it is open

        def make_last(message: RawRequestMessage, *rest: Any) -> web.BaseRequest:
            return make(message._replace(should_close=True), *rest)

        self._request_factory = make_last

    def _make_parser(self) -> HttpRequestParser:
        """As aiohttp makes its own."""
        return HttpRequestParser(
            self,
            self._loop,
            self._read_bufsize,
            max_line_size=self.max_line_size,
            max_field_size=self.max_field_size,
            max_headers=self.max_headers,
            payload_exception=web.RequestPayloadError,
            auto_decompress=False,
            max_msg_queue_size=self._max_msg_queue_size,
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Turns the connection away when there are too many, in all or of its address."""
        connections = self._limits.connections
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) else None
        self._client = connections.client(self.peer)
        if refusal := connections.refusal(self._client):
            self._count(refusal)
            self._force_close = True
            cast(asyncio.Transport, transport).write(self._limits.refusals[refusal])
            transport.close()
            return
        self.on_reserve = connections.add(self._client)
        self._counted = True
        if hasattr(transport, "max_size"):
            transport.max_size = READ_BYTES
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Free the connection's place."""
        if self._counted:
            self._limits.connections.remove(self._client)
            self._end_head()
            self._counted = False
            if self._heads.refused_unfinished:
                self._count(Rejected.BROKEN_HEAD)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Limits the size of an incomplete head: aiohttp limits its fields and their number, not their sum."""
        if self._in_flight:
            if data:  # aiohttp's own look for more comes without
                self._keep_behind(data)
            return
        waiting = len(self._messages)
        super().data_received(data)
        while self._heads.unread:
            super().data_received(self._heads.unread.popleft())
        if len(self._messages) > waiting:
            if self._owes_head:
                self._end_head()
            if not isinstance(self._messages[-1][0], RawRequestMessage):
                self._fail_body_reader()
        elif self._heads.head_bytes > self._limits.head_bytes_max:
            self._stop_reading(Rejected.HEADER_TOO_LARGE)
        elif self._heads.head_bytes and not self._owes_head:
            self._begin_head()

    def _take(self, message: RawRequestMessage, payload: StreamReader) -> Request | None:
        """Offer a request to `express`, when nothing else goes on here."""
        assert self._express is not None  # else this is not called
        if self._messages or self._waiter is None or self._waiter.done() or self._close or self._force_close:
            return message, payload
        self._in_flight = True
        left = self._express.take(message, payload, self)
        if left:
            self._in_flight = False
        elif self._owes_head:
            self._end_head()
        return left

    def untaken(self, message: RawRequestMessage, sent: bytes) -> Request:
        """A request whose body was read already, as if it was not."""
        payload = StreamReader(self, self._read_bufsize, loop=self._loop)
        payload.feed_data(sent)
        payload.feed_eof()
        return message, payload

    def give(self, answer: bytes) -> None:
        """Answer the request that was taken, and go on with what came behind it."""
        self._in_flight = False
        ends = self._is_last or self._close or self._force_close or not answer
        if self.transport is not None:
            self.transport.write(answer.replace(*_ENDS, 1) if ends else answer)
        if self._all_given is not None and not self._all_given.done():
            self._all_given.set_result(None)
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if ends:
            self.force_close()
        elif self._behind:
            self._loop.call_soon(self._go_on)

    def _keep_behind(self, data: bytes) -> None:
        """One request after the other: the next is read when the one before is answered."""
        if not self._behind and self.transport is not None:
            self.transport.pause_reading()
        self._behind += data

    def _go_on(self) -> None:
        data, self._behind = self._behind, b""
        if self.transport is not None:
            self.transport.resume_reading()
            self.data_received(data)

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """Ends the connection, after its last answer."""
        if self._in_flight and self.transport is not None:
            self._all_given = self._loop.create_future()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._all_given
        await super().shutdown(timeout)

    def _begin_head(self) -> None:
        self._owes_head = True
        self._limits.head_times.begin(self)

    def _end_head(self) -> None:
        self._owes_head = False
        self._limits.head_times.end(self)

    def _process_keepalive(self) -> None:
        """Looks once more before an idle connection is closed: a request may have come that nobody has read yet."""
        is_due = self._loop.time() >= self._next_keepalive_close_time
        is_idle = self._waiter is not None and not self._waiter.done()
        if self._in_flight or (is_due and is_idle and _has_unread(self.transport)):
            self._keepalive_handle = self._loop.call_later(_LOOK_AGAIN_S, self._process_keepalive)
            return
        super()._process_keepalive()

    def _fail_body_reader(self) -> None:
        """The data may have broken the transfer encoding of a body; aiohttp would leave its reader waiting."""
        if self._current_request is not None:
            self._current_request.content.set_exception(web.RequestPayloadError("broken transfer encoding"))

    def give_up_head(self) -> None:
        """The head took too long. Who has sent nothing yet gets no answer: there is no request."""
        self._owes_head = False
        if self._heads.head_bytes:
            self._stop_reading(Rejected.HEAD_TOO_SLOW)
        else:
            self._count(Rejected.HEAD_TOO_SLOW)
            self.force_close()

    def _stop_reading(self, reason: Rejected) -> None:
        self._count(reason)
        if self._waiter is None:
            self.close()  # once the request before it is answered
        elif self.transport is not None:
            self.transport.write(self._limits.refusals[reason])
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to a head that could not be read, or to an error that nobody caught."""
        if status >= 500:
            log.error("request failed", exc_info=exc)
            answer = problem(status, "internal-error", "Internal error")
        else:
            answer = self._rejected(exc)
        answer.force_close()
        return answer

    def _rejected(self, exc: BaseException | None) -> web.Response:
        if isinstance(exc, LineTooLong) and exc.args[1] == self.max_line_size:
            self._count(Rejected.REQUEST_LINE_TOO_LONG)
            return _limit(414, "request-line-too-long", "The request target is too long", "request_line_bytes_max")
        if isinstance(exc, LineTooLong):
            self._count(Rejected.HEADER_FIELD_TOO_LARGE)
            return _limit(431, "header-field-too-large", "A header field is too large", "header_field_bytes_max")
        if "Too many headers" in str(exc):
            self._count(Rejected.TOO_MANY_HEADERS)
            return _limit(431, "too-many-headers", "There are too many header fields", "headers_max")
        self._count(Rejected.BROKEN_HEAD)
        detail = "This port speaks HTTP, not HTTPS." if _is_tls(exc) else None
        return problem(400, "broken-head", "The head of the request is not HTTP", detail)

    def _count(self, reason: Rejected) -> None:
        self._metrics.rejected_before_routing.labels(reason).inc()
        log.debug("rejected before routing", reason=reason, peer=self.peer)


def _has_unread(transport: asyncio.Transport | None) -> bool:
    """Whether the connection holds bytes, or an end, that were not read yet."""
    socket = transport.get_extra_info("socket") if transport else None
    if socket is None or socket.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(socket.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _limit(status: int, slug: str, title: str, setting: str, headers: dict[str, str] | None = None) -> web.Response:
    return problem(status, slug, title, f"The limit is set by {setting}.", headers=headers, setting=setting)


def _is_tls(exc: BaseException | None) -> bool:
    return isinstance(exc, BadHttpMethod) and "HTTPS" in str(exc)
