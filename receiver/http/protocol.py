"""The HTTP protocol of aiohttp, with our answers to what never becomes a request.

A head that is broken or too large is answered with a problem document that repeats none of its bytes
(aiohttp says 400 in plain text and echoes them), and counted. It must not know paths nor callbacks.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

import structlog
from aiohttp import hdrs, web
from aiohttp.http_exceptions import BadHttpMethod, LineTooLong
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from receiver.http.problem import problem
from receiver.http.request_parser import RequestParser
from receiver.observability.labels import Rejected
from receiver.observability.metrics import Metrics

log = structlog.get_logger()

READ_BYTES: Final = 4_096
"""Of a connection, before another has its turn: a body in chunks of one byte takes a microsecond for each."""


class Connections:
    """The number of connections, and the limits that all share."""

    def __init__(self, connections_max: int, head_bytes_max: int, retry_after_s: int) -> None:
        self.connections_max = connections_max
        self.head_bytes_max = head_bytes_max
        self.open = 0
        again = {"Retry-After": str(retry_after_s)}
        self.too_many = _serialize(
            _limit(503, "too-many-connections", "Too many connections", "connections_max", again)
        )
        self.too_large = _serialize(_limit(431, "header-too-large", "The header is too large", "header_bytes_max"))


class Protocol(RequestHandler):
    """One connection. A good request runs through aiohttp's own code, but for `data_received`, which takes 0.5 µs."""

    __slots__ = ("_connections", "_counted", "_heads", "_metrics")

    def __init__(self, manager: web.Server, metrics: Metrics, connections: Connections, **limits: Any) -> None:
        super().__init__(manager, **limits)
        self._metrics = metrics
        self._connections = connections
        self._counted = False
        self._heads = RequestParser(self._make_parser, self.max_headers, self.max_field_size)
        self._parser = cast(Any, self._heads)

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
        """Turns the connection away when there are too many."""
        if self._connections.open >= self._connections.connections_max:
            self._count(Rejected.TOO_MANY_CONNECTIONS)
            self._force_close = True
            cast(asyncio.Transport, transport).write(self._connections.too_many)
            transport.close()
            return
        self._connections.open += 1
        self._counted = True
        if hasattr(transport, "max_size"):
            transport.max_size = READ_BYTES
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Free the connection's place."""
        if self._counted:
            self._connections.open -= 1
            self._counted = False
            if self._heads.refused_unfinished:
                self._count(Rejected.BROKEN_HEAD)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Limits the size of an incomplete head: aiohttp limits its fields and their number, not their sum."""
        waiting = len(self._messages)
        super().data_received(data)
        while self._heads.unread:
            super().data_received(self._heads.unread.popleft())
        if len(self._messages) > waiting:
            if not isinstance(self._messages[-1][0], RawRequestMessage):
                self._fail_body_reader()
        elif self._heads.head_bytes > self._connections.head_bytes_max:
            self._stop_reading()

    def _fail_body_reader(self) -> None:
        """The data may have broken the transfer encoding of a body; aiohttp would leave its reader waiting."""
        if self._current_request is not None:
            self._current_request.content.set_exception(web.RequestPayloadError("broken transfer encoding"))

    def _stop_reading(self) -> None:
        self._count(Rejected.HEADER_TOO_LARGE)
        if self._waiter is None:
            self.close()  # once the request before it is answered
        elif self.transport is not None:
            self.transport.write(self._connections.too_large)
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
        log.debug("rejected before routing", reason=reason, peer=self._peer)

    @property
    def _peer(self) -> str | None:
        peer = self.peername
        return peer[0] if isinstance(peer, tuple) else None


def _limit(status: int, slug: str, title: str, setting: str, headers: dict[str, str] | None = None) -> web.Response:
    return problem(status, slug, title, f"The limit is set by {setting}.", headers=headers, setting=setting)


def _serialize(answer: web.Response) -> bytes:
    """An answer as bytes, for a connection without a request that could be answered."""
    assert isinstance(answer.body, bytes)  # a problem's
    headers = {**answer.headers, hdrs.CONTENT_LENGTH: str(len(answer.body)), hdrs.CONNECTION: "close"}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} {answer.reason}\r\n{head}\r\n".encode() + answer.body


def _is_tls(exc: BaseException | None) -> bool:
    return isinstance(exc, BadHttpMethod) and "HTTPS" in str(exc)
