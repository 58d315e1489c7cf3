"""Overwrites the values of secret fields in bodies, header fields and texts, before anything else sees them.

Nothing but the values changes, byte for byte. What cannot be read is treated as secret: text behind
`redaction_tokens_max` pieces of a body, and a body in an encoding whose names could be hidden. The cost is linear in
the body's length. Must not know ESC's messages, HTTP or what a document means.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final
from xml.parsers import expat

from receiver.redaction.encodings import Decoded, decoded, is_plain, unreadable_declaration
from receiver.redaction.secret_names import CALLBACK_CHANNELS, PATH_HEADERS, SecretNames, fold
from receiver.redaction.text_patterns import Span, TokenBudget, secrets_in_text
from receiver.redaction.xml_lexer import XmlLexer

OVERWRITTEN: Final = "***"
TOKENS_MAX: Final = 5_000
"""Tags, texts and attributes of a body that are looked at one by one: fifty times what ESC sends."""
TEXT_TOKENS_MAX: Final = 1_000
_LOOKS_MAX = 3
"""At a document in which more is found each time; at an ordinary one it is two. Then all of it is secret."""

_CALLBACK, _EVENTS = (channel.encode() for channel in CALLBACK_CHANNELS)
_AMPERSAND, _EXCLAMATION, _AT = b"&!@"
_DECLARATION_MARKS = 2
"""Question marks of an XML declaration."""
_DECLARATION = re.compile(r"\A[\s\ufeff]*+<\?xml\b[^<>]*?\?>")
_ASIDE = re.compile(r"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>", re.DOTALL)
_ATTRIBUTE_VALUE = re.compile(r"""=\s*+(?:"[^"]*+"|'[^']*+')""")
_TEXT = re.compile(r"(?<=>)\s*+[^\s<][^<]*+")
_SEPARATOR = re.compile(r"[^\w\s.,:;/@+-]")
"""What may begin or end something inside of a text: without it, what stands around it may be read differently."""
_QUERY_VALUE = re.compile(r"(?<==)[^&#\s]++")


class Redactor:
    """Knows the names of secrets and how much of a body is looked at."""

    def __init__(self, secret_names: Iterable[str] = (), tokens_max: int = TOKENS_MAX) -> None:
        self.names = SecretNames(secret_names)
        self._tokens_max = tokens_max
        self._kind_of_header = lru_cache(maxsize=1024)(self._judge_header)

    def redact(self, body: bytes) -> tuple[bytes, bool]:
        """The body with each secret value overwritten, and whether there was any; else the same object."""
        if not (self.names.may_be_in(body) or _may_disguise(body)):
            return body, False
        clean = body
        for _ in range(_LOOKS_MAX):  # what was overwritten may have held a broken document together
            before = clean
            clean, is_done = self._look(before)
            if is_done or clean == before:
                return (clean, True) if clean != body else (body, False)
        return OVERWRITTEN.encode(), True

    def text(self, text: str) -> str:
        """A text for people, such as a status message, with the secrets in it overwritten."""
        if not self.names.may_be_in_text(text):
            return text
        spans = secrets_in_text(text, self.names, TokenBudget(TEXT_TOKENS_MAX))
        return _overwritten(text, _merged(text, spans))

    def may_hold_secret(self, name: str, value: str) -> bool:
        """False only if `header` would give the value of this field as it is."""
        return self._kind_of_header(name) != "text" or self.names.may_be_in_text(value)

    def header(self, name: str, value: str) -> str:
        """The value of a header field as it may be kept."""
        kind = self._kind_of_header(name)
        if kind == "secret":
            return OVERWRITTEN
        clean = self.text(value)
        return _QUERY_VALUE.sub(OVERWRITTEN, clean) if kind == "path" else clean

    def _judge_header(self, name: str) -> str:
        if self.names.is_secret_header(name):
            return "secret"
        return "path" if fold(name) in PATH_HEADERS else "text"

    def _look(self, body: bytes) -> tuple[bytes, bool]:
        """The body with what is found overwritten, and whether another look could not find more."""
        document = decoded(body)
        if unreadable_declaration(document) is not None:
            return _nothing_but_the_declaration(document), True
        text = document.text
        lexer = XmlLexer(text, self.names, TokenBudget(self._tokens_max))
        spans = lexer.walk()
        spans = _merged(text[: lexer.unread_from], spans)
        holds_together = not lexer.broken and not any(_SEPARATOR.search(text, *span) for span in spans)
        if lexer.unread_from is None:
            return document.encoded(_overwritten(text, spans)) if spans else body, holds_together
        seen, unread = text[: lexer.unread_from], text[lexer.unread_from :]
        is_well_formed = not lexer.broken and _is_well_formed(text)
        rest = _without_text(unread) if is_well_formed else OVERWRITTEN
        return document.encoded(_overwritten(seen, spans) + rest), is_well_formed and holds_together


def _nothing_but_the_declaration(document: Decoded) -> bytes:
    declaration = _DECLARATION.match(document.text)
    return document.encoded(f"{declaration[0] if declaration else ''}{OVERWRITTEN}")


def _is_well_formed(text: str) -> bool:
    """Whether a document without a DTD is well-formed, so that text can be told from markup by pattern."""
    if "<!DOCTYPE" in text:
        return False
    try:
        expat.ParserCreate("utf-8").Parse(text.encode("utf-8", "replace"), True)
    except expat.ExpatError:
        return False
    return True


def _without_text(markup: str) -> str:
    """The tags alone: texts and attribute values overwritten, comments, CDATA and instructions taken out."""
    tags = _ATTRIBUTE_VALUE.sub(f'="{OVERWRITTEN}"', _ASIDE.sub("", markup))
    return _TEXT.sub(OVERWRITTEN, tags)


def _overwritten(text: str, spans: list[Span]) -> str:
    parts: list[str] = []
    position = 0
    for start, end in spans:
        parts += [text[position:start], OVERWRITTEN]
        position = end
    parts.append(text[position:])
    return "".join(parts)


def _merged(text: str, spans: Iterable[Span]) -> list[Span]:
    """In order, not overlapping, without those overwritten before."""
    merged: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return [span for span in merged if text[slice(*span)] != OVERWRITTEN]


def _may_disguise(body: bytes) -> bool:
    """Whether a secret may be spelled with character references, in sections, in another encoding, or in a URL.

    A byte is found in no time; longer marks are looked for only where theirs is there.
    """
    return (
        _AMPERSAND in body
        or 0 in body
        or (_EXCLAMATION in body and body.find(b"<!") >= 0)
        or (_AT in body and body.find(b"://") >= 0)
        or body.count(b"?") > _DECLARATION_MARKS
        or body.find(_CALLBACK) >= 0
        or body.find(_EVENTS) >= 0
        or not is_plain(body)
    )
