"""Who may read, and how much: tokens, scopes, sessions, limits."""

from __future__ import annotations

import time
from typing import Any

import pytest

from receiver.api.api_errors import TooOftenError
from receiver.api.rate_limits import RateLimits
from receiver.api.tokens import Tokens
from receiver.config.loading import load
from receiver.config.read_tokens import ReadToken, Scope
from receiver.errors import SettingsError
from tests.support.query_api import RAW, READ, deploy, running_api, store

GUARDED = ["/deployments", "/vms", "/resources", "/operations", "/callbacks", "/transitions", "/stats", "/feed"]
DSN = {"ESC_RECEIVER_POSTGRES_DSN": "postgresql://nobody@127.0.0.1/none"}


def bearer(token: str) -> dict[str, str]:
    """The header."""
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("path", GUARDED)
async def test_without_a_token_nothing_is_told(postgres_dsn: str, path: str) -> None:
    """401 with a challenge; a wrong token is as good as none, and so is one in the URL."""
    async with running_api(postgres_dsn, read_tokens=(READ, RAW)) as api:
        for headers in ({}, bearer("wrong"), bearer(""), {"Authorization": f"Basic {READ.token}"}):
            answer = await api.get(path, headers)
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="esc-receiver"')
        assert (await api.get(path, token=READ.token)).status == 401


async def test_each_of_several_tokens_opens_its_scopes(postgres_dsn: str) -> None:
    """So that one can be changed without a gap; raw bytes need their own."""
    letters = deploy("dep-a")
    await store(postgres_dsn, letters)
    raw = f"/callbacks/{letters[0].envelope.receipt}/raw"
    async with running_api(postgres_dsn, read_tokens=(READ, RAW)) as api:
        for token in (READ, RAW):
            assert (await api.get("/vms", bearer(token.token))).status == 200
        assert (await api.get(raw, bearer(RAW.token))).body == letters[0].envelope.body
        refused = await api.get(raw, bearer(READ.token))
        assert (refused.status, 'scope="raw"' in refused.headers["WWW-Authenticate"]) == (403, True)


async def test_the_board_logs_in_once(postgres_dsn: str) -> None:
    """The token is exchanged for a cookie that scripts cannot read and other sites cannot use; it can be taken back."""
    async with running_api(postgres_dsn, read_tokens=(READ,)) as api:
        assert (await api.get("/session")).body == {"open": False, "scopes": []}
        assert (await api.ask("POST", "/session", json={"token": "wrong"})).status == 401
        answer = await api.ask("POST", "/session", json={"token": READ.token})
        cookie = answer.headers["Set-Cookie"]
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
        assert READ.token not in cookie
        assert answer.body == {"open": False, "scopes": ["read"]}
        session = {"Cookie": cookie.partition(";")[0]}
        assert (await api.get("/vms", session)).status == 200
        assert (await api.get("/session", session)).body["scopes"] == ["read"]
        out = await api.ask("DELETE", "/session", session)
        assert (out.status, "Max-Age=0" in out.headers["Set-Cookie"]) == (204, True)


async def test_behind_https_the_cookie_is_secure(postgres_dsn: str) -> None:
    """Also where a proxy speaks it."""
    async with running_api(postgres_dsn, read_tokens=(READ,)) as api:
        headers = {"X-Forwarded-Proto": "https"}
        answer = await api.ask("POST", "/session", headers, json={"token": READ.token})
        assert "Secure" in answer.headers["Set-Cookie"]


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"data": {"token": "reader"}}, 415),
        ({"json": {"token": 1}}, 400),
        ({"json": {"token": "reader", "more": 1}}, 400),
        ({"json": []}, 400),
        ({"data": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ({"json": {"token": "x" * 5_000}}, 413),
    ],
)
async def test_a_login_of_another_form_is_refused(postgres_dsn: str, more: dict[str, Any], status: int) -> None:
    """A form of another site cannot log anybody in."""
    async with running_api(postgres_dsn, read_tokens=(READ,)) as api:
        assert (await api.ask("POST", "/session", more.pop("headers", None), **more)).status == status


async def test_without_tokens_all_is_open(postgres_dsn: str) -> None:
    """And the board is told so."""
    async with running_api(postgres_dsn) as api:
        assert (await api.get("/session")).body == {"open": True, "scopes": ["raw", "read"]}
        assert (await api.ask("POST", "/session", json={"token": "any"})).body["open"]


def test_a_session_ends_with_its_token_and_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs no store: whoever has the settings knows it; a changed one is none."""
    tokens = Tokens((READ, RAW), session_s=60)
    cookie = tokens.session(RAW.token)
    assert tokens.of_session(cookie) == RAW.scopes
    assert Tokens((READ,), session_s=60).of_session(cookie) == frozenset()
    ends_at, _, signature = cookie.partition(".")
    assert tokens.of_session(f"{int(ends_at) + 60}.{signature}") == frozenset()
    for broken in ("", ".", "1.", "²." + signature, f"{ends_at}.é"):
        assert tokens.of_session(broken) == frozenset()
    monkeypatch.setattr(time, "time", lambda: float(ends_at) + 1)
    assert tokens.of_session(cookie) == frozenset()


def test_one_client_cannot_ask_without_end() -> None:
    """A burst is let through, then so many a second; others are not held up."""
    limits = RateLimits(10)
    for _ in range(20):
        limits.count("one", 100.0)
    with pytest.raises(TooOftenError, match="query_rate_per_s"):
        limits.count("one", 100.0)
    limits.count("two", 100.0)
    limits.count("one", 100.2)


async def test_too_often_is_429(postgres_dsn: str) -> None:
    """With Retry-After."""
    async with running_api(postgres_dsn, query_rate_per_s=0.5) as api:
        assert (await api.get("/session")).status == 200
        answer = await api.get("/session")
        assert (answer.status, "Retry-After" in answer.headers) == (429, True)


async def test_made_up_tokens_do_not_make_another_client(postgres_dsn: str) -> None:
    """A token of the receiver's does."""
    async with running_api(postgres_dsn, query_rate_per_s=0.5, read_tokens=[READ]) as api:
        asked = [await api.get("/session", headers={"Authorization": f"Bearer {n}"}) for n in range(2)]
        asked.append(await api.get("/session", headers={"Authorization": f"Bearer {READ.token}"}))
        assert [answer.status for answer in asked] == [200, 429, 200]


def test_tokens_are_read_from_the_environment() -> None:
    """`TOKEN` opens `read`, `TOKEN:raw` the raw bytes too; a fault does not show the token."""
    settings = load(None, {**DSN, "ESC_RECEIVER_READ_TOKENS": "s3cret-1, s3cret-2:raw"})
    assert settings.read_tokens == (ReadToken("s3cret-1"), ReadToken("s3cret-2", frozenset({Scope.READ, Scope.RAW})))
    assert "s3cret" not in repr(settings)
    for wrong in ("s3cret:write", "s3cret%"):
        with pytest.raises(SettingsError) as error:
            load(None, {**DSN, "ESC_RECEIVER_READ_TOKENS": wrong})
        assert "s3cret" not in str(error.value)
