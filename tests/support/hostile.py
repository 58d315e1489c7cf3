"""Bodies that take long to read, of any size: each is the worst of its kind for a step of the work on a body."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

_REPEATED = {
    "values": b"<value>x", "names": b"<name>password", "tags": b"<a>", "words": b"token: ", "quotes": b'token "',
    "escapes": b"&lt;a&gt;token", "comments": b"<!--", "ends": b"</b>", "pem": b"-----BEGIN PRIVATE KEY-----",
    "cdata": b"<![CDATA[password", "bearer": b"bearer ", "url": b"://a:", "json": b'{"name":"password"',
    "instructions": b"<?a password", "nothing": b"\0",
}  # fmt: skip
_WELL_FORMED = {
    "empty elements": b"<a/>", "leaves": b"<a>1</a>", "attributes": b"<a b='c'>text</a>",
    "deep": b"<a>" * 60 + b"x" + b"</a>" * 60, "sections": b'<a><![CDATA[{"password": "x"}]]></a>',
    "parameters": b"<value>x</value><name>password</name>",
}  # fmt: skip


def hostile_bodies(size: int) -> Iterator[tuple[str, bytes]]:
    """Each kind with its name, about `size` bytes long and never longer."""
    room = size - 100
    for name, piece in _REPEATED.items():
        yield name, piece * (room // len(piece)) + b"token"
    for name, piece in _WELL_FORMED.items():
        content = piece * (room // len(piece))
        yield name, b"<r>" + content + b"</r>"
        yield f"{name} and a secret", b"<r><token>x</token>" + content + b"</r>"
    leaves = "<r><token>x</token>" + "<a>\xe9</a>" * (room // 16) + "</r>"
    yield "two bytes a character", leaves.encode("utf-16")
    yield "latin", b"<?xml version='1.0' encoding='iso-8859-1'?>" + leaves.encode("latin-1")


def packed_bodies(size: int) -> Iterator[tuple[str, bytes]]:
    """The same for `Content-Encoding: gzip`: what unpacks to much, and what does not unpack."""
    leaves = b"<r>" + b"<a>1</a>" * ((size - 100) // 8) + b"</r>"
    yield "packed leaves", gzip.compress(leaves, mtime=0)
    yield "cut off", gzip.compress(leaves, mtime=0)[:-9]
    yield "not packed", leaves
