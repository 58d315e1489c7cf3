"""Secrets in text that is no markup: JSON, forms, logs, URLs, PEM keys, HTTP credentials.

Patterns are possessive, so that a hostile text costs no more than its length; what they find is a span of the text.
Must not know XML.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TypeAlias

from receiver.redaction.secret_names import LABELS, VALUES, SecretNames, fold

Span: TypeAlias = tuple[int, int]

_NAME = re.compile(r"[A-Za-z_](?<![\w.-].)(?<!</.)[\w.-]{0,127}+")  # a letter first, which is searched for fastest
_VALUE = re.compile(
    r"""["']?(?:\s*+[:=>]\s*+|\s++(?=["']))
    (?:"((?:[^"\\]|\\.)*+) | '((?:[^'\\]|\\.)*+) | ([\[{]) | ([^"'<>&;,{}\[\]\r\n]++))""",
    re.VERBOSE | re.DOTALL,
)
_OBJECT = re.compile(r"\{[^{}]++")
_PATTERNS = (
    ("-----BEGIN", re.compile(r"-----BEGIN [A-Z ]{0,64}?PRIVATE KEY-----(.*?)(?:-----END|\Z)", re.DOTALL)),
    ("://", re.compile(r"://[^/\s:@<>\"'?#]{0,256}+:([^/\s@<>\"']{1,1024}+)@")),
    ("/esc/", re.compile(r"/esc/[^/?#\s\"'<>]{1,256}+/(?:callback|events)/([^/?#\s\"'<>]++)")),
    ("earer", re.compile(r"[Bb]earer\s++([A-Za-z0-9+/=_.~-]{8,}+)")),
    ("asic", re.compile(r"[Bb]asic\s++([A-Za-z0-9+/=_.~-]{8,}+)")),
)
"""What must stand in the text, which is found in no time, and where the secret is: a private key's lines, the password
of a URL, the token of a callback URL of ours, an HTTP credential."""


class TokenBudget:
    """How much of a body is still looked at piece by piece: a hostile one is made of a million pieces."""

    def __init__(self, tokens_max: int) -> None:
        self.left = tokens_max

    def spend(self, tokens: int = 1) -> bool:
        """Whether so many more tokens may be looked at."""
        self.left -= tokens
        return self.left >= 0


def secrets_in_text(text: str, names: SecretNames, budget: TokenBudget) -> Iterator[Span]:
    """Where values of secrets stand, in no order; what the budget does not reach is one span to the end."""
    yield from _fields(text, 0, len(text), names.is_secret, budget)
    if "{" in text:
        yield from _labelled(text, names, budget)
    for mark, pattern in _PATTERNS:
        if mark in text:
            yield from (found.span(1) for found in pattern.finditer(text))


def _labelled(text: str, names: SecretNames, budget: TokenBudget) -> Iterator[Span]:
    """Values of objects such as `{"name": "os_password", "value": "…"}`."""
    for found in _OBJECT.finditer(text):
        if not budget.spend():
            yield found.start(), len(text)
            return
        labels = _fields(text, *found.span(), lambda name: fold(name) in LABELS, budget)
        if any(names.is_secret(text[slice(*span)].strip()) for span in labels):
            yield from _fields(text, *found.span(), lambda name: fold(name) in VALUES, budget)


def _fields(text: str, start: int, end: int, is_wanted: Callable[[str], bool], budget: TokenBudget) -> Iterator[Span]:
    """Where the values of wanted names stand. Inside a value no name is looked for."""
    while name := _NAME.search(text, start, end):
        if not budget.spend():
            yield name.start(), end
            return
        start = name.end()
        if is_wanted(name[0]) and (value := _VALUE.match(text, start, end)):
            first, start = value.span(value.lastindex or 0)
            if value[3]:
                closing = text.find("]" if value[3] == "[" else "}", start, end)
                first, start = start, closing if closing >= 0 else end
            yield first, start
