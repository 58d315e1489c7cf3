"""Who may read: a bearer token, or the session that the board was given for one.

A session is the time at which it ends, signed with the token it was given for: every receiver of the same settings
knows it, none keeps it, and it ends with its token. Secrets are compared in constant time, all candidates each time.
This file must not know what is read.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest

from aiohttp import hdrs, web

from receiver.api.api_errors import ScopeError, TokenError
from receiver.config.read_tokens import ReadToken, Scope

COOKIE = "esc_receiver_session"
ALL = frozenset(Scope)
NONE: frozenset[Scope] = frozenset()


class Tokens:
    """The configured tokens. None at all: everybody may read everything."""

    def __init__(self, tokens: Iterable[ReadToken], session_s: int) -> None:
        self._session_s = session_s
        self._known = [(token.token.encode(), token.scopes) for token in tokens]

    @property
    def open(self) -> bool:
        """Whether nobody is asked for anything."""
        return not self._known

    def check(self, request: web.Request, scope: Scope) -> None:
        """Raises TokenError when the client shows nothing that counts, ScopeError when that does not open this."""
        scopes = self.scopes(request)
        if not scopes:
            raise TokenError("a bearer token is needed (Authorization: Bearer …)")
        if scope not in scopes:
            raise ScopeError(f"this token does not open {scope}")

    def scopes(self, request: web.Request) -> frozenset[Scope]:
        """What the client's token or session opens."""
        if self.open:
            return ALL
        scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() == "bearer":
            return self.of_token(token.strip())
        return self.of_session(request.cookies.get(COOKIE, ""))

    def of_token(self, given: str) -> frozenset[Scope]:
        """What a token opens; nothing when it is none of ours."""
        digest = sha256(given.encode("utf-8", "surrogateescape")).digest()
        found = NONE
        for token, scopes in self._known:
            if compare_digest(digest, sha256(token).digest()):
                found = scopes
        return found

    def session(self, token: str) -> str:
        """A session for a token of ours."""
        ends_at = str(int(time.time()) + self._session_s)
        return f"{ends_at}.{_signature(token.encode(), ends_at)}"

    def of_session(self, cookie: str) -> frozenset[Scope]:
        """What a session opens; nothing when it is over or none of ours."""
        ends_at, _, signature = cookie.partition(".")
        if not (ends_at.isascii() and ends_at.isdigit() and len(ends_at) < 16 and int(ends_at) > time.time()):
            return NONE
        found = NONE
        for token, scopes in self._known:
            if compare_digest(signature.encode("utf-8", "surrogateescape"), _signature(token, ends_at).encode()):
                found = scopes
        return found


def _signature(token: bytes, ends_at: str) -> str:
    return hmac_digest(token, f"esc-receiver session until {ends_at}".encode(), "sha256").hex()
