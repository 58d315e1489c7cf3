"""Reads the body of a request once, within its limits, and undoes its Content-Encoding.

We decode it ourselves: what cannot be decoded is to be kept as received, and what is decoded is limited
by what it unpacks to, whatever was sent. It must not know what a body means.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

from aiohttp import HttpVersion11, StreamReader, hdrs, web

from receiver.errors import BodyCutOffError, BodyTooLargeError, BodyTooSlowError, UndecodableBodyError

_GZIP_WBITS = 16 + zlib.MAX_WBITS
_RAW_WBITS = -zlib.MAX_WBITS
MEMBERS_MAX: Final = 16
"""Of a gzip body: each costs a copy of all that follows it, and senders make one."""


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
                await _ask_for_it(request)
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


async def _ask_for_it(request: web.BaseRequest) -> None:
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


def decode_body(body: bytes, content_encoding: str, bytes_max: int) -> bytes:
    """The body with its Content-Encoding undone (`gzip`, `deflate`, `identity`).

    Raises UndecodableBodyError for an encoding that is unknown or does not fit the bytes, BodyTooLargeError
    when it unpacks to more than `bytes_max`.
    """
    codings = [
        coding for part in content_encoding.lower().split(",") if (coding := part.strip()) not in {"", "identity"}
    ]
    if not codings:
        return body
    if len(codings) > 1:
        raise UndecodableBodyError("more than one Content-Encoding")
    if codings[0] in {"gzip", "x-gzip"}:
        return _inflated(body, _GZIP_WBITS, bytes_max)
    if codings[0] == "deflate":
        return _inflated(body, zlib.MAX_WBITS if _has_zlib_header(body) else _RAW_WBITS, bytes_max)
    raise UndecodableBodyError("unknown Content-Encoding")


def _has_zlib_header(body: bytes) -> bool:
    """Some senders of `deflate` leave out the header that RFC 9110 asks for."""
    return len(body) >= 2 and body[0] & 0x0F == zlib.DEFLATED and (body[0] << 8 | body[1]) % 31 == 0


def _inflated(body: bytes, wbits: int, bytes_max: int) -> bytes:
    unpacked = bytearray()
    rest = body
    for _ in range(MEMBERS_MAX):
        stream = zlib.decompressobj(wbits)
        try:
            unpacked += stream.decompress(rest, bytes_max + 1 - len(unpacked))
        except zlib.error as error:
            raise UndecodableBodyError(f"the body is not what its Content-Encoding says: {error}") from None
        if len(unpacked) > bytes_max:
            raise _too_large(bytes_max)
        if not stream.eof:
            raise UndecodableBodyError("the body ends before its Content-Encoding does")
        rest = stream.unused_data
        if not rest:
            return bytes(unpacked)
    raise UndecodableBodyError(f"the body has more than {MEMBERS_MAX} gzip members")


def _too_large(bytes_max: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the body is larger than body_bytes_max ({bytes_max} bytes)")
