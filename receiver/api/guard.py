"""What every request passes before its endpoint: limits, tokens, parameters; and the answer to each error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from receiver.api import api_errors, parameters
from receiver.api.api_errors import BodyError, ForgottenError, ParameterError, QueryError, TooManyError
from receiver.api.endpoint import Endpoint
from receiver.api.rate_limits import RateLimits
from receiver.api.tokens import Tokens
from receiver.config.settings import Settings
from receiver.http.problem import problem
from receiver.http.sender_address import SenderAddresses
from receiver.observability.metrics import Metrics

Answer = Callable[[web.Request, Mapping[str, Any]], Awaitable[web.StreamResponse]]
"""Answers a request with the values of its parameters."""
LONG_RUNNING = frozenset({"feed", "operation", "reconcile"})
"""Endpoints that may take their time; they have limits of their own."""
LOGIN = "log_in"

_PROBLEMS: Mapping[type[QueryError], tuple[int, str, str]] = {
    api_errors.StaleCursorError: (409, "cursor-of-another-database", "The position is not of this database"),
    api_errors.ParameterError: (400, "parameter", "A parameter is wrong"),
    api_errors.NotJsonError: (415, "media-type", "The body is no JSON"),
    api_errors.LongBodyError: (413, "body-too-large", "The body is too large"),
    api_errors.SlowBodyError: (408, "body-too-slow", "The body took too long"),
    api_errors.NothingFoundError: (404, "not-found", "Nothing of this name is known"),
    api_errors.ForgottenError: (410, "forgotten", "The ledger does not go back so far"),
    api_errors.TokenError: (401, "token", "A token is needed"),
    api_errors.ScopeError: (403, "scope", "The token does not open this"),
    api_errors.TooOftenError: (429, "too-often", "Too many questions of one client"),
    api_errors.TooManyError: (503, "too-many", "Too many questions at once"),
    api_errors.UnavailableError: (503, "unavailable", "It cannot be answered now"),
}


class Guard:
    """Makes handlers of answers."""

    def __init__(self, tokens: Tokens, limits: RateLimits, metrics: Metrics, settings: Settings) -> None:
        self._tokens = tokens
        self._limits = limits
        self._addresses = SenderAddresses(settings.trusted_proxies)
        self._metrics = metrics
        self._retry_after_s = settings.retry_after_s
        self._concurrency_max = settings.query_concurrency_max
        self._running = asyncio.Semaphore(self._concurrency_max)

    def handler(self, endpoint: Endpoint, answer: Answer) -> Handler:
        """The handler of an endpoint."""

        async def handle(request: web.Request) -> web.StreamResponse:
            started_s = time.perf_counter()
            try:
                response = await self._answer(endpoint, answer, request)
            except QueryError as error:
                response = self._problem(endpoint, error)
            self._metrics.queries.labels(endpoint.name, str(response.status)).inc()
            if endpoint.name not in LONG_RUNNING:
                self._metrics.query_seconds.labels(endpoint.name).observe(time.perf_counter() - started_s)
            return response

        return handle

    async def _answer(self, endpoint: Endpoint, answer: Answer, request: web.Request) -> web.StreamResponse:
        self._limits.count(self._client(endpoint, request))
        if endpoint.scope:
            self._tokens.check(request, endpoint.scope)
        values = parameters.read(request, endpoint.parameters)
        if endpoint.name in LONG_RUNNING:
            response = await answer(request, values)
            if endpoint.scope and not response.prepared:
                self._tokens.check(request, endpoint.scope)  # the session may have ended meanwhile
            return response
        if self._running.locked():
            raise TooManyError(f"query_concurrency_max ({self._concurrency_max}) questions are being answered")
        async with self._running:
            return await answer(request, values)

    def _client(self, endpoint: Endpoint, request: web.Request) -> str:
        """Address and token, or address and what else is limited by itself: attempts to log in, and sessions.

        An unknown token is left out, else each made-up one would be another client.
        """
        address = self._addresses.client(request)
        if endpoint.name == LOGIN:
            return f"{address} {LOGIN}"
        return f"{address} {self._tokens.shown_by(request)}"

    def _problem(self, endpoint: Endpoint, error: QueryError) -> web.Response:
        status, slug, title = _PROBLEMS[type(error)]
        headers: dict[str, str] = {hdrs.RETRY_AFTER: str(self._retry_after_s)} if error.sending_again_helps else {}
        if status == 401:
            headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="esc-receiver"'
        elif status == 403:
            headers[hdrs.WWW_AUTHENTICATE] = f'Bearer error="insufficient_scope", scope="{endpoint.scope}"'
        members = {"parameter": error.parameter} if isinstance(error, ParameterError) else {}
        if isinstance(error, ForgottenError):
            members |= {"parameter": "at", "earliest_at": f"{error.earliest_at:%Y-%m-%dT%H:%M:%SZ}"}
        if isinstance(error, BodyError) and error.setting:
            members["setting"] = error.setting
        return problem(status, slug, title, str(error), headers=headers, **members)
