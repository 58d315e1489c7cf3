"""Who may read, and how much: tokens, scopes, sessions, limits."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import pytest

from receiver.api.api_errors import TooOftenError
from receiver.api.rate_limits import RateLimits
from receiver.api.tokens import Tokens
from receiver.config.loading import load
from receiver.config.read_tokens import ReadToken, Scope
from receiver.errors import SettingsError
from tests.support.query_api import API, RAW, READ, RunningApi, deploy, running_api, store
from tests.support.waiting import until

GUARDED = ["/deployments", "/vms", "/resources", "/operations", "/callbacks", "/transitions", "/stats", "/feed"]
DSN = {"ESC_RECEIVER_POSTGRES_DSN": "postgresql://nobody@127.0.0.1/none"}


async def log_in(api: RunningApi) -> dict[str, str]:
    """The header of a new session."""
    answer = await api.ask("POST", "/session", json={"token": READ.token})
    return {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}


async def read_into(chunks: list[bytes], answer: aiohttp.ClientResponse) -> None:
    """Also what came before an error is in the list."""
    while chunk := await answer.content.readany():
        chunks.append(chunk)


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


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_raw_bytes_need_their_scope_however_one_comes(postgres_dsn: str, method: str) -> None:
    """By a token or a session, also where no token opens them; without any token all is open, and warned of."""
    letters = deploy("dep-a")
    await store(postgres_dsn, letters)
    raw = f"/callbacks/{letters[0].envelope.receipt}/raw"
    async with running_api(postgres_dsn, read_tokens=(READ,)) as api:
        for headers, status in (({}, 401), (bearer(READ.token), 403), (await log_in(api), 403)):
            assert (await api.ask(method, raw, headers)).status == status
        assert (await api.ask(method, raw, bearer("rawreader"))).status == 401
    async with running_api(postgres_dsn) as api:
        assert (await api.ask(method, raw)).status == 200


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
        assert (await api.get("/session")).body == {"open": True, "scopes": ["operate", "raw", "read"]}
        assert (await api.ask("POST", "/session", json={"token": "any"})).body["open"]


def test_a_session_ends_with_its_token_and_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs no store: whoever has the settings knows it; a changed one is none."""
    tokens = Tokens((READ, RAW), session_s=60, sessions_ended_max=2)
    cookie = tokens.session(RAW.token)
    assert tokens.of_session(cookie) == RAW.scopes
    assert Tokens((READ,), session_s=60, sessions_ended_max=2).of_session(cookie) == frozenset()
    ends_at, number, signature = cookie.split(".")
    assert tokens.of_session(f"{int(ends_at) + 60}.{number}.{signature}") == frozenset()
    for broken in ("", ".", "1.", "²." + signature, f"{ends_at}.é", f"{ends_at}.é.{signature}", f"{ends_at}.\udcff.1"):
        assert tokens.of_session(broken) == frozenset()
    monkeypatch.setattr(time, "time", lambda: float(ends_at) + 1)
    assert tokens.of_session(cookie) == frozenset()


def test_a_session_that_was_logged_out_opens_nothing() -> None:
    """Others of the same token, begun in the same second, go on; of very many the first are forgotten."""
    tokens = Tokens((READ,), session_s=60, sessions_ended_max=2)
    first, *others = sessions = [tokens.session(READ.token) for _ in range(4)]
    tokens.end_session(first)
    tokens.end_session("9999999999.made-up.1")
    assert [bool(tokens.of_session(session)) for session in sessions] == [False, True, True, True]
    for session in others:
        tokens.end_session(session)
    assert [bool(tokens.of_session(session)) for session in sessions] == [True, True, False, False]


async def test_a_copied_cookie_ends_with_its_session(postgres_dsn: str) -> None:
    """Logging out is more than forgetting the cookie in one browser."""
    async with running_api(postgres_dsn, read_tokens=(READ,)) as api:
        session = await log_in(api)
        assert (await api.get("/vms", session)).status == 200
        await api.ask("DELETE", "/session", session)
        assert (await api.get("/vms", session)).status == 401


@pytest.mark.parametrize("how", ["logged out", "expired"])
async def test_a_feed_ends_with_its_session(postgres_dsn: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens afterwards is not sent any more."""
    async with running_api(postgres_dsn, read_tokens=(READ,), feed_heartbeat_s=0.05) as api:
        session = await log_in(api)
        async with api.client.get(f"{api.url}{API}/feed", headers=session) as feed:
            assert await feed.content.readuntil(b": still here\n\n")
            if how == "expired":
                later = time.time() + 50_000
                monkeypatch.setattr(time, "time", lambda: later)
            else:
                await api.ask("DELETE", "/session", session)
            await store(postgres_dsn, deploy("dep-a"))
            sent: list[bytes] = []
            with pytest.raises(aiohttp.ClientPayloadError):  # cut, and not ended like a complete answer
                await asyncio.wait_for(read_into(sent, feed), 30)
            assert b"dep-a" not in b"".join(sent)


async def test_a_wait_is_not_answered_after_its_session(postgres_dsn: str) -> None:
    """It may have begun long before."""
    letters = deploy("dep-a")
    path = f"/operations/default/{letters[0].envelope.transaction_id}"
    await store(postgres_dsn, letters[:1])
    async with running_api(postgres_dsn, read_tokens=(READ,)) as api:
        session = await log_in(api)
        waiting = asyncio.create_task(api.get(path, session, wait="30"))
        await until(lambda: asyncio.sleep(0, result=api.metrics.waits._value.get() == 1))
        await api.ask("DELETE", "/session", session)
        await store(postgres_dsn, letters[1:])
        assert (await waiting).status == 401


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


PROXIED = {"trusted_proxies": ["127.0.0.0/8"], "query_rate_per_s": 0.5, "read_tokens": [READ]}


async def test_behind_a_proxy_limits_count_who_is_behind_it(postgres_dsn: str) -> None:
    """Who is behind a trusted proxy does not share one limit with all others there, whatever it claims itself."""
    async with running_api(postgres_dsn, **PROXIED) as api:
        forwarded = ["192.0.2.1", "198.51.100.7, 192.0.2.1", "192.0.2.2", "[2001:db8::1]:80", "2001:db8::ff", "none"]
        asked = [await api.get("/session", headers={"X-Forwarded-For": name}) for name in forwarded]
        assert [answer.status for answer in asked] == [200, 429, 200, 200, 429, 200]


async def test_a_proxy_that_is_not_trusted_names_nobody(postgres_dsn: str) -> None:
    """Else anybody could have as many limits as there are addresses."""
    async with running_api(postgres_dsn, **PROXIED | {"trusted_proxies": ["192.0.2.0/24"]}) as api:
        asked = [await api.get("/session", headers={"X-Forwarded-For": f"198.51.100.{n}"}) for n in range(2)]
        assert [answer.status for answer in asked] == [200, 429]


async def test_a_flood_of_anonymous_questions_locks_nobody_out(postgres_dsn: str) -> None:
    """Logging in is counted by itself, and so is who is logged in; attempts at that are limited as well."""
    async with running_api(postgres_dsn, query_rate_per_s=0.5, read_tokens=[READ]) as api:
        assert [(await api.get("/session")).status for _ in range(2)] == [200, 429]
        logged_in = await api.ask("POST", "/session", json={"token": READ.token})
        assert logged_in.status == 200
        cookie = {"Cookie": logged_in.headers["Set-Cookie"].partition(";")[0]}
        assert [(await api.get("/session", headers=cookie)).status for _ in range(2)] == [200, 429]
        assert (await api.ask("POST", "/session", json={"token": "guessed"})).status == 429


def test_tokens_are_read_from_the_environment() -> None:
    """`TOKEN` opens `read`, `TOKEN:raw` the raw bytes too; a fault does not show the token."""
    settings = load(None, {**DSN, "ESC_RECEIVER_READ_TOKENS": "s3cret-1, s3cret-2:raw"})
    assert settings.read_tokens == (ReadToken("s3cret-1"), ReadToken("s3cret-2", frozenset({Scope.READ, Scope.RAW})))
    assert "s3cret" not in repr(settings)
    for wrong in ("s3cret:write", "s3cret%"):
        with pytest.raises(SettingsError) as error:
            load(None, {**DSN, "ESC_RECEIVER_READ_TOKENS": wrong})
        assert "s3cret" not in str(error.value)
