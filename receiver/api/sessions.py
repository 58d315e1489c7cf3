"""The board's way in: a token is shown once and answered with a session in a cookie that scripts cannot read."""

from __future__ import annotations

import asyncio

import orjson
from aiohttp import hdrs, web

from receiver.api.answers import JSON, as_json
from receiver.api.api_errors import TokenError
from receiver.api.tokens import COOKIE, Tokens
from receiver.config.settings import Settings
from receiver.http.problem import problem

BODY_BYTES_MAX = 4_096


class Sessions:
    """Begins, tells and ends sessions."""

    def __init__(self, tokens: Tokens, settings: Settings) -> None:
        self._tokens = tokens
        self._settings = settings

    def tell(self, request: web.Request) -> web.Response:
        """Whether anything is asked for, and what this client may read."""
        return as_json({"open": self._tokens.open, "scopes": sorted(self._tokens.scopes(request))})

    async def begin(self, request: web.Request) -> web.Response:
        """Set the cookie. Raises TokenError for a token that is none of ours."""
        if request.content_type != JSON:
            # Forms of other sites cannot send JSON without being asked for leave.
            return problem(415, "media-type", "The body is no JSON", "Send application/json.")
        token = await self._token(request)
        if isinstance(token, web.Response):
            return token
        scopes = self._tokens.of_token(token)
        if not scopes and not self._tokens.open:
            raise TokenError("this is no token of this receiver")
        response = as_json({"open": self._tokens.open, "scopes": sorted(scopes)})
        if not self._tokens.open:
            response.set_cookie(
                COOKIE, self._tokens.session(token), max_age=self._settings.session_s, path="/",
                httponly=True, samesite="Strict", secure=_is_https(request),
            )  # fmt: skip
        return response

    def end(self, request: web.Request) -> web.Response:
        """Take the cookie back."""
        response = web.Response(status=204, headers={hdrs.CACHE_CONTROL: "no-store"})
        response.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict", secure=_is_https(request))
        return response

    async def _token(self, request: web.Request) -> str | web.Response:
        try:
            async with asyncio.timeout(self._settings.body_timeout_s):
                body = await request.content.read(BODY_BYTES_MAX + 1)
                while len(body) <= BODY_BYTES_MAX and not request.content.at_eof():
                    body += await request.content.read(BODY_BYTES_MAX + 1)
        except TimeoutError:
            return problem(408, "body-too-slow", "The body took too long", setting="body_timeout_s")
        if len(body) > BODY_BYTES_MAX:
            return problem(413, "body-too-large", "The body is too large", f"At most {BODY_BYTES_MAX} bytes.")
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict) or document.keys() != {"token"} or not _is_token(document["token"]):
            detail = 'The body must be {"token": "…"}, with 1 to 512 characters.'
            return problem(400, "parameter", "A parameter is wrong", detail, parameter="token")
        token: str = document["token"]
        return token


def _is_token(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 512


def _is_https(request: web.Request) -> bool:
    """Also behind a proxy. Whoever lies about it keeps only himself from logging in."""
    return request.secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"
