"""A document's bytes as text and back, whatever its encoding, so that what is not touched stays as it was.

Every encoding that writes ASCII as ASCII is read as Latin-1: one character a byte, so nothing can be lost.
The others (UTF-16, UTF-32, EBCDIC, UTF-7 …) are found by their mark, their zeros or their declaration.
It must not know XML beyond the declaration.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

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
_EBCDIC = b"\x4c\x6f\xa7\x94"
_DECLARED = re.compile(r"""<\?xml[^>]*?\sencoding\s*=\s*["']([A-Za-z0-9._-]{1,40})""")
_ASCII = bytes(range(0x20, 0x7F))
_BYTES = "latin-1"
_WIDE = frozenset({"utf-16", "utf-32", *_UNIT_BYTES})


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


def codecs_of(body: bytes) -> tuple[str, ...]:
    """How to read the body: as its bytes look, and before that as it declares, if that is something else."""
    for mark, codec in _MARKS:
        if body.startswith(mark):
            return (codec,)
    for zeros, codec in _ZEROS:
        if zeros.match(body):
            return (codec,)
    ebcdic = body.startswith(_EBCDIC)
    declared = _DECLARED.search(body[:256].decode("cp037" if ebcdic else _BYTES))
    return ((declared[1],) if declared and _is_other(declared[1]) else ()) + (_BYTES,)


def decoded(body: bytes, codec: str) -> Decoded:
    """The text of a document, or of anything else; never fails, and what is encoded unchanged stays the same."""
    mark = next((mark for mark, marked in _MARKS if marked == codec and body.startswith(mark)), b"")
    content = body[len(mark) :]
    torn = len(content) % _UNIT_BYTES.get(codec, 1)
    whole, rest = content[: len(content) - torn], content[len(content) - torn :]
    try:
        return Decoded(whole.decode(codec, _errors(codec)), codec, mark, rest)
    except UnicodeError:
        return Decoded(body.decode(_BYTES), _BYTES)


def _is_other(name: str) -> bool:
    """Whether a codec of this name exists, and writes ASCII in another way, by more than wider units."""
    try:
        return codecs.lookup(name).name not in _WIDE and _ASCII.decode(name) != _ASCII.decode("ascii")
    except LookupError:
        return False
    except UnicodeError:
        return True


def _errors(codec: str) -> str:
    return "surrogatepass" if codec in _UNIT_BYTES else "strict"
