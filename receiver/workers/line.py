"""Questions and answers between two processes, both ways, over a socket: JSON, each message behind its length.

Must not know what is asked.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from itertools import count
from typing import Any

import orjson
import structlog

from receiver.errors import ReceiverError

Answer = Callable[[Any], Awaitable[Any]]
"""Answers a question with what was given."""
LENGTH_BYTES = 4
ASKED, ANSWERED, FAILED = "asked", "answered", "failed"

log = structlog.get_logger()


class LineError(ReceiverError):
    """The other end has gone, or could not answer."""


class Line:
    """One end of it: `open`, then `run` until the other end has gone."""

    def __init__(self, end: socket.socket, answers: Mapping[str, Answer]) -> None:
        self._end = end
        self._answers = answers
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def open(self) -> None:
        """Begin to speak."""
        self._reader, self._writer = await asyncio.open_unix_connection(sock=self._end)

    async def ask(self, name: str, given: Any = None, *, timeout_s: float) -> Any:
        """The other end's answer. Raises LineError, or TimeoutError."""
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._send(ASKED, number, name, given)
            async with asyncio.timeout(timeout_s):
                return await answer
        finally:
            del self._waiting[number]

    async def run(self) -> None:
        """Answer, and take answers, until the other end has gone."""
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    length = int.from_bytes(await self._reader.readexactly(LENGTH_BYTES))
                    self._take(*orjson.loads(await self._reader.readexactly(length)))
        finally:
            self.close()

    def close(self) -> None:
        """Nobody is heard any more; who waits for an answer gets none."""
        self._writer.close()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(LineError("the other end has gone"))

    def _take(self, kind: str, number: int, name: str, content: Any) -> None:
        if kind == ASKED:
            task = asyncio.create_task(self._answer(number, name, content), name=f"line: {name}")
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        elif (answer := self._waiting.get(number)) and not answer.done():
            if kind == ANSWERED:
                answer.set_result(content)
            else:
                answer.set_exception(LineError(str(content)))

    async def _answer(self, number: int, name: str, given: Any) -> None:
        try:
            kind, content = ANSWERED, await self._answers[name](given)
        except (ReceiverError, TimeoutError) as error:
            kind, content = FAILED, f"{type(error).__name__}: {error}"
        except Exception as error:
            log.exception("a question could not be answered", question=name)
            kind, content = FAILED, type(error).__name__
        with suppress(LineError):
            self._send(kind, number, name, content)

    def _send(self, kind: str, number: int, name: str, content: Any) -> None:
        if self._writer.is_closing():
            raise LineError("the other end has gone")
        message = orjson.dumps((kind, number, name, content), default=_plain)
        self._writer.write(len(message).to_bytes(LENGTH_BYTES) + message)


def _plain(named: object) -> tuple[Any, ...]:
    """Named tuples go as lists."""
    if isinstance(named, tuple):
        return tuple(named)
    raise TypeError(f"{type(named).__name__} cannot be sent")
