"""A TCP connection that can be cut, torn in the middle of a message, or stopped, for whoever talks through it.

Must not know what is said on it.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from receiver.embedded.child_process import free_port

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of a socket that ends its connection without farewell."""
CHUNK_BYTES = 65_536


class Wire:
    """Listens on a port of its own and passes everything on to the server's."""

    def __init__(self, server_port: Callable[[], int]) -> None:
        self.port = free_port()
        self._server_port = server_port
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._tear_after_bytes: int | None = None

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[Wire]:
        """In place."""
        server = await self._listening()
        try:
            yield self
        finally:
            server.close()
            self.mend()
            self.cut()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listening(self) -> asyncio.Server:
        """On our port; on another one when somebody has taken it meanwhile."""
        while True:
            try:
                return await asyncio.start_server(self._join, "127.0.0.1", self.port)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            self.port = free_port()

    def cut(self) -> None:
        """End all connections at once, with a reset."""
        for writer in self._open:
            end = writer.get_extra_info("socket")
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()

    def tear(self, after_bytes: int) -> None:
        """Let so many bytes more through, whichever way, and then cut all."""
        self._tear_after_bytes = after_bytes

    def stall(self) -> None:
        """Pass nothing on, and say nothing."""
        self._flowing.clear()

    def mend(self) -> None:
        """As before."""
        self._tear_after_bytes = None
        self._flowing.set()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        ends = {writer}
        self._open.add(writer)
        try:
            await self._flowing.wait()
            there, back = await asyncio.open_connection("127.0.0.1", self._server_port())
            ends.add(back)
            self._open.add(back)
            await self._pass_on((reader, back), (there, writer))
        except OSError:  # nobody there: whoever called hears the same
            return
        finally:
            self._open -= ends
            for end in ends:
                end.transport.abort()

    async def _pass_on(self, *ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        tasks = [asyncio.create_task(self._pump(*way)) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK_BYTES):
            await self._flowing.wait()
            writer.write(self._rest_of(data))
            await writer.drain()
            if self._tear_after_bytes == 0:
                self._tear_after_bytes = None
                self.cut()

    def _rest_of(self, data: bytes) -> bytes:
        if self._tear_after_bytes is None:
            return data
        data = data[: self._tear_after_bytes]
        self._tear_after_bytes -= len(data)
        return data
