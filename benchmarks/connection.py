"""HTTP as a load generator needs it: one request at a time over a bare socket, answers looked at for their end only.

It shares the machine with what it measures, so it does as little as it can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import TypeAlias

OnAnswer: TypeAlias = "Callable[[Connection, bool], None]"


class Connection(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, on_answer: OnAnswer) -> None:
        """`on_answer` hears of each answer, and whether its status is 2xx."""
        self.sent_s = 0.0
        """When the last request was sent."""
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when it is closed; an error when not by us."""
        self._on_answer = on_answer
        self._transport: asyncio.Transport
        self._begun = b""

    def post(self, request: bytes) -> None:
        """Send a request; not before the answer to the one before."""
        self._transport.write(request)
        self.sent_s = perf_counter()

    def close(self) -> None:
        """No more requests."""
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answers come whole as a rule."""
        answer = self._begun + data if self._begun else data
        self._begun = b"" if is_whole(answer) else answer
        if not self._begun:
            self._on_answer(self, answer.startswith(b"2", 9))

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio's."""
        if self._transport.is_closing() and not exc:
            self.lost.set_result(None)
        else:
            self.lost.set_exception(exc or ConnectionError("the server closed the connection"))

    def eof_received(self) -> None:
        """The server has ended it."""
        if not self.lost.done():
            self.lost.set_exception(ConnectionError("the server closed the connection"))


async def connect(port: int, connections: int, on_answer: OnAnswer) -> list[Connection]:
    """So many connections to a server on this machine."""
    loop = asyncio.get_running_loop()
    return [
        (await loop.create_connection(lambda: Connection(on_answer), "127.0.0.1", port))[1] for _ in range(connections)
    ]


def is_whole(answer: bytes) -> bool:
    """Whether head and body are there."""
    head = answer.find(b"\r\n\r\n")
    if head < 0:
        return False
    at = answer.find(b"Content-Length: ", 0, head)
    if at < 0:
        return True
    length = int(answer[at + 16 : answer.index(b"\r\n", at)])
    return len(answer) >= head + 4 + length


def percentile(ascending: list[float], part: float) -> float:
    """The value below which `part` of them lie."""
    return ascending[min(len(ascending) - 1, int(len(ascending) * part))] if ascending else float("nan")
