"""XML of requests as plain values, whole: what is empty stays, as an empty text, so that both languages say the same.

Elements become dictionaries by local name, leaves become trimmed text, what repeats becomes a list. Whether it is read
at all decides `receiver.parsing.xml_document`. This file must not know models.
"""

from __future__ import annotations

import re
from typing import Any

from lxml import etree

from receiver.parsing import xml_document

DEPTH_MAX = 64
_DECLARATION = re.compile(r"\s*<\?xml[^>]*\?>")


def read_xml(body: bytes) -> tuple[str, Any]:
    """The root's name and its value; raises NotXmlError for what is not well-formed, has a DTD or is too deep."""
    xml_document.read(body, DEPTH_MAX)
    root = _root(body)
    return _name(root), _value(root)


def text_of(body: bytes) -> str:
    """The text of a document that `read_xml` has read: as it came, or without its declaration in another encoding."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        return etree.tostring(_root(body), encoding="unicode")


def without_declaration(text: str) -> bytes:
    """The same in UTF-8, whatever encoding it says it had."""
    return _DECLARATION.sub("", text, count=1).encode()


def _root(body: bytes) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True)
    return etree.fromstring(body.lstrip(), parser)


def _value(element: etree._Element) -> Any:
    if not len(element):
        return (element.text or "").strip()
    fields: dict[str, Any] = {}
    for child in element:
        name, value = _name(child), _value(child)
        if name not in fields:
            fields[name] = value
        elif isinstance(fields[name], list):
            fields[name].append(value)
        else:
            fields[name] = [fields[name], value]
    return fields


def _name(element: etree._Element) -> str:
    return str(element.tag).rpartition("}")[2]
