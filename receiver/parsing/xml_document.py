"""Bytes to plain values: reads one XML document behind locked doors.

The only file that knows lxml; it must not know ESC. Elements become dictionaries by local name, leaves
become trimmed text, what is empty is left out, what repeats becomes a list. Attributes, comments and
instructions are not read: ESC uses none, and looking through a crowd of attributes takes quadratic time.
Faults are described in our own words, because libxml2's repeat what they found.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from lxml import etree

from receiver.errors import NotXmlError
from receiver.redaction.encodings import decoded, is_plain, unreadable_declaration

Value: TypeAlias = "str | Fields | list[str | Fields]"
Fields: TypeAlias = dict[str, Value]

LARGE_BYTES: Final = 32_768
"""Many times what ESC sends. A larger document is read aside, and of its content only so much is kept:"""
KEPT_CHARACTERS_MAX: Final = 65_536
"""in all (a change must fit into one message of the feed),"""
TEXT_CHARACTERS_MAX: Final = 4096
"""of one text,"""
NAME_CHARACTERS_MAX: Final = 128
"""and of one element's name."""
TAG_CHARACTERS_MAX: Final = 4096
"""Of a name with its namespace, which lxml writes out for each element: a long one in many would take seconds."""
NAMES_REMEMBERED_MAX: Final = 256
"""How many local names are cut out of their tags once, not each time: it took half of the reading."""

_PROLOG: Final = re.compile(rb"(?:\xef\xbb\xbf)?(?>\s+|<\?(?>.*?\?>)|<!--(?>.*?-->))*+(?=<!DOCTYPE)", re.DOTALL)
_NO_DTD: Final = "a document type declaration (DTD) is refused"
_TOO_DEEP: Final = "elements are nested too deep"

_OUT_OF_MEMORY: Final = 2
_FAULTS: Final[Mapping[int, str]] = MappingProxyType(
    {
        _OUT_OF_MEMORY: "more than libxml2 can hold",
        4: "this is not XML: a start tag is missing",
        5: "something follows the end of the document",
        9: "a character that XML does not allow",
        26: "an entity that is not declared",
        32: "an encoding that is not supported",
        64: "an XML declaration that is not at the very start",
        73: "a tag is not closed",
        76: "an end tag does not match its start tag",
        77: "the document ends before its elements do",
        81: "bytes that the encoding does not allow",
        110: "a name is too long",
        114: "nested too deep, or larger than libxml2 allows",
        201: "a namespace prefix that is not declared",
    }
)
"""libxml2's error numbers (xmlParserErrors) in our words."""


class Document(NamedTuple):
    """A document as plain values."""

    root: str
    """The root element's local name."""
    fields: Fields
    cut: bool
    """It was so large that a part was left out."""


def read(body: bytes, depth_max: int) -> Document:
    """Raise NotXmlError for anything but a well-formed document without a DTD, at most `depth_max` elements deep."""
    if len(body) > LARGE_BYTES:
        return _read_aside(body, depth_max)
    return _read(body, depth_max, _PARSER)


class _ParserFullError(Exception):
    """The names that this thread has met leave no room for those of the document."""


class Part(NamedTuple):
    """An element of a document, read as if it were one."""

    document: Document
    raw: bytes
    """The element as it stands there, with the namespaces that it needs."""


def read_parts(body: bytes, depth_max: int, name: str) -> tuple[str, list[Part]]:
    """The root's name, and every element of this name that stands in no other of it; the root too, if that is it.

    Each part has the limits of a document of its own. Raises NotXmlError as `read` does. For a body of many parts, so
    always in a thread of its own: see `_read_aside`.
    """
    with ThreadPoolExecutor(1, "document") as thread:
        return thread.submit(lambda: _parts(_root(body, _locked_parser()), depth_max, name)).result()


def _parts(root: etree._Element, depth_max: int, name: str) -> tuple[str, list[Part]]:
    waiting, parts = deque([(root, depth_max)]), list[Part]()
    while waiting:
        element, room = waiting.popleft()
        if _local(element.tag) == name:
            kept, cut = _bounded(_nested(element, room - 1, _local))
            parts.append(Part(Document(name, kept, cut), etree.tostring(element, encoding="utf-8", with_tail=False)))
        elif room < 1:
            raise NotXmlError(f"{_TOO_DEEP} (line {element.sourceline})")
        else:
            waiting.extend((child, room - 1) for child in element)
    return _local(root.tag), parts


def _locked_parser() -> etree.XMLParser:
    # Not collect_ids=False, tempting as it is: up to libxml2 2.14 it makes libxml2 load external DTDs.
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        attribute_defaults=False,
        huge_tree=False,
        recover=False,
        remove_comments=True,
        remove_pis=True,
        remove_blank_text=True,
    )


(_EXCLAMATION,) = b"!"
_PARSER: Final = _locked_parser()
"""Made once: that costs more than reading. lxml lets one thread at a time use it, and errors leave it clean."""


def _read_aside(body: bytes, depth_max: int) -> Document:
    """Read in a thread of its own: libxml2 keeps every element name it meets for as long as the thread lives,
    and reads nothing more once they fill 100 MB."""
    with ThreadPoolExecutor(1, "document") as thread:
        return thread.submit(lambda: _read(body, depth_max, _locked_parser())).result()


def _read(body: bytes, depth_max: int, parser: etree.XMLParser) -> Document:
    try:
        root = _root(body, parser)
    except _ParserFullError:
        return _read_aside(body, depth_max)
    is_large = len(body) > LARGE_BYTES
    local = _local if is_large else _local_remembered
    name = local(root.tag)
    fields = _nested(root, depth_max - 1, local) if len(root) else {}
    return Document(name, *_bounded(fields)) if is_large else Document(name, fields, cut=False)


def _root(body: bytes, parser: etree.XMLParser) -> etree._Element:
    """Raises _ParserFullError too, for the shared parser."""
    document = body.lstrip()
    if not document:
        raise NotXmlError("the body is empty")
    if not is_plain(body) and (place := unreadable_declaration(decoded(body))):
        raise NotXmlError("an encoding that is not supported (line {}, column {})".format(*place))
    if _EXCLAMATION in document:  # found in no time, and next to never there
        _refuse_dtd(body)
    try:
        root = etree.fromstring(document, parser)
    except etree.XMLSyntaxError as error:
        if _code(error) == _OUT_OF_MEMORY and parser is _PARSER:
            raise _ParserFullError from None
        raise NotXmlError(_fault(error, body[: len(body) - len(document)].count(b"\n"))) from None
    if root.getroottree().docinfo.internalDTD is not None:  # in an encoding that is no superset of ASCII
        raise NotXmlError(_NO_DTD)
    return root


def _refuse_dtd(body: bytes) -> None:
    """Before libxml2 sees it, whatever its version makes of entities; the same bytes in a comment or CDATA are text."""
    if prolog := _PROLOG.match(body):
        line, before = body.count(b"\n", 0, prolog.end()) + 1, body.rfind(b"\n", 0, prolog.end())
        raise NotXmlError(f"{_NO_DTD} (line {line}, column {prolog.end() - before})")


def _code(error: etree.XMLSyntaxError) -> int:
    code: int = error.code  # type: ignore[attr-defined]  # the stubs lack it
    return code


def _fault(error: etree.XMLSyntaxError, lines_before: int) -> str:
    fault = _FAULTS.get(_code(error)) or "not well-formed"
    line, column = error.position
    return f"{fault} (line {line + lines_before}, column {column})" if line else fault


def _local(tag: str) -> str:
    if len(tag) > TAG_CHARACTERS_MAX:
        raise NotXmlError("a name with its namespace is too long")
    return tag[tag.rfind("}") + 1 :]


_local_remembered: Final = lru_cache(NAMES_REMEMBERED_MAX)(_local)


def _fields(element: etree._Element, room: int, local: Callable[[str], str]) -> Fields:
    """The children by local name; `room` is how many levels may still lie below `element`."""
    fields: Fields = {}
    for child in element:
        text = child.text
        value = _nested(child, room - 1, local) if len(child) else text and text.strip()
        if value:
            name = local(child.tag)
            if name in fields:
                _add(fields, name, value)
            else:
                fields[name] = value
    return fields


def _nested(element: etree._Element, room: int, local: Callable[[str], str]) -> Fields:
    if room < 1:
        raise NotXmlError(f"{_TOO_DEEP} (line {element.sourceline})")
    fields = _fields(element, room, local)
    if (text := element.text) and (text := text.strip()):
        fields["#text"] = text
    return fields


def _add(fields: Fields, name: str, value: str | Fields) -> None:
    there = fields[name]
    if isinstance(there, list):
        there.append(value)
    else:
        fields[name] = [there, value]


def _bounded(fields: Fields) -> tuple[Fields, bool]:
    """A copy within the limits, and whether anything is missing. Breadth first: what stands near the root,
    where the ids are, is kept before what lies deep."""
    kept: Fields = {}
    waiting = deque([(fields, kept)])
    room = KEPT_CHARACTERS_MAX
    cut = False

    def copy(value: str | Fields) -> str | Fields:
        nonlocal room, cut
        if isinstance(value, str):
            cut = cut or len(value) > TEXT_CHARACTERS_MAX
            room -= min(len(value), TEXT_CHARACTERS_MAX)
            return value[:TEXT_CHARACTERS_MAX]
        inner: Fields = {}
        waiting.append((value, inner))
        return inner

    while waiting:
        source, target = waiting.popleft()
        for name, value in source.items():
            for one in value if isinstance(value, list) else [value]:
                room -= len(short := name[:NAME_CHARACTERS_MAX]) + 8
                if room < 0:
                    return kept, True
                cut = cut or short != name
                if short in target:
                    _add(target, short, copy(one))
                else:
                    target[short] = copy(one)
    return kept, cut
