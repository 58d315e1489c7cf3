"""Makes any text storable (in a text column, a JSON document, a NATS header or a label), and harmless when shown.

PostgreSQL takes no NUL, nothing that encodes to UTF-8 takes a lone surrogate, and both reach us in
header bytes. The raw bytes stay raw where they are kept; this is for text only.
"""

from __future__ import annotations

import re

_UNFIT = re.compile(r"[\0\ud800-\udfff]")
_FIRST_ESCAPED = 0xDC80
_LAST_ESCAPED = 0xDCFF


def sanitize(text: str) -> str:
    r"""The text with what cannot be stored spelled out: NUL and bytes that were no UTF-8 (lone surrogates
    by `surrogateescape`) as `\x00`, `\xff`; any other lone surrogate as `\ud800`. Nothing is lost."""
    if text.isascii() and "\0" not in text:
        return text
    return _UNFIT.sub(_spelled, text)


def _spelled(match: re.Match[str]) -> str:
    point = ord(match[0])
    if _FIRST_ESCAPED <= point <= _LAST_ESCAPED:
        return f"\\x{point - 0xDC00:02x}"
    return f"\\x{point:02x}" if point == 0 else f"\\u{point:04x}"


def plain(text: str) -> str:
    r"""The text with everything that could steer a terminal, hide or turn the text around it (controls, bidirectional
    marks, line ends) as JSON writes it, `\u202e`; so a JSON document remains the same document."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _json_escape(c) for c in text)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
