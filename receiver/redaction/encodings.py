"""Which encodings a body may have, and how it becomes text and bytes again, so that what is not touched stays the same.

Only encodings that the XML parser itself reads and that cost linear time are read. Those that write ASCII as ASCII are
read as Latin-1: one character a byte, so nothing can be lost. UTF-16, UTF-32 and EBCDIC are told by their first bytes.
A body that declares any other is not read at all: its names could be hidden. Must not know XML beyond the declaration.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import Final

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# How `<` or a blank in front of it looks when there is no mark.
_ZEROS = (
    (re.compile(rb"[<\s]\0\0\0"), "utf-32-le"),
    (re.compile(rb"\0\0\0[<\s]"), "utf-32-be"),
    (re.compile(rb"[<\s]\0"), "utf-16-le"),
    (re.compile(rb"\0[<\s]"), "utf-16-be"),
)
_UNIT_BYTES = {"utf-32-le": 4, "utf-32-be": 4, "utf-16-le": 2, "utf-16-be": 2}
_EBCDIC_MARK = b"\x4c\x6f\xa7\x94"
_EBCDIC = "cp037"
_BYTES = "latin-1"
_DECLARED = re.compile(r"""[\s\ufeff\xef\xbb\xbf]*+<\?xml\b[^>]*?\sencoding\s*+=\s*+["']([^"'<>]*+)""")
_PLAIN_START = re.compile(
    rb"""(?:<\?xml version=["']1\.\d["'] encoding=["']utf-8["'][^<>\0]{0,40}\?>\s*+)?<[A-Za-z_]""", re.IGNORECASE
)
_SEPARATORS = re.compile(r"[\s_-]+")

ASCII_SUPERSETS: Final = frozenset(
    {
        "", "utf8", "ascii", "usascii", "latin1", *(f"iso8859{part}" for part in range(1, 17)),
        *(f"{windows}125{part}" for windows in ("windows", "cp") for part in range(9)),
        "koi8r", "koi8u", "gb2312", "gbk", "gb18030", "big5", "eucjp", "euckr", "shiftjis",
    }
)  # fmt: skip
"""Declared names, folded, of encodings in which markup is ASCII bytes and no ASCII byte below `0` is part of another
character: names, quotes and tags are where they seem to be."""
_WIDE_NAMES = {
    "utf-16-le": {"", "utf8", "utf16", "utf16le"},
    "utf-16-be": {"", "utf8", "utf16", "utf16be"},
    "utf-32-le": {"", "utf32", "utf32le", "ucs4"},
    "utf-32-be": {"", "utf32", "utf32be", "ucs4"},
    _EBCDIC: {"", "cp037", "ibm037", "ebcdiccpus"},
}


@dataclass(frozen=True, slots=True)
class Decoded:
    """A text, and how to make bytes of it again."""

    text: str
    codec: str
    mark: bytes = b""
    torn: bytes = b""
    """What was left over of a last, torn character."""

    def encoded(self, text: str) -> bytes:
        """The bytes of a changed text."""
        return self.mark + text.encode(self.codec, _errors(self.codec)) + self.torn


def decoded(body: bytes) -> Decoded:
    """The text of any bytes; never fails, and what is encoded unchanged stays the same."""
    codec = _codec_of(body)
    mark = next((mark for mark, marked in _MARKS if marked == codec and body.startswith(mark)), b"")
    content = body[len(mark) :]
    torn = len(content) % _UNIT_BYTES.get(codec, 1)
    whole, rest = content[: len(content) - torn], content[len(content) - torn :]
    try:
        return Decoded(whole.decode(codec, _errors(codec)), codec, mark, rest)
    except UnicodeError:
        return Decoded(body.decode(_BYTES), _BYTES)


def unreadable_declaration(document: Decoded) -> tuple[int, int] | None:
    """Line and column behind the declaration of an encoding that is not read; None when names can be trusted."""
    declared = _DECLARED.match(document.text)
    known = _WIDE_NAMES.get(document.codec, ASCII_SUPERSETS)
    if declared is None or _SEPARATORS.sub("", declared[1].strip().lower()) in known:
        return None
    end = declared.end() + 1
    return document.text.count("\n", 0, end) + 1, end - document.text.rfind("\n", 0, end)


def is_plain(body: bytes) -> bool:
    """Whether a body surely is ASCII markup: it begins as ESC's do, or with a tag."""
    return _PLAIN_START.match(body) is not None


def _codec_of(body: bytes) -> str:
    for mark, codec in _MARKS:
        if body.startswith(mark):
            return codec
    for zeros, codec in _ZEROS:
        if zeros.match(body):
            return codec
    return _EBCDIC if body.startswith(_EBCDIC_MARK) else _BYTES


def _errors(codec: str) -> str:
    return "surrogatepass" if codec in _UNIT_BYTES else "strict"
