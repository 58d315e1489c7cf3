"""Bodies that are compressed and cannot be decoded hold no secret that anybody could unpack."""

from __future__ import annotations

import gzip
import zlib
from contextlib import suppress

import pytest

from receiver.parsing.stored_body import StoredBody, stored_body
from receiver.redaction.redactor import Redactor

SECRET = b"hunter2-and-more"
DOCUMENT = b"<a><password>" + SECRET + b"</password><b>" + b"text " * 400 + b"</b></a>"
PACKED = gzip.compress(DOCUMENT, mtime=0)
REDACTOR = Redactor()


def stored(sent: bytes, encoding: str | None) -> StoredBody:
    """As it is stored, within a large limit."""
    return stored_body(sent, encoding, REDACTOR, 1_000_000)


def unpacked(body: bytes) -> bytes:
    """Whatever anybody could get out of stored bytes, layer by layer."""
    seen = body
    for window in (31, 15, -15) * 6:
        stream = zlib.decompressobj(window)
        with suppress(zlib.error):
            inside = stream.decompress(body)
            while window == 31 and stream.unused_data:
                stream, rest = zlib.decompressobj(window), stream.unused_data
                inside += stream.decompress(rest)
            seen += (body := inside)
    return seen


BROKEN_CRC = PACKED[:-8] + b"\0" * 8


@pytest.mark.parametrize(
    ("sent", "encoding"),
    [
        (PACKED[:-20], "gzip"),
        (BROKEN_CRC, "gzip"),
        (gzip.compress(PACKED, mtime=0), "gzip"),
        (gzip.compress(PACKED, mtime=0), "gzip, gzip"),
        (PACKED, None),
        (PACKED, "br"),
        (PACKED, "deflate"),
        (zlib.compress(DOCUMENT), "gzip"),
        (DOCUMENT, "gzip"),
        (DOCUMENT, "br"),
        (gzip.compress(b"<a>", mtime=0) + PACKED[:-20], "gzip"),
        (gzip.compress(b"<a>", mtime=0) + PACKED, "br"),
        (zlib.compress(DOCUMENT), None),
        (zlib.compress(DOCUMENT, wbits=-15), None),
        (gzip.compress(gzip.compress(PACKED)), "gzip, gzip"),
        (gzip.compress(gzip.compress(gzip.compress(gzip.compress(PACKED)))), "br"),
    ],
)
def test_no_secret_can_be_unpacked_from_what_is_stored(sent: bytes, encoding: str | None) -> None:
    """Cut, broken, packed twice, or declared as something else."""
    kept = stored(sent, encoding)
    assert kept.redacted
    assert SECRET not in unpacked(kept.body)


def test_compressed_bytes_that_look_like_a_secret_do_not_hide_what_is_in_them() -> None:
    """A fault of the inner layer: the end of it looks like a torn instruction, and only that was overwritten."""
    inner = PACKED[:120] + b"<?secret"
    kept = stored(gzip.compress(inner, mtime=0), "deflate")
    assert kept.redacted
    assert SECRET not in unpacked(kept.body)


def test_what_holds_no_secret_is_stored_as_received() -> None:
    """Byte for byte, however broken."""
    packed = gzip.compress(b"<a><b>" + b"text " * 400 + b"</b></a>", mtime=0)
    assert stored(packed[:-20], "gzip") == (packed[:-20], False, "the body ends before its Content-Encoding does")
    assert stored(packed, None) == (packed, False, None)
    assert stored(b"\x1f\x8b", "gzip").body == b"\x1f\x8b"


def test_a_body_that_decodes_is_stored_decoded() -> None:
    """And without its secret."""
    assert stored(PACKED, "gzip") == (DOCUMENT.replace(SECRET, b"***"), True, None)
