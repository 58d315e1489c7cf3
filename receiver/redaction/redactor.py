"""Overwrites the values of secret fields in a body, before anything else sees it.

A field is secret by its name, wherever it stands and under any root: an element, an attribute, or a
name/value pair (`<property><name>os_password</name><value>…`). One lexer serves well-formed and broken
documents alike, because a parser gives up where a broken one still shows a secret; of a broken one, what
looks like a field in any other notation is read too. Nothing but the values changes, byte for byte.
It must not know ESC's messages, nor what a document means.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import unescape

from receiver.redaction.encodings import Decoded, codecs_of, decoded
from receiver.redaction.secret_names import BAGS, LABELS, VALUES, fold, is_secret, may_hold_secret

OVERWRITTEN = "***"
_LABEL_CHARACTERS_MAX = 1024
_LOOKS_MAX = 8
"""At a document in which more is found each time; at an ordinary one it is two."""

Span = tuple[int, int]
Held = Span | list["Held"]
"""Lists are handed up whole, never copied, so that deep nesting costs no more than its length."""

# Possessive throughout, and `<` ends everything: a hostile body still costs linear time.
_TOKEN = re.compile(
    r"""
      <!--(?P<comment>.*?)(?:-->|\Z)
    | <!\[CDATA\[(?P<cdata>.*?)(?:\]\]>|\Z)
    | <\?(?P<instruction>.*?)(?:\?>|\Z)
    | <!(?P<doctype>[^<>]*+)>?
    | </(?P<end>[^\s<>/]*+)[^<>]*+>?
    | <(?P<start>[^\s<>/!?"'=]++)(?P<attributes>(?:[^<>"']++|"[^"<]*+"|'[^'<]*+'|["'])*+)(?P<closed>>?)
    | (?P<text>[^<]++)
    | (?P<stray><)
    """,
    re.VERBOSE | re.DOTALL,
)
_ATTRIBUTE = re.compile(r"""(?<=[\s"'/])([^\s=<>"'/]++)\s*+=\s*+(?:"([^"<]*+)|'([^'<]*+)|([^\s"'<>]++))""")
_LOOSE_NAME = re.compile(r"(?<![\w.-])(?<!</)[A-Za-z_][\w.-]{0,127}+")
_LOOSE_VALUE = re.compile(
    r"""["']?(?:\s*+[:=>]\s*+|\s++(?=["']))
    (?:"((?:[^"\\]|\\.)*+) | '((?:[^'\\]|\\.)*+) | ([\[{]) | ([^"'<>&;,{}\[\]\r\n]++))""",
    re.VERBOSE | re.DOTALL,
)
_LOOSE_OBJECT = re.compile(r"\{[^{}]++")
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]{0,64}?PRIVATE KEY-----(.*?)(?:-----END|\Z)", re.DOTALL)


def redact(body: bytes) -> tuple[bytes, bool]:
    """The body with each secret value overwritten, and whether there was any; else the same object."""
    if not may_hold_secret(body):
        return body, False
    clean = body
    for codec in codecs_of(body):
        clean = _clean(clean, codec)
    return clean, clean is not body


def _clean(body: bytes, codec: str) -> bytes:
    """What is overwritten may have held together what a broken document says, so it is looked at again."""
    for _ in range(_LOOKS_MAX):
        document = decoded(body, codec)
        spans = _Reader(document.text).spans()
        if not spans:
            break
        body = _overwritten(document, spans)
    return body


def _overwritten(document: Decoded, spans: list[Span]) -> bytes:
    parts: list[str] = []
    position = 0
    for start, end in spans:
        parts += [document.text[position:start], OVERWRITTEN]
        position = end
    parts.append(document.text[position:])
    return document.encoded("".join(parts))


@dataclass(slots=True)
class _Frame:
    """An element that is open."""

    name: str
    secret: bool = False
    """All its text and attributes are overwritten."""
    secret_text: bool = False
    """Its own text is overwritten, what its children hold is not."""
    bag: bool = False
    """The values in it are secret, its names are not."""
    label: str | None = None
    """The text of an element that may name the value beside it."""
    labelled: bool = False
    """A label in it names a secret."""
    values: list[Held] | None = None
    """The text of the values in it: secret as soon as it is labelled."""
    held_by: _Frame | None = None
    """The element among whose `values` its text belongs."""

    def hold(self, held: Held) -> None:
        """Keeps what may turn out to be secret."""
        if self.values is None:
            self.values = []
        self.values.append(held)


class _Reader:
    """One walk over a text; collects the spans that are secret."""

    def __init__(self, text: str, *, in_comment: bool = False) -> None:
        self.text = text
        self.in_comment = in_comment
        self.found: list[Span] = []
        self.stack = [_Frame("")]
        self.open: Counter[str] = Counter()
        self.broken = False
        self._readers = {
            "comment": self._comment,
            "cdata": self._cdata,
            "instruction": self._instruction,
            "doctype": self._tear,
            "end": self._end,
            "closed": self._start,
            "text": self._text,
            "stray": self._tear,
        }

    def spans(self) -> list[Span]:
        """Where the secret values stand: in order, not overlapping, without those overwritten before."""
        for token in _TOKEN.finditer(self.text):
            self._readers[token.lastgroup or "stray"](token)
        self.broken |= len(self.stack) > 1 or not self.text.lstrip("\ufeff\xef\xbb\xbf \t\r\n").startswith("<")
        while len(self.stack) > 1:
            self._pop()
        if self.broken and not self.in_comment:
            self.found += _loose_spans(self.text)
        return [span for span in _merged(self.found) if self.text[slice(*span)] != OVERWRITTEN]

    def _start(self, token: re.Match[str]) -> None:
        parent, name = self.stack[-1], token["start"]
        folded = fold(name)
        frame = _Frame(
            name,
            secret=parent.secret or is_secret(name) or (parent.bag and folded in VALUES),
            secret_text=folded in BAGS,
            bag=parent.bag or folded in BAGS,
            label="" if folded in LABELS else None,
            held_by=parent if folded in VALUES else parent.held_by,
        )
        if token["attributes"]:
            self._attributes(token, frame)
        if not token["closed"]:
            self.broken = True
            if frame.secret:
                self._hide(*token.span("attributes"))
        if not token["attributes"].endswith("/"):
            self.stack.append(frame)
            self.open[name] += 1

    def _attributes(self, token: re.Match[str], frame: _Frame) -> None:
        """Hides secret attributes; one that labels the element makes its text and its values secret."""
        held = []
        for attribute in _ATTRIBUTE.finditer(self.text, *token.span("attributes")):
            name, span = attribute[1], attribute.span(attribute.lastindex or 0)
            folded = fold(name)
            if is_secret(name) or (frame.bag and folded in VALUES) or (frame.secret and not _stays(name, folded)):
                self.found.append(span)
            elif folded in VALUES:
                held.append(span)
            elif folded in LABELS and is_secret(unescape(self.text[slice(*span)]).strip()):
                frame.labelled = frame.secret_text = True
        if frame.labelled:
            self.found += held

    def _end(self, token: re.Match[str]) -> None:
        name = token["end"]
        self.broken |= not token[0].endswith(">")
        if self.open[name]:
            while self.stack[-1].name != name:
                self.broken = True
                self._pop()
            self._pop()
            return
        self.broken = True
        if is_secret(self.stack[-1].name):  # its end tag, misspelt: what follows is not of it
            self._pop()

    def _pop(self) -> None:
        frame = self.stack.pop()
        self.open[frame.name] -= 1
        if frame.label and is_secret(unescape(frame.label).strip()):
            self.stack[-1].labelled = True
        if frame.values and frame.labelled:
            self.found += _flat(frame.values)
        elif frame.values and frame.held_by:
            frame.held_by.hold(frame.values)

    def _text(self, token: re.Match[str]) -> None:
        self._content(*token.span("text"))

    def _cdata(self, token: re.Match[str]) -> None:
        self.broken |= not token[0].endswith("]]>")
        self._content(*token.span("cdata"))

    def _content(self, start: int, end: int) -> None:
        frame = self.stack[-1]
        span = self._stripped(start, end)
        if not span:
            return
        self.broken |= len(self.stack) == 1
        if frame.secret or frame.secret_text:
            self.found.append(span)
            return
        if frame.label is not None and len(frame.label) < _LABEL_CHARACTERS_MAX:
            frame.label += self.text[start:end]
        if frame.held_by:
            frame.held_by.hold(span)

    def _comment(self, token: re.Match[str]) -> None:
        start, end = token.span("comment")
        self.broken |= not token[0].endswith("-->")
        if self.stack[-1].secret:
            self._hide(start, end)
        elif not self.in_comment:
            inside = _Reader(self.text[start:end], in_comment=True).spans()
            self.found += [(start + first, start + last) for first, last in inside]

    def _instruction(self, token: re.Match[str]) -> None:
        self.broken |= not token[0].endswith("?>")
        if self.stack[-1].secret:
            self._hide(*token.span("instruction"))

    def _tear(self, _: re.Match[str]) -> None:
        """A DTD, or a `<` that begins nothing: nobody will read this as XML."""
        self.broken = True

    def _hide(self, start: int, end: int) -> None:
        self.found += [span for span in [self._stripped(start, end)] if span]

    def _stripped(self, start: int, end: int) -> Span | None:
        text = self.text[start:end]
        start += len(text) - len(text.lstrip())
        end -= len(text) - len(text.rstrip())
        return (start, end) if start < end else None


def _loose_spans(text: str) -> Iterator[Span]:
    """What looks like a secret field in JSON, a form, a log or a torn tag."""
    yield from _loose_fields(text, 0, len(text), is_secret)
    for thing in _LOOSE_OBJECT.finditer(text):
        labels = _loose_fields(text, *thing.span(), lambda name: fold(name) in LABELS)
        if any(is_secret(text[slice(*span)].strip()) for span in labels):
            yield from _loose_fields(text, *thing.span(), lambda name: fold(name) in VALUES)
    yield from (key.span(1) for key in _PRIVATE_KEY.finditer(text))


def _loose_fields(text: str, start: int, end: int, is_wanted: Callable[[str], bool]) -> Iterator[Span]:
    """Where the values of wanted names stand. In a value no name is looked for."""
    covered = start
    for name in _LOOSE_NAME.finditer(text, start, end):
        if name.start() < covered or not is_wanted(name[0]):
            continue
        if value := _LOOSE_VALUE.match(text, name.end(), end):
            first, covered = value.span(value.lastindex or 0)
            if value[3]:
                closing = text.find("]" if value[3] == "[" else "}", covered, end)
                first, covered = covered, closing if closing >= 0 else end
            yield first, covered


def _stays(name: str, folded: str) -> bool:
    """Attributes of a secret element that say what it is."""
    return folded in {"name", "id", "type"} or name.startswith(("xmlns", "xml:", "xsi:"))


def _flat(held: list[Held]) -> Iterator[Span]:
    pending = held[:]
    while pending:
        one = pending.pop()
        if isinstance(one, list):
            pending += one
        else:
            yield one


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
