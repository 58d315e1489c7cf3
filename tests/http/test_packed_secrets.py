"""Bodies that are compressed and cannot be decoded hold no secret that anybody could unpack."""

from __future__ import annotations

import gzip
import zlib

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
    for window in (31, 15, -15) * 3:
        try:
            seen += (body := zlib.decompressobj(window).decompress(body))
        except zlib.error:
            continue
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
    ],
)
def test_no_secret_can_be_unpacked_from_what_is_stored(sent: bytes, encoding: str | None) -> None:
    """Cut, broken, packed twice, or declared as something else."""
    kept = stored(sent, encoding)
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
