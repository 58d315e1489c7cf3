"""Undoes the Content-Encoding of a body, within a limit on what it unpacks to. Must not know HTTP.

We decode it ourselves: what cannot be decoded is stored as received, and a small body may unpack to a huge one.
"""

from __future__ import annotations

import zlib
from typing import Final

from receiver.errors import BodyTooLargeError, UndecodableBodyError

_GZIP_WBITS = 16 + zlib.MAX_WBITS
_RAW_WBITS = -zlib.MAX_WBITS
MEMBERS_MAX: Final = 16
"""Of a gzip body: each costs a copy of all that follows it, and senders make one."""


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
            raise BodyTooLargeError(f"the body is larger than body_bytes_max ({bytes_max} bytes)")
        if not stream.eof:
            raise UndecodableBodyError("the body ends before its Content-Encoding does")
        rest = stream.unused_data
        if not rest:
            return bytes(unpacked)
    raise UndecodableBodyError(f"the body has more than {MEMBERS_MAX} gzip members")
