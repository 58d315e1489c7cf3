"""The server: routes of all rooms on one application, and the one table of which error gets which status.

Must not know what the rooms do. There is no access log, because a path may end in a token.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Container, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from typing import Protocol as Shape

import structlog
from aiohttp import HttpVersion11, hdrs, web

from receiver.config.addresses import Address, callback_address
from receiver.config.settings import Settings
from receiver.errors import (
    AddressError,
    BasicCredentialsError,
    BodyCutOffError,
    BodyReadersBusyError,
    BodyTooLargeError,
    BodyTooSlowError,
    CannotKeepError,
    CertificateError,
    CredentialsError,
    HeaderTooLargeError,
    NoConnectionLeftError,
    QuotaError,
    ReceiverError,
    SetupError,
    UnknownSourceError,
)
from receiver.http.express import Express
from receiver.http.ingress import Ingress, is_callback_path
from receiver.http.listening import BACKLOG, bind_error
from receiver.http.problem import problem, problem_of_status
from receiver.http.protocol import Limits, Protocol
from receiver.http.responses import keep_alive
from receiver.observability.labels import Rejected
from receiver.observability.metrics import Metrics

log = structlog.get_logger()

TURNS_TO_BEGIN = 2
"""Of the event loop, from accepting a connection to serving it."""
POLL_S = 0.02
EXPRESS = web.AppKey("EXPRESS", Express)
"""What takes ordinary callbacks off the connections."""

Serve = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class HasRoutes(Shape):
    """A room that answers requests."""

    def routes(self) -> list[web.RouteDef]:
        """Its paths and their handlers."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    slug: str
    title: str
    setting: str | None = None
    challenge: str | None = None
    close: bool = False
    """Close the connection: the rest of the request cannot be used."""


_ANSWERS: dict[type[ReceiverError], _Answer] = {
    UnknownSourceError: _Answer(404, "unknown-source", "No such source", "unknown_source"),
    CredentialsError: _Answer(401, "credentials", "The credentials are missing or wrong", "sources"),
    BasicCredentialsError: _Answer(
        401, "credentials", "The credentials are missing or wrong", "sources", 'Basic realm="esc-receiver"'
    ),
    CertificateError: _Answer(403, "certificate", "The client certificate is missing or another's", "sources"),
    AddressError: _Answer(403, "address", "The address is not allowed", "sources"),
    HeaderTooLargeError: _Answer(431, "header-too-large", "The header is too large", "header_bytes_max"),
    BodyTooLargeError: _Answer(413, "body-too-large", "The body is too large", "body_bytes_max"),
    BodyTooSlowError: _Answer(408, "body-too-slow", "The body took too long", "body_timeout_s", close=True),
    BodyCutOffError: _Answer(400, "body-cut-off", "The body is not complete", close=True),
    BodyReadersBusyError: _Answer(503, "body-readers-busy", "Too many large bodies wait", "body_readers_queue_max"),
    QuotaError: _Answer(429, "quota", "The source sends too much", "sources"),
    NoConnectionLeftError: _Answer(
        503, "too-many-connections", "Too many connections", "connections_reserved", close=True
    ),
    CannotKeepError: _Answer(503, "cannot-keep", "The callback could not be kept"),
}


def make_app(rooms: Iterable[HasRoutes], settings: Settings) -> web.Application:
    """The application with the routes of all rooms; errors are answered when it is served by `start_site`."""
    app = web.Application(client_max_size=settings.body_bytes_max)
    for room in rooms:
        app.add_routes(room.routes())
        if isinstance(room, Ingress):
            app[EXPRESS] = Express(room, settings, partial(_problem_of, retry_after_s=settings.retry_after_s))
    app.on_response_prepare.append(_harden)
    return app


async def start_site(
    app: web.Application,
    settings: Settings,
    metrics: Metrics,
    tls: ssl.SSLContext | None = None,
    sockets: Sequence[socket.socket] = (),
    address: Address | None = None,
    limits: Limits | None = None,
) -> web.AppRunner:
    """Serves the application, over TLS where it is given; `runner.addresses` tells where, `runner.cleanup()` ends it.

    It listens on `sockets`; without any, at the address, which is that of callbacks unless one is given. `limits` are
    those of another one, if both are to share them. Raises SetupError when it cannot be served there.
    """
    address = address or callback_address(settings)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=settings.stop_timeout_s)
    await runner.setup()
    assert runner.server is not None  # it was just set up
    runner.server.request_handler = _with_problems(runner.server.request_handler, settings, metrics)
    limits = limits or Limits(settings)
    try:
        for one in sockets or (None,):
            await _Site(runner, settings, metrics, tls, app.get(EXPRESS), limits, one or address).start()
    except OSError as error:
        await runner.cleanup()
        raise SetupError(bind_error(error, address)) from error
    return runner


async def linger(runner: web.AppRunner, linger_s: float) -> None:
    """Take no new connection; answer once more on each that is open, until none is left or the time is over.

    So a sender on a kept connection learns by an answer that it ends, not by a request that finds it closed.
    """
    assert runner.server is not None  # it serves
    for site in list(runner.sites):
        if isinstance(site, _Site):
            await site.accept_no_more()
        await site.stop()
    for connection in runner.server.connections:
        if isinstance(connection, Protocol):
            connection.answer_once_more()
    with suppress(TimeoutError):
        async with asyncio.timeout(linger_s):
            while runner.server.connections:  # noqa: ASYNC110  # aiohttp tells nobody when one is closed
                await asyncio.sleep(POLL_S)


class _Site(web.BaseSite):
    """A site whose connections speak our `Protocol`."""

    def __init__(
        self,
        runner: web.AppRunner,
        settings: Settings,
        metrics: Metrics,
        tls: ssl.SSLContext | None,
        express: Express | None,
        limits: Limits,
        listener: socket.socket | Address,
    ) -> None:
        super().__init__(runner, ssl_context=tls)
        self._express = express
        self._settings = settings
        self._metrics = metrics
        self._limits = limits
        self._listener = listener

    @property
    def name(self) -> str:
        """Where it listens."""
        host, port = self._listener[:2] if isinstance(self._listener, Address) else self._listener.getsockname()[:2]
        return f"{'https' if self._ssl_context else 'http'}://{host}:{port}"

    async def start(self) -> None:
        """Begins to listen."""
        await super().start()
        loop = asyncio.get_running_loop()
        tls: dict[str, Any] = {"ssl": self._ssl_context}
        if self._ssl_context:
            tls["ssl_handshake_timeout"] = self._settings.tls_handshake_timeout_s
        if isinstance(self._listener, Address):
            self._server = await loop.create_server(self._protocol, self._listener.host, self._listener.port, **tls)
        else:
            self._server = await loop.create_server(self._protocol, sock=self._listener, **tls)
            self._listener.listen(BACKLOG)  # asyncio has set it to the number that it accepts in one turn

    async def accept_no_more(self) -> None:
        """Leave what waits to whoever else listens on the socket.

        asyncio drops those that it has accepted and not yet begun to serve when its server is closed; so they get a
        turn of the loop first.
        """
        loop = asyncio.get_running_loop()
        if isinstance(self._server, asyncio.Server):
            for listener in self._server.sockets:
                loop.remove_reader(listener.fileno())
        for _ in range(TURNS_TO_BEGIN):
            await asyncio.sleep(0)

    def _protocol(self) -> Protocol:
        manager, settings = self._runner.server, self._settings
        assert manager is not None  # the runner was set up before the site was made
        return Protocol(
            manager,
            self._metrics,
            self._limits,
            self._express,
            loop=asyncio.get_running_loop(),
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=settings.keepalive_timeout_s,
            lingering_time=settings.body_timeout_s,
            max_line_size=settings.request_line_bytes_max,
            max_field_size=settings.header_field_bytes_max,
            max_headers=settings.headers_max,
        )


def _with_problems(handler: Serve, settings: Settings, metrics: Metrics) -> Serve:
    """Turns errors into problem documents: the outermost step, around routing too.

    aiohttp's middlewares would do the same, and take 3 µs of every request for it.
    """

    sources, retry_after_s = frozenset(settings.all_sources), settings.retry_after_s

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        try:
            if getattr(request.protocol, "on_reserve", False):
                _check_reserve(request, sources, metrics)
            return await handler(request)
        except ReceiverError as error:
            return _problem_of(error, retry_after_s)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            allow = error.headers.get(hdrs.ALLOW)
            return problem_of_status(error.status, {hdrs.ALLOW: allow} if allow else None)
        except Exception as error:
            log.exception("request failed", error=type(error).__name__)
            return problem(500, "internal-error", "Internal error")

    return answer


def _check_reserve(request: web.BaseRequest, sources: Container[str], metrics: Metrics) -> None:
    if not is_callback_path(request.path, sources):
        metrics.rejected_before_routing.labels(Rejected.TOO_MANY_CONNECTIONS).inc()
        raise NoConnectionLeftError("the connections left are for callbacks (connections_reserved)")


def _problem_of(error: ReceiverError, retry_after_s: int) -> web.Response:
    answer = next((_ANSWERS[kind] for kind in type(error).__mro__ if kind in _ANSWERS), None)
    if answer is None:
        log.error("request failed", exc_info=error)
        return problem(500, "internal-error", "Internal error")
    after_s = error.retry_after_s if isinstance(error, QuotaError) else retry_after_s
    headers: dict[str, str] = {hdrs.RETRY_AFTER: str(after_s)} if error.sending_again_helps else {}
    if answer.challenge:
        headers[hdrs.WWW_AUTHENTICATE] = answer.challenge
    response = problem(answer.status, answer.slug, answer.title, str(error), headers=headers, setting=answer.setting)
    if answer.close:
        response.force_close()
    return response


async def _harden(request: web.Request, response: web.StreamResponse) -> None:
    if response.keep_alive and request.version == HttpVersion11 and not isinstance(response, web.WebSocketResponse):
        response.headers.setdefault(hdrs.CONNECTION, "keep-alive")
        response.headers["Keep-Alive"] = keep_alive(request.protocol.keepalive_timeout)
    response.headers[hdrs.SERVER] = "esc-receiver"
    response.headers["X-Content-Type-Options"] = "nosniff"
