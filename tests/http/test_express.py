"""Requests that are taken off their connection: the same answer and the same callback as on the way around."""

from __future__ import annotations

import asyncio
from base64 import b64encode

import pytest

from receiver.model.notification import Outcome
from tests.support.ingress import Answer, Serving, answer_from, serving
from tests.support.waiting import until

BODY = b"<deployment/>"
SOURCES = {
    "open": {},
    "token": {"tokens": ["opensesame"]},
    "basic": {"basic": ["esc:secret"]},
    "far": {"allow": ["192.0.2.0/24"]},
    "empty": {"answer": 204},
}
BASIC = f"Authorization: Basic {b64encode(b'esc:secret').decode()}\r\n"
REQUESTS = [
    ("/esc/open/callback", ""),
    ("/esc/open/events", "ESC-Transaction-Id: t-1\r\nesc_status_code: 200\r\nESC-Status-Message: \xc3\xa4\r\n"),
    ("/esc/open/callback?ref=order-7", ""),
    ("/esc/open/callback/any", ""),
    ("/esc/open/callback/", ""),
    ("/esc/open/other", ""),
    ("/esc/none/callback", ""),
    ("/esc/op%65n/callback", ""),
    ("/esc/token/callback/opensesame", ""),
    ("/esc/token/callback/open%73esame", ""),
    ("/esc/token/callback/wrong", ""),
    ("/esc/token/callback", ""),
    ("/esc/basic/callback", BASIC),
    ("/esc/basic/callback", ""),
    ("/esc/far/callback", ""),
    ("/esc/empty/callback", ""),
    ("/", ""),
    ("/?ref=1", ""),
    ("/esc/open/callback", "Content-Encoding: identity\r\n"),
    ("/esc/open/callback", "Password: open\r\n"),
    ("/esc/open/callback", f"Long: {'x' * 9_000}\r\n"),
    ("/esc/open/callback", "Connection: close\r\n"),
]


def request(path: str, fields: str, body: bytes = BODY) -> tuple[bytes, bytes]:
    """Head and body."""
    head = f"POST {path} HTTP/1.1\r\nHost: h\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
    return head.encode("latin-1"), body


async def told(server: Serving, *pieces: bytes) -> tuple[Answer, list[object]]:
    """The answer to a request in these pieces, and what was kept of it."""
    reader, writer = await server.open()
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)
    answer = await answer_from(reader)
    writer.close()
    kept, server.shelf.envelopes[:] = list(server.shelf.envelopes), []
    return answer, [one._replace(receipt=None, received_at=None) for one in kept]  # type: ignore[arg-type]


def seen(answer: Answer) -> tuple[object, ...]:
    """What does not differ from one callback to the next."""
    headers = {name: value for name, value in answer.headers.items() if name not in ("date", "esc-receipt-id")}
    document = answer.json if answer.body else {}
    told = {name: value for name, value in document.items() if name not in ("receipt", "instance")}
    return answer.status, headers, told, "esc-receipt-id" in answer.headers


@pytest.mark.parametrize("outcome", [Outcome.APPLIED, None])
async def test_both_ways_lead_to_the_same(outcome: Outcome | None) -> None:
    """A request that comes whole is taken; one whose body comes later goes through aiohttp."""
    async with serving(sources=SOURCES) as server:
        server.shelf.outcome = outcome
        for path, fields in REQUESTS:
            for body in (BODY, b"", b"\x1f\x8bpacked"):
                head, _ = request(path, fields, body)
                whole, kept_whole = await told(server, head + body)
                parts, kept_parts = await told(server, head[:40], head[40:] + body[:1], body[1:])
                assert (seen(whole), kept_whole) == (seen(parts), kept_parts), (path, fields, body)
        assert server.counts()["in_flight"] == 0


async def test_a_callback_that_cannot_be_kept_is_refused_and_counted_once() -> None:
    """The answer says when to come again; the connection stays open."""
    async with serving() as server:
        server.shelf.full = True
        head, body = request("/esc/default/callback", "")
        reader, writer = await server.open()
        for gate in (True, False):
            (server.shelf.gate.set if gate else server.shelf.gate.clear)()
            writer.write(head + body)
            await writer.drain()
            if not gate:
                await server.shelf.reached.wait()
                server.shelf.gate.set()
            answer = await answer_from(reader)
            assert (answer.status, answer.headers["connection"]) == (503, "keep-alive")
            assert int(answer.headers["retry-after"]) > 0
        assert server.counts() == {"received": 2, "stored": 0, "refused": 2, "in_flight": 0}
        writer.close()


async def test_requests_that_come_behind_a_taken_one_are_answered_in_order() -> None:
    """Sent without waiting for answers: whole, cut anywhere, and of two kinds."""
    head, body = request("/esc/default/callback", "")
    other = b"GET /esc/default/callback HTTP/1.1\r\nHost: h\r\n\r\n"
    async with serving() as server:
        server.shelf.gate.clear()
        reader, writer = await server.open()
        writer.write(head + body)
        await server.shelf.reached.wait()
        rest = other + head + body + head + body + other
        for start in range(0, len(rest), 37):
            writer.write(rest[start : start + 37])
            await writer.drain()
        server.shelf.gate.set()
        statuses = []
        for _ in range(5):
            answer = await answer_from(reader)
            statuses.append((answer.status, "esc-receipt-id" in answer.headers))
        assert statuses == [(200, True), (204, False), (200, True), (200, True), (204, False)]
        assert len(server.shelf.envelopes) == 3
        writer.close()


async def test_what_is_taken_is_answered_before_the_server_ends() -> None:
    """With the news that the connection ends."""
    head, body = request("/esc/default/callback", "")
    async with serving(stop_timeout_s=30) as server:
        server.shelf.gate.clear()
        reader, writer = await server.open()
        writer.write(head + body)
        await server.shelf.reached.wait()
        assert server.end is not None  # it is served
        ending = asyncio.ensure_future(server.end())
        await asyncio.sleep(0.05)
        server.shelf.gate.set()
        answer = await answer_from(reader)
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await reader.read() == b""
        await ending
        writer.close()


async def test_a_taken_callback_is_kept_and_counted_when_its_sender_has_gone() -> None:
    """Nobody is there for the answer."""
    head, body = request("/esc/default/callback", "")
    async with serving() as server:
        server.shelf.gate.clear()
        _, writer = await server.open()
        writer.write(head + body)
        await server.shelf.reached.wait()
        writer.transport.abort()
        await asyncio.sleep(0.05)
        server.shelf.gate.set()
        await until(lambda: _all_told(server))
        assert server.counts() == {"received": 1, "stored": 1, "refused": 0, "in_flight": 0}


async def _all_told(server: Serving) -> bool:
    return server.counts()["in_flight"] == 0


async def test_a_connection_is_not_idle_while_a_callback_is_in_flight() -> None:
    """It takes longer than idle connections are kept."""
    head, body = request("/esc/default/callback", "")
    async with serving(keepalive_timeout_s=0.2) as server:
        server.shelf.gate.clear()
        reader, writer = await server.open()
        writer.write(head + body)
        await server.shelf.reached.wait()
        await asyncio.sleep(1.5)
        server.shelf.gate.set()
        assert (await answer_from(reader)).status == 200
        assert await reader.read() == b""
        writer.close()
