"""Finds secret values in markup: by the name of an element or attribute, or of the label beside a value.

One lexer serves well-formed and broken documents alike, because a parser gives up where a broken one still shows a
secret. It looks into comments, CDATA and escaped markup, too. Must not know ESC's messages, nor encodings.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from typing import TypeAlias

from receiver.redaction.secret_names import BAGS, LABELS, VALUES, SecretNames, fold
from receiver.redaction.text_patterns import Span, TokenBudget, secrets_in_text

Pending: TypeAlias = "Span | list[Pending]"
"""Lists are handed up whole, never copied, so that deep nesting costs no more than its length."""

LABEL_CHARACTERS_MAX = 1024
"""Of a label that is read; what is longer counts as the name of a secret."""
DEPTH_MAX = 256
"""Of elements: what lies deeper is not read, as the parser refuses it too."""
NESTED_MAX = 3
"""How deep markup may be escaped within markup and is still read; text below is secret."""

# Possessive throughout, and `<` ends everything: a hostile body still costs linear time.
_TOKEN = re.compile(
    r"""
      <!--(?P<comment>(?:[^-]++|-(?!->))*+)(?:-->|\Z)
    | <!\[CDATA\[(?P<cdata>(?:[^]]++|\](?!\]>))*+)(?:\]\]>|\Z)
    | <\?(?P<instruction>(?:[^?]++|\?(?!>))*+)(?:\?>|\Z)
    | <!(?P<doctype>[^<>]*+)>?
    | </(?P<end>[^\s<>/]*+)[^<>]*+>?
    | <(?P<start>[^\s<>/!?"'=]++)(?P<attributes>(?:[^<>"']++|"[^"<]*+"|'[^'<]*+'|["'])*+)(?P<closed>>?)
    | (?P<text>[^<]++)
    | (?P<stray><)
    """,
    re.VERBOSE | re.DOTALL,
)
_ATTRIBUTE = re.compile(r"""(?<=[\s"'/])([^\s=<>"'/]++)\s*+=\s*+(?:"([^"<]*+)|'([^'<]*+)|([^\s"'<>]++))""")
_REFERENCE = re.compile(r"&(?:lt|gt|amp|quot|apos|#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6});")
_ESCAPED_MARKUP = re.compile(r"&(?:amp;)*+(?:lt|quot|#0*(?:34|60)|#[xX]0*(?:22|3[cC]));")


@dataclass(slots=True)
class _Element:
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
    values: list[Pending] | None = None
    """The text of the values in it: secret as soon as it is labelled."""
    holder: _Element | None = None
    """The element among whose `values` its text belongs."""

    def hold(self, pending: Pending) -> None:
        """Keep what may turn out to be secret."""
        if self.values is None:
            self.values = []
        self.values.append(pending)


class XmlLexer:
    """One walk over a text; collects the spans that are secret."""

    def __init__(self, text: str, names: SecretNames, budget: TokenBudget, nested: int = 0) -> None:
        self.text = text
        self.names = names
        self.budget = budget
        self.nested = nested
        self.found: list[Span] = []
        self.stack = [_Element("")]
        self.open: Counter[str] = Counter()
        self.broken = not text.lstrip("\ufeff\xef\xbb\xbf \t\r\n").startswith("<")
        self.unread_from: int | None = None
        """Where the budget was spent: nothing behind is known."""
        self._handlers = {
            "comment": self._comment,
            "cdata": self._cdata,
            "instruction": self._instruction,
            "doctype": self._tear,
            "end": self._end,
            "closed": self._start,
            "text": self._text,
            "stray": self._tear,
        }

    def walk(self) -> list[Span]:
        """Where secret values stand, in no order; `unread_from` is set when not all was read."""
        for token in _TOKEN.finditer(self.text):
            if len(self.stack) > DEPTH_MAX or not self.budget.spend():
                self.unread_from = token.start()
                break
            self._handlers[token.lastgroup or "stray"](token)
        self._close_all()
        if self.broken and not self.nested:
            self.found += secrets_in_text(self.text[: self.unread_from], self.names, self.budget)
        return self.found

    def _close_all(self) -> None:
        """What is still open is torn, or unread: then what its values would be called is not known."""
        self.broken |= len(self.stack) > 1 and self.unread_from is None
        while len(self.stack) > 1:
            if self.unread_from is not None:
                self.stack[-1].labelled = True
            self._pop()

    def _start(self, token: re.Match[str]) -> None:
        parent, name = self.stack[-1], token["start"]
        folded = fold(name)
        element = _Element(
            name,
            secret=parent.secret or self.names.is_secret(name) or (parent.bag and folded in VALUES),
            secret_text=folded in BAGS,
            bag=parent.bag or folded in BAGS,
            label="" if folded in LABELS else None,
            holder=parent if folded in VALUES else parent.holder,
        )
        if token["attributes"]:
            self._attributes(token, element)
        if not token["closed"]:
            self.broken = True
            if element.secret:
                self._hide(*token.span("attributes"))
        if not token["attributes"].endswith("/"):
            self.stack.append(element)
            self.open[name] += 1

    def _attributes(self, token: re.Match[str], element: _Element) -> None:
        """Hide secret attributes; one that labels the element makes its text and its values secret."""
        values = []
        for attribute in _ATTRIBUTE.finditer(self.text, *token.span("attributes")):
            name, span = attribute[1], attribute.span(attribute.lastindex or 0)
            if not self.budget.spend():
                self.found.append((span[0], token.end("attributes")))
                break
            folded = fold(name)
            if (
                self.names.is_secret(name)
                or (element.bag and folded in VALUES)
                or (element.secret and not _stays(name, folded))
            ):
                self.found.append(span)
            elif folded in VALUES:
                values.append(span)
            elif folded in LABELS and self._names_a_secret(self.text[slice(*span)]):
                element.labelled = element.secret_text = True
            else:
                self._look_into(*span)
        if element.labelled:
            self.found += values
        else:
            for span in values:
                self._look_into(*span)

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
        if self.names.is_secret(self.stack[-1].name):  # its end tag, misspelt: what follows is not of it
            self._pop()

    def _pop(self) -> None:
        element = self.stack.pop()
        self.open[element.name] -= 1
        if element.label and self._names_a_secret(element.label):
            self.stack[-1].labelled = True
        if element.values and element.labelled:
            self.found += _flat(element.values)
        elif element.values and element.holder:
            element.holder.hold(element.values)

    def _names_a_secret(self, label: str) -> bool:
        """Whether the text of a label is the name of a secret; one that cannot be read is taken for one."""
        if len(label) > LABEL_CHARACTERS_MAX:
            return True
        try:
            return self.names.is_secret(unescape(label).strip())
        except (ValueError, OverflowError):
            return True

    def _text(self, token: re.Match[str]) -> None:
        self._content(*token.span("text"))

    def _cdata(self, token: re.Match[str]) -> None:
        if token[0].endswith("]]>"):
            self._content(*token.span("cdata"), verbatim=True)
        else:
            self._torn(*token.span("cdata"))

    def _content(self, start: int, end: int, *, verbatim: bool = False) -> None:
        element = self.stack[-1]
        span = self._stripped(start, end)
        if not span:
            return
        self.broken |= len(self.stack) == 1
        if element.secret or element.secret_text:
            self.found.append(span)
            return
        if element.label is not None and len(element.label) <= LABEL_CHARACTERS_MAX:
            element.label += self.text[start:end]
        if element.holder:
            element.holder.hold(span)
        self._look_into(*span, verbatim=verbatim)

    def _look_into(self, start: int, end: int, *, verbatim: bool = False) -> None:
        """Look for secrets inside a text: fields of JSON, forms and logs, URLs, keys, and markup that is escaped."""
        text = self.text[start:end]
        is_read_later = self.broken and not self.nested
        if not is_read_later and self.names.may_be_in_text(text):
            self.found += ((start + a, start + b) for a, b in secrets_in_text(text, self.names, self.budget))
        if verbatim and "<" in text:
            self._nest(text, start, end)
        elif not verbatim and "&" in text and _ESCAPED_MARKUP.search(text):
            self._unescape(text, start, end)

    def _unescape(self, text: str, start: int, end: int) -> None:
        """Read a text as what it says once its references are resolved, and find the places in the text as written."""
        if self.nested >= NESTED_MAX or not self.budget.spend(text.count("&")):
            self.found.append((start, end))
            return
        inner, positions = _resolved(text)
        lexer = XmlLexer(inner, self.names, self.budget, self.nested + 1)
        found = lexer.walk()
        found += secrets_in_text(inner[: lexer.unread_from], self.names, self.budget)
        if lexer.unread_from is not None:
            found.append((lexer.unread_from, len(inner)))
        self.found += ((start + positions(a), start + positions(b)) for a, b in found)

    def _nest(self, text: str, start: int, end: int) -> None:
        if self.nested >= NESTED_MAX:
            self.found.append((start, end))
            return
        lexer = XmlLexer(text, self.names, self.budget, self.nested + 1)
        self.found += ((start + a, start + b) for a, b in lexer.walk())
        if lexer.unread_from is not None:
            self.found.append((start + lexer.unread_from, end))

    def _comment(self, token: re.Match[str]) -> None:
        if not token[0].endswith("-->"):
            self._torn(*token.span("comment"))
        elif self.stack[-1].secret:
            self._hide(*token.span("comment"))
        else:
            self._look_into(*token.span("comment"), verbatim=True)

    def _instruction(self, token: re.Match[str]) -> None:
        if not token[0].endswith("?>"):
            self._torn(*token.span("instruction"))
        elif self.stack[-1].secret:
            self._hide(*token.span("instruction"))
        elif token["instruction"][:4] not in ("xml ", "xml\t", "xml\n"):
            self._look_into(*token.span("instruction"))

    def _torn(self, start: int, end: int) -> None:
        """A section without its end: all of it is secret, since nobody can tell what it is."""
        self.broken = True
        self._hide(start, end)

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


def _stays(name: str, folded: str) -> bool:
    """Attributes of a secret element that say what it is."""
    return folded in {"name", "id", "type"} or name.startswith(("xmlns", "xml:", "xsi:"))


def _flat(pending: list[Pending]) -> Iterator[Span]:
    waiting = pending[:]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        else:
            yield one


class _Positions:
    """Where a place in a resolved text stands in the text as written."""

    def __init__(self) -> None:
        self.inner = [0]
        self.outer = [0]

    def __call__(self, place: int) -> int:
        at = bisect_right(self.inner, place) - 1
        return self.outer[at] + place - self.inner[at]


def _resolved(text: str) -> tuple[str, _Positions]:
    """The text with its character references resolved once."""
    positions, parts, last, length = _Positions(), [], 0, 0
    for reference in _REFERENCE.finditer(text):
        said = unescape(reference[0])
        parts += [text[last : reference.start()], said]
        length += reference.start() - last + len(said)
        last = reference.end()
        positions.inner.append(length)
        positions.outer.append(last)
    parts.append(text[last:])
    return "".join(parts), positions
