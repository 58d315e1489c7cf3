"""Requests as they come over a connection, to a real server: none is answered with 500, and counts add up."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, suppress
from functools import lru_cache

from receiver.config.settings import Settings
from receiver.model.envelope import read_head
from receiver.observability import logs
from receiver.redaction.redactor import Redactor
from tests.support.ingress import Serving, serving

REDACTOR = Redactor()
ANSWER_S = 0.02
ANSWERED = b"HTTP/1.1 "
PIECES = (
    b"POST / HTTP/1.1\r\n", b"POST /esc/default/callback HTTP/1.1\r\n", b"GET /esc/default/events HTTP/1.1\r\n",
    b"POST /esc/default/callback/token?ref=", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b" HTTP/2.0\r\n", b"\r\n", b"\n",
    b"Host: x\r\n", b"Content-Length: ", b"0", b"1", b"5", b"-1", b"99999999999999999999", b"+3", b"0x4", b" ",
    b"\t", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: ", b"gzip, chunked", b"identity",
    b"5\r\n<a/>\n\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"2;x=y\r\nab\r\n", b"Content-Encoding: gzip\r\n",
    b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"ESC-Transaction-Id: ", b"esc_status_code: ", b"ESC-Status-Message: ", b"traceparent: ", b"X-Forwarded-For: ",
    b"Authorization: Basic ", b"Content-Type: ", b"<a/>", b"200", b"%00", b"%ff", b"%u", b"%", b"/", b"?", b"#",
    b"&", b"=", b":", b";", b",", b'"', b"\x00", b"\x7f", b"\x80", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80",
    b"a" * 200, b"http://x:y@z/", b"//", b"..", b"*", b"PRI * HTTP/2.0\r\n\r\nSM", b"CONNECT x:1 HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00", b"\r", b"X: y\r\n z\r\n", b"A:" * 64,
)  # fmt: skip


def heads(data: bytes) -> None:
    """Bytes as they are, or put together from `PIECES`; then the connection is closed for writing."""
    sent = b"".join(PIECES[one % len(PIECES)] for one in data[1:]) if data and data[0] < 192 else data[1:]
    loop, server, _ = _server()
    said = loop.run_until_complete(_exchange(server, sent))
    for status in _statuses(said):
        assert status < 500 or status == 501, f"answered with {status}"
    assert not _FAULTS, f"the loop has noted an error: {_FAULTS}"
    counts = server.counts()
    assert counts["received"] == counts["stored"] + counts["refused"] + counts["in_flight"], "counts do not add up"


def header_fields(data: bytes) -> None:
    """What is read of header fields, without a server: the same when it is read again as it was stored."""
    lines = [line.partition(b":") for line in data.split(b"\n")]
    head = read_head(((name, value) for name, _, value in lines), 2**31, REDACTOR)
    stored = [(name.encode(), value.encode()) for name, value in head.headers]
    again = read_head(stored, 2**31, REDACTOR)
    assert again.headers == head.headers, "what is stored is read differently"


_FAULTS: list[str] = []


async def _exchange(server: Serving, sent: bytes) -> bytes:
    reader, writer = await server.open()
    said = b""
    with suppress(ConnectionError):
        writer.write(sent)
        await writer.drain()
        with suppress(TimeoutError):  # whoever closes at once is not answered
            async with asyncio.timeout(ANSWER_S):
                said = await reader.read(65_536)
        writer.write_eof()
        async with asyncio.timeout(10):
            said += await reader.read()
    writer.close()
    return said


def _statuses(said: bytes) -> Iterator[int]:
    for line in said.split(b"\r\n"):
        if line.startswith(ANSWERED):
            yield int(line[len(ANSWERED) :][:3])


@lru_cache(1)
def _server() -> tuple[asyncio.AbstractEventLoop, Serving, AbstractAsyncContextManager[Serving]]:
    """The loop, the server on it, and what would end the server if nobody held it."""
    logs.configure(Settings(log_level="error"))
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _, told: _FAULTS.append(repr(told)))
    context = serving(body_timeout_s=2, keepalive_timeout_s=1, log_callbacks=False)
    server = loop.run_until_complete(context.__aenter__())
    atexit.register(loop.close)
    return loop, server, context
