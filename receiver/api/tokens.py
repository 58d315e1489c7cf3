"""Who may read: a bearer token, or the session that the board was given for one.

A session is the time at which it ends, signed with its token: every receiver with the same settings can check it, none
stores it, and it ends with its token. Secrets are compared in constant time, all candidates each time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest

from aiohttp import hdrs, web

from receiver.api.api_errors import ScopeError, TokenError
from receiver.config.read_tokens import ReadToken, Scope

COOKIE = "esc_receiver_session"
Scopes = frozenset[Scope]


class Tokens:
    """The configured tokens. None at all: everybody may read everything."""

    def __init__(self, tokens: Iterable[ReadToken], session_s: int) -> None:
        self._session_s = session_s
        self._scopes = {token.token.encode(): token.scopes for token in tokens}

    @property
    def open(self) -> bool:
        """Whether no token is required."""
        return not self._scopes

    def check(self, request: web.Request, scope: Scope) -> None:
        """Raises TokenError without a valid token or session, ScopeError when it lacks the scope."""
        scopes = self.scopes(request)
        if not scopes:
            raise TokenError("a bearer token is needed (Authorization: Bearer …)")
        if scope not in scopes:
            raise ScopeError(f"this token does not open {scope}")

    def scopes(self, request: web.Request) -> Scopes:
        """The scopes of the client's token or session; none without a valid one."""
        if self.open:
            return frozenset(Scope)
        scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() == "bearer":
            return self.of_token(token.strip())
        return self.of_session(request.cookies.get(COOKIE, ""))

    def of_token(self, given: str) -> Scopes:
        """The scopes of a token; none for an unknown one."""
        # Digests are of equal length, so that the comparison does not reveal that of a token.
        digest = sha256(given.encode("utf-8", "surrogateescape")).hexdigest()
        return self._matching(digest, lambda token: sha256(token).hexdigest())

    def session(self, token: str) -> str:
        """A session for a known token."""
        ends_at = str(int(time.time()) + self._session_s)
        return f"{ends_at}.{_signature(token.encode(), ends_at)}"

    def of_session(self, cookie: str) -> Scopes:
        """The scopes of a session; none when it is over or not signed with one of the tokens."""
        ends_at, _, signature = cookie.partition(".")
        if not (ends_at.isascii() and ends_at.isdigit() and len(ends_at) < 16 and int(ends_at) > time.time()):
            return frozenset()
        return self._matching(signature, lambda token: _signature(token, ends_at))

    def _matching(self, given: str, expected: Callable[[bytes], str]) -> Scopes:
        found: Scopes = frozenset()
        for token, scopes in self._scopes.items():
            if compare_digest(given.encode("utf-8", "surrogateescape"), expected(token).encode()):
                found = scopes
        return found


def _signature(token: bytes, ends_at: str) -> str:
    return hmac_digest(token, f"esc-receiver session until {ends_at}".encode(), "sha256").hex()
