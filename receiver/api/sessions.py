"""Sessions of the board: a token is sent once and exchanged for a cookie that scripts cannot read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from aiohttp import hdrs, web

from receiver.api.answers import json_answer
from receiver.api.api_errors import TokenError
from receiver.api.parameters import TEXT_MAX
from receiver.api.request_body import read_bytes
from receiver.api.tokens import COOKIE, Tokens
from receiver.config.settings import Settings
from receiver.http.problem import problem

BODY_BYTES_MAX = 4_096
TellEnded = Callable[[str], Awaitable[None]]
"""Tells the other workers of a session that was ended."""


class Sessions:
    """Answers the endpoint `session`."""

    def __init__(self, tokens: Tokens, settings: Settings, tell_ended: TellEnded | None) -> None:
        self._tokens = tokens
        self._tell_ended = tell_ended
        self._settings = settings

    async def show(self, request: web.Request, _: Mapping[str, Any]) -> web.Response:
        """Whether a token is required, and the scopes of this client."""
        return json_answer({"open": self._tokens.open, "scopes": sorted(self._tokens.scopes(request))})

    async def begin(self, request: web.Request, _: Mapping[str, Any]) -> web.Response:
        """Set the cookie. Raises TokenError for an unknown token."""
        token = _token(await read_bytes(request, self._settings, BODY_BYTES_MAX))
        if token is None:
            detail = f'The body must be {{"token": "…"}}, with 1 to {TEXT_MAX} characters.'
            return problem(400, "parameter", "A parameter is wrong", detail, parameter="token")
        scopes = self._tokens.of_token(token)
        if not scopes and not self._tokens.open:
            raise TokenError("this is no token of this receiver")
        response = json_answer({"open": self._tokens.open, "scopes": sorted(scopes)})
        if not self._tokens.open:
            response.set_cookie(
                COOKIE, self._tokens.session(token), max_age=self._settings.session_s, path="/",
                httponly=True, samesite="Strict", secure=_is_https(request),
            )  # fmt: skip
        return response

    async def end(self, request: web.Request, _: Mapping[str, Any]) -> web.Response:
        """End the session and remove the cookie."""
        cookie = request.cookies.get(COOKIE, "")
        if self._tokens.end_session(cookie) and self._tell_ended:
            await self._tell_ended(cookie)
        response = web.Response(status=204, headers={hdrs.CACHE_CONTROL: "no-store"})
        response.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict", secure=_is_https(request))
        return response


def _token(body: bytes) -> str | None:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    match document:
        case {"token": str(token), **others} if not others and 1 <= len(token) <= TEXT_MAX:
            return token
    return None


def _is_https(request: web.Request) -> bool:
    """Also behind a proxy. A client that lies about it only keeps itself from logging in."""
    return request.secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"
