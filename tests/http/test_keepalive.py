"""The end of an idle connection: a request that has just come is answered, and answers say how long there is."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support.ingress import answer_from, serving

POST = b"POST /esc/default/callback HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n<a/>"
TIMEOUT_S = 3
CONNECTIONS = 80


async def test_a_request_that_comes_as_its_connection_ends_is_answered() -> None:
    """On 80 connections: all of them end in the turn of the loop in which the next request has come, unread."""
    async with serving(keepalive_timeout_s=TIMEOUT_S) as server:
        opened = [await server.open() for _ in range(CONNECTIONS)]
        for _, writer in opened:
            writer.write(POST)
        for reader, _ in opened:
            await answer_from(reader)

        def send_all() -> None:
            for _, writer in opened:
                writer.write(POST)

        loop = asyncio.get_running_loop()
        loop.call_later(0.01, send_all)
        loop.call_soon(time.sleep, 1.1 * TIMEOUT_S)  # then all connections are due, and nothing is read before they end
        answers = [await answer_from(reader) for reader, _ in opened]
        assert [answer.status for answer in answers] == [200] * CONNECTIONS
        assert server.counts()["stored"] == 2 * CONNECTIONS
        for _, writer in opened:
            writer.close()


async def test_an_idle_connection_ends() -> None:
    """It is looked at once more, not for ever."""
    async with serving(keepalive_timeout_s=0.1) as server:
        reader, writer = await server.open()
        writer.write(POST)
        await answer_from(reader)
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("path", ["/esc/default/callback", "/nowhere"])
async def test_answers_say_how_long_the_connection_stays_open(path: str) -> None:
    """A second less than it does; not where it ends."""
    request = POST.replace(b"/esc/default/callback", path.encode())
    async with serving(keepalive_timeout_s=75) as server:
        answer = await server.send(request)
        assert (answer.headers["keep-alive"], answer.headers["connection"]) == ("timeout=74", "keep-alive")
        answer = await server.send(request.replace(b"Host: h", b"Host: h\r\nConnection: close"))
        assert "keep-alive" not in answer.headers
