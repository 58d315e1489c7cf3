"""Who may read: a bearer token, or the session that the board was given for one.

A session is the time at which it ends and a number of its own, signed with its token: every receiver with the same
settings can check it, none stores it, and it ends with its token. Only one that was logged out before its time is
remembered until then, by the receiver that was told (all its workers). Secrets are compared in constant time, all
candidates each time.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest

from aiohttp import hdrs, web

from receiver.api.api_errors import ScopeError, TokenError
from receiver.config.read_tokens import ReadToken, Scope

COOKIE = "esc_receiver_session"
SESSION = "session"
Scopes = frozenset[Scope]
_CLOSED = "without read_tokens this is open to clients on this machine alone"


class Tokens:
    """The configured tokens. None at all: everybody may read everything."""

    def __init__(
        self,
        tokens: Iterable[ReadToken],
        session_s: int,
        sessions_ended_max: int,
        is_local: Callable[[web.Request], bool] = lambda _: True,
    ) -> None:
        """`is_local` tells whether a client is on this machine: without tokens nobody else may do more than read."""
        self._is_local = is_local
        self._session_s = session_s
        self._sessions_ended_max = sessions_ended_max
        self._ended: dict[str, int] = {}
        """Sessions that were logged out and when they would have ended, the first logged out first."""
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
            raise ScopeError(_CLOSED if self.open else f"this token does not open {scope}")

    def scopes(self, request: web.Request) -> Scopes:
        """The scopes of the client's token or session; none without a valid one."""
        if self.open:
            return frozenset(Scope) if self._is_local(request) else frozenset(Scope) - {Scope.OPERATE}
        scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() == "bearer":
            return self.of_token(token.strip())
        return self.of_session(request.cookies.get(COOKIE, ""))

    def shown_by(self, request: web.Request) -> str:
        """The valid token that a request shows, or that it belongs to a session; empty for neither."""
        if self.open or not self.scopes(request):
            return ""
        return request.headers.get(hdrs.AUTHORIZATION, SESSION)

    def of_token(self, given: str) -> Scopes:
        """The scopes of a token; none for an unknown one."""
        # Digests are of equal length, so that the comparison does not reveal that of a token.
        digest = sha256(given.encode("utf-8", "surrogateescape")).hexdigest()
        return self._matching(digest, lambda token: sha256(token).hexdigest())

    def session(self, token: str) -> str:
        """A session for a known token."""
        content = f"{int(time.time()) + self._session_s}.{secrets.token_hex(8)}"
        return f"{content}.{_signature(token.encode(), content)}"

    def of_session(self, cookie: str) -> Scopes:
        """The scopes of a session; none when it is over or not signed with one of the tokens."""
        content, _, signature = cookie.rpartition(".")
        if cookie in self._ended or _ends_at(content) <= time.time():
            return frozenset()
        return self._matching(signature, lambda token: _signature(token, content))

    def end_session(self, cookie: str) -> bool:
        """It opens nothing any more; of very many the first are forgotten, and end at their time. Whether it did."""
        if not self.of_session(cookie):
            return False
        now = time.time()
        self._ended = {ended: ends_at for ended, ends_at in self._ended.items() if ends_at > now}
        self._ended[cookie] = _ends_at(cookie)
        if len(self._ended) > self._sessions_ended_max:
            del self._ended[next(iter(self._ended))]
        return True

    def _matching(self, given: str, expected: Callable[[bytes], str]) -> Scopes:
        found: Scopes = frozenset()
        for token, scopes in self._scopes.items():
            if compare_digest(given.encode("utf-8", "surrogateescape"), expected(token).encode()):
                found = scopes
        return found


def _ends_at(session: str) -> int:
    ends_at = session.partition(".")[0]
    return int(ends_at) if ends_at.isascii() and ends_at.isdigit() and len(ends_at) < 16 else 0


def _signature(token: bytes, content: str) -> str:
    text = f"esc-receiver session until {content}".encode("utf-8", "surrogateescape")
    return hmac_digest(token, text, "sha256").hex()
