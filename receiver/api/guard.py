"""What stands before every endpoint: limits, tokens, parameters; and what an error of the API is answered with."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import hdrs, web

from receiver.api import parameters
from receiver.api.api_errors import (
    NothingFoundError,
    ParameterError,
    QueryError,
    ScopeError,
    StaleCursorError,
    TokenError,
    TooManyError,
    TooOftenError,
    UnavailableError,
)
from receiver.api.api_metrics import Measures
from receiver.api.endpoints import Endpoint
from receiver.api.rate_limits import Limits
from receiver.api.tokens import Tokens
from receiver.config.settings import Settings
from receiver.http.problem import problem

Answer = Callable[[web.Request, Mapping[str, Any]], Awaitable[web.StreamResponse]]
LASTING = frozenset({"feed", "operation"})
"""Endpoints that may take their time; they have limits of their own."""

_ANSWERS: Mapping[type[QueryError], tuple[int, str, str]] = {
    StaleCursorError: (409, "cursor-of-another-database", "The position is not of this database"),
    ParameterError: (400, "parameter", "A parameter is wrong"),
    NothingFoundError: (404, "not-found", "Nothing of this name is known"),
    TokenError: (401, "token", "A token is needed"),
    ScopeError: (403, "scope", "The token does not open this"),
    TooOftenError: (429, "too-often", "Too many questions of one client"),
    TooManyError: (503, "too-many", "Too many questions at once"),
    UnavailableError: (503, "unavailable", "It cannot be answered now"),
}


class Guard:
    """Lets questions through to what answers them."""

    def __init__(self, tokens: Tokens, limits: Limits, measures: Measures, settings: Settings) -> None:
        self._tokens = tokens
        self._limits = limits
        self._measures = measures
        self._settings = settings

    def before(self, endpoint: Endpoint, answer: Answer) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """The handler of an endpoint."""

        async def handle(request: web.Request) -> web.StreamResponse:
            started_s = time.perf_counter()
            try:
                response = await self._answered(endpoint, answer, request)
            except QueryError as error:
                response = self._refused(endpoint, error)
            self._measures.questions.labels(endpoint.name, str(response.status)).inc()
            if endpoint.name not in LASTING:
                self._measures.seconds.labels(endpoint.name).observe(time.perf_counter() - started_s)
            return response

        return handle

    async def _answered(self, endpoint: Endpoint, answer: Answer, request: web.Request) -> web.StreamResponse:
        self._limits.count(self._client(request))
        if endpoint.scope:
            self._tokens.check(request, endpoint.scope)
        asked = parameters.read(request, endpoint.parameters)
        if endpoint.name in LASTING:
            return await answer(request, asked)
        with self._limits.one_more():
            return await answer(request, asked)

    def _client(self, request: web.Request) -> str:
        """By its address and, when it shows a token of ours, by that: what is made up counts for nothing."""
        known = not self._tokens.open and self._tokens.scopes(request)
        return f"{request.remote} {request.headers.get(hdrs.AUTHORIZATION, '') if known else ''}"

    def _refused(self, endpoint: Endpoint, error: QueryError) -> web.Response:
        status, slug, title = next(_ANSWERS[kind] for kind in type(error).__mro__ if kind in _ANSWERS)
        headers: dict[str, str] = (
            {hdrs.RETRY_AFTER: str(self._settings.retry_after_s)} if error.sending_again_helps else {}
        )
        if status == 401:
            headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="esc-receiver"'
        elif status == 403:
            headers[hdrs.WWW_AUTHENTICATE] = f'Bearer error="insufficient_scope", scope="{endpoint.scope}"'
        members = {"parameter": error.parameter} if isinstance(error, ParameterError) else {}
        return problem(status, slug, title, str(error), headers=headers, **members)
