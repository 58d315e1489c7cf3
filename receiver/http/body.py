"""Reads the body of a request once, within its limits. Must not know what a body means or how it is encoded."""

from __future__ import annotations

import asyncio

from aiohttp import HttpVersion11, StreamReader, hdrs, web

from receiver.errors import BodyCutOffError, BodyTooLargeError, BodyTooSlowError


async def read_body(request: web.BaseRequest, bytes_max: int, timeout_s: float) -> bytes:
    """The body as sent, after transfer decoding.

    Raises BodyTooLargeError (before reading, where the length is declared), BodyTooSlowError or
    BodyCutOffError. A body that came together with its head costs no timer.
    """
    content = request.content
    if (length := request.headers.get(hdrs.CONTENT_LENGTH)) is not None and int(length) > bytes_max:
        raise _too_large(bytes_max)
    try:
        if content.is_eof():
            body = content.read_nowait()
        else:
            async with asyncio.timeout(timeout_s):
                await _send_continue(request)
                body = await _read(content, bytes_max)
    except TimeoutError:
        raise BodyTooSlowError(f"the body was not complete within body_timeout_s ({timeout_s:g} s)") from None
    except (ConnectionError, web.RequestPayloadError) as error:
        raise BodyCutOffError(
            "the connection ended, or its transfer encoding broke, before the body was complete"
        ) from error
    if len(body) > bytes_max:
        raise _too_large(bytes_max)
    return body


async def expect_later(_: web.Request) -> None:
    """For routes whose body is read here: a sender that waits for `100 Continue` gets it when the body is wanted."""


async def _send_continue(request: web.BaseRequest) -> None:
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.version == HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await request.writer.drain()


async def _read(content: StreamReader, bytes_max: int) -> bytes:
    body = bytearray()
    while chunk := await content.readany():
        body += chunk
        if len(body) > bytes_max:
            raise _too_large(bytes_max)
    return bytes(body)


def _too_large(bytes_max: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the body is larger than body_bytes_max ({bytes_max} bytes)")
