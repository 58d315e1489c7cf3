"""Heads that aiohttp's parser refuses: folded fields are unfolded (RFC 9112 5.2), others are read as far as they go.

What would let two programs disagree about where a request ends is never read another way: two lengths, a length besides
a transfer encoding, either of them folded or misspelt. Must not know sockets, nor what a callback says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple
from urllib.parse import quote

HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_FOLD: Final = re.compile(rb"\r?\n[ \t]+")
_FIELD_END: Final = re.compile(rb"\r?\n(?![ \t])")
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
_FRAMING_IN_FOLD: Final = re.compile(rb"(?i)\n[ \t]+(?:content-length|transfer-encoding)[ \t]*:")
_GOOD_FRAMING: Final = re.compile(rb"(?i)content-length:[ \t]*[0-9]{1,18}[ \t]*|transfer-encoding:[ \t]*chunked[ \t]*")
_REQUEST_LINE: Final = re.compile(rb"POST +(/[!-~]*?)(\?[^\r\n]*)? HTTP/1\.[01]\r?\n")
_CALLBACK_PATH: Final = re.compile(rb"/(?:esc/[^/]+/(?:callback|events)(?:/[^/]*)?)?")
_NOT_IN_NAMES: Final = re.compile(rb"[^!-~]")
_READ_ON: Final = _FRAMING | {b"authorization", b"x-forwarded-for", b"content-encoding", b"expect"}
"""Fields that decide who may post and how the body is read; all others are only kept."""

Field = tuple[bytes, bytes]


class RefusedHead(tuple[Field, ...]):  # noqa: SLOT001 - a tuple of any length cannot have slots
    """The header fields of a request whose head is not HTTP; it stands where aiohttp has a tuple of fields."""

    because: str

    @classmethod
    def of(cls, fields: list[Field], because: str) -> RefusedHead:
        """These fields, and why the head was refused."""
        head = cls(fields)
        head.because = because
        return head


class Salvaged(NamedTuple):
    """What a refused head is read as."""

    head: bytes
    """A good head for the same path, after which the connection ends."""
    fields: RefusedHead


def may_be_callback(head: bytes) -> bool:
    """Whether a head, perhaps not complete, is that of a POST to a callback path."""
    if b"\n" not in head:
        return head.startswith(b"POST /")
    line = _REQUEST_LINE.match(head)
    return bool(line and _CALLBACK_PATH.fullmatch(line[1]))


def unfold(head: bytes) -> bytes | None:
    """A head without folds, each replaced by one space; None when there are none, or they may not be removed."""
    request_line, *fields = _FIELD_END.split(head)
    if not _FOLD.search(head) or _FOLD.search(request_line):
        return None
    for field in fields:
        folded = _FOLD.search(field)
        if folded and (_name(field) in _FRAMING or _FRAMING_IN_FOLD.search(field)):
            return None
    first, *others = _FOLD.split(head)
    # A part is followed by white space of its own, which belongs to the fold.
    parts = [part.rstrip(b" \t") for part in (first, *others[:-1])]
    return b" ".join((*parts, others[-1]))


def salvage(head: bytes, because: str, fields_max: int, field_bytes_max: int) -> Salvaged | None:
    """A refused head of a callback as far as it can be read; None when it must not be: it leaves the body's end open,
    or it is over a limit."""
    line = _REQUEST_LINE.match(head)
    if line is None or not _CALLBACK_PATH.fullmatch(line[1]):
        return None
    lines = list(_lines(head[line.end() :]))
    if len(lines) > fields_max or any(len(text) > field_bytes_max for text in lines) or not _is_framed(lines):
        return None
    fields = [_field(text) for text in lines]
    target = line[1] + quote(line[2] or b"", safe="?=&%+/:;,@!$'()*~-._").encode()
    good = [b"POST %b HTTP/1.1" % target, b"Host: receiver", b"Connection: close"]
    good += [b"%b: %b" % (name, value) for name, value in fields if name.lower() in _READ_ON]
    return Salvaged(b"\r\n".join(good) + b"\r\n\r\n", RefusedHead.of(fields, because))


def _lines(text: bytes) -> Iterator[bytes]:
    """The fields, each with the lines that continue it."""
    whole = b""
    for line in _LINE_END.split(text):
        if line[:1] in (b" ", b"\t") and whole:
            whole += b"\n" + line
            continue
        if whole:
            yield whole
        whole = line
    if whole:
        yield whole


def _is_framed(lines: list[bytes]) -> bool:
    """Whether there is at most one field that says where the body ends, and it is beyond doubt."""
    framing = [line for line in lines if _name(line) in _FRAMING]
    return len(framing) <= 1 and all(_GOOD_FRAMING.fullmatch(line) for line in framing)


def _name(line: bytes) -> bytes:
    return _field(line)[0].lower()


def _field(line: bytes) -> Field:
    """Name and value; the name without what no name has in it, so that a secret is known by it."""
    name, colon, value = line.strip(b" \t").partition(b":")
    if not colon or b" " in name.strip(b" \t"):
        name, _, value = line.strip(b" \t").partition(b" ")
    return _NOT_IN_NAMES.sub(b"", name), _FOLD.sub(b" ", value).strip(b" \t")
