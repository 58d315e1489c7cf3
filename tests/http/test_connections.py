"""Connections: nobody takes them all, and some are kept for callbacks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.feed import until
from tests.support.ingress import Answer, Serving, answer_from, serving

Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]
POST = b"POST %b HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n<a/>"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"


@asynccontextmanager
async def silent(server: Serving, number: int, address: str = "127.0.0.1") -> AsyncIterator[list[Opened]]:
    """So many connections of an address on which nothing is sent."""
    opened = [await asyncio.open_connection(server.host, server.port, local_addr=(address, 0)) for _ in range(number)]
    try:
        yield opened
    finally:
        for _, writer in opened:
            writer.close()


async def asked(server: Serving, request: bytes, address: str) -> Answer:
    """The answer to one request from an address."""
    async with silent(server, 1, address) as ((reader, writer),):
        writer.write(request)
        return await answer_from(reader)


async def test_one_address_cannot_take_all_connections() -> None:
    """It opens as many as it can, and a bystander's callback is kept; then it may have as many again."""
    async with serving(connections_max=50, connections_per_address_max=20, connections_reserved=0) as server:
        async with silent(server, 60) as opened:
            refused = [await answer_from(reader) for reader, _ in opened[20:]]
            assert {(answer.status, answer.json["setting"]) for answer in refused} == {
                (503, "connections_per_address_max")
            }
            assert {"retry-after"} <= refused[0].headers.keys()
            assert (await asked(server, POST % b"/", "127.0.0.2")).status == 200
        assert server.count("rejected_before_routing_total", reason="too-many-of-address") == 40
        await until(lambda: _is_let_in(server))


async def test_a_trusted_proxy_may_have_more_connections() -> None:
    """All senders may be behind it."""
    async with (
        serving(connections_per_address_max=1, trusted_proxies=["127.0.0.1"]) as server,
        silent(server, 5) as opened,
    ):
        for reader, writer in opened:
            writer.write(POST % b"/")
            assert (await answer_from(reader)).status == 200


async def test_the_last_connections_are_for_callbacks() -> None:
    """Many addresses take all but the reserve: callbacks of known sources are kept, nothing else is answered."""
    sources = {"lab": {"tokens": ["t"]}}
    async with (
        serving(connections_max=20, connections_reserved=5, sources=sources) as server,
        silent(server, 10, "127.0.0.3"),
        silent(server, 5, "127.0.0.4"),
    ):
        for path in (b"/", b"/esc/default/events", b"/esc/lab/callback/t"):
            assert (await asked(server, POST % path, "127.0.0.2")).status == 200
        for request in (HEALTH, POST % b"/esc/unknown/callback", POST % b"/esc/lab/other", POST % b"/api/v1/vms"):
            answer = await asked(server, request, "127.0.0.2")
            assert (answer.status, answer.headers["connection"]) == (503, "close")
            assert answer.json["setting"] == "connections_reserved"
        assert server.count("rejected_before_routing_total", reason="too-many-connections") == 4
        async with silent(server, 5, "127.0.0.5"):
            answer = await asked(server, POST % b"/", "127.0.0.2")
            assert (answer.status, answer.json["setting"]) == (503, "connections_max")


async def test_a_silent_connection_is_closed() -> None:
    """Without an answer: nothing was asked."""
    async with serving(head_timeout_s=0.2) as server, silent(server, 3) as opened:
        assert [await reader.read() for reader, _ in opened] == [b"", b"", b""]
        assert server.count("rejected_before_routing_total", reason="head-too-slow") == 3


@pytest.mark.parametrize("before", [b"", POST % b"/"])
async def test_a_head_has_its_time(before: bytes) -> None:
    """The first of a connection and a later one; a drop now and then does not prolong it."""
    async with serving(head_timeout_s=0.3) as server, silent(server, 1) as ((reader, writer),):
        if before:
            writer.write(before)
            assert (await answer_from(reader)).status == 200
        dripping = asyncio.create_task(_drip(writer))
        answer = await answer_from(reader)
        assert (answer.status, answer.json["setting"]) == (408, "head_timeout_s")
        assert await reader.read() == b""
        await dripping
        assert server.count("rejected_before_routing_total", reason="head-too-slow") == 1


async def test_between_requests_a_connection_may_be_silent_for_longer() -> None:
    """Until `keepalive_timeout_s` is over; a slow body and a slow answer are no slow heads."""
    async with serving(head_timeout_s=0.2) as server, silent(server, 1) as ((reader, writer),):
        for _ in range(2):
            writer.write((POST % b"/")[:-4])
            await asyncio.sleep(0.4)
            writer.write(b"<a/>")
            assert (await answer_from(reader)).status == 200
            await asyncio.sleep(0.4)
        assert server.count("rejected_before_routing_total", reason="head-too-slow") == 0


async def _drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET / HTTP/1.1\r\n")
    while not writer.transport.is_closing():
        writer.write(b"a: b\r\n")
        await asyncio.sleep(0.02)


async def _is_let_in(server: Serving) -> bool:
    return (await asked(server, POST % b"/", "127.0.0.1")).status == 200
