"""Makes any text storable: in a text column, a JSON document, a NATS header or a label.

PostgreSQL takes no NUL, nothing that encodes to UTF-8 takes a lone surrogate, and both reach us in
header bytes. The raw bytes stay raw where they are kept; this is for text only.
"""

from __future__ import annotations

import re

_UNFIT = re.compile("[\0\ud800-\udfff]")
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
