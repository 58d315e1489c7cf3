"""From the bytes that were sent to the bytes that may be stored: decoded, and with secret values overwritten.

A body that cannot be decoded is stored as received, but not with a secret that anybody could unpack: what can be
inflated of it is looked at, and where that holds a secret, the inflated and overwritten text is stored instead.
Must not know HTTP, nor what a body means.
"""

from __future__ import annotations

import zlib
from typing import Final, NamedTuple

from receiver.errors import UndecodableBodyError
from receiver.parsing.content_encoding import MEMBERS_MAX, decode_body
from receiver.redaction.redactor import OVERWRITTEN, Redactor

_GZIP_MAGIC: Final = b"\x1f\x8b"
_TEXT_BEGINS: Final = frozenset(bytes([byte]) for byte in b"<{[ \t\r\n\xef\xfe\xff\0") | {b""}
"""How XML and JSON begin, in any encoding and after any mark; what begins otherwise may be compressed."""
_WINDOWS: Final = (16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS)
"""gzip, zlib, and deflate without a header."""
_LAYERS_MAX: Final = 3
_PORTION_BYTES: Final = 1024
_INFLATED_BYTES_MIN: Final = 8
"""Less is a coincidence: any bytes inflate to something by one of the windows."""
INFLATED = "what could be inflated of it is stored, with secret values overwritten"


class StoredBody(NamedTuple):
    """What is stored of a body."""

    body: bytes
    redacted: bool
    """A secret value was overwritten."""
    undecodable_because: str | None = None


def may_be_packed(body: bytes) -> bool:
    """Whether it may be compressed: it does not begin as text does."""
    return body[:1] not in _TEXT_BEGINS


def stored_body(sent: bytes, content_encoding: str | None, redactor: Redactor, bytes_max: int) -> StoredBody:
    """The body as it is stored. Raises BodyTooLargeError when it unpacks to more than `bytes_max`."""
    body, fault = sent, None
    if content_encoding:
        try:
            body = decode_body(sent, content_encoding, bytes_max)
        except UndecodableBodyError as error:
            fault = str(error)
    if fault or may_be_packed(body):
        return _without_packed_secrets(body, fault, redactor, bytes_max)
    clean, redacted = redactor.redact(body)
    return StoredBody(clean, redacted)


def _without_packed_secrets(body: bytes, fault: str | None, redactor: Redactor, bytes_max: int) -> StoredBody:
    """The body as received, unless it shows a secret, as it is or inflated.

    The innermost text is looked at first: compressed bytes may look like a secret of their own, and what is overwritten
    in them would hide nothing of what comes before it.
    """
    packed = "compressed without need" if fault is None else fault
    layers = _inflated_layers(body, bytes_max)
    if len(layers) > _LAYERS_MAX:
        return StoredBody(OVERWRITTEN.encode(), True, f"{packed}; compressed more than {_LAYERS_MAX} times")
    for text in reversed(layers):
        clean, redacted = redactor.redact(text)
        if redacted:
            return StoredBody(clean, True, f"{packed}; {INFLATED}")
    if body.startswith(_GZIP_MAGIC):  # what looks like a secret in it is none
        return StoredBody(body, False, fault)
    clean, redacted = redactor.redact(body)
    return StoredBody(clean, redacted, fault)


def _inflated_layers(body: bytes, bytes_max: int) -> list[bytes]:
    """What is inside a compressed body, and inside that, as far as it can be inflated."""
    layers: list[bytes] = []
    while len(layers) <= _LAYERS_MAX and (body := _inflated(body, bytes_max)):
        layers.append(body)
    return layers


def _inflated(body: bytes, bytes_max: int) -> bytes:
    """The longest beginning that inflates by any of the windows, at most `bytes_max` bytes; empty when none does."""
    found = max((_begin_inflated(body, window, bytes_max) for window in _WINDOWS), key=len)
    return found if len(found) >= _INFLATED_BYTES_MIN else b""


def _begin_inflated(body: bytes, window: int, bytes_max: int) -> bytes:
    """All members, one behind the other, up to the first fault."""
    found = bytearray()
    for _ in range(MEMBERS_MAX):
        body = _member_inflated(found, body, window, bytes_max)
        if not body or len(found) > bytes_max:
            break
    return bytes(found[:bytes_max])


def _member_inflated(found: bytearray, body: bytes, window: int, bytes_max: int) -> bytes:
    """Adds one member to what was found; returns what follows it, empty after a fault."""
    stream = zlib.decompressobj(window)
    for start in range(0, len(body), _PORTION_BYTES):
        portion, before = body[start : start + _PORTION_BYTES], stream.copy()
        try:
            found += stream.decompress(portion, bytes_max - len(found) + 1)
        except zlib.error:
            found += _until_the_fault(before, portion)
            break
        if stream.eof:
            return stream.unused_data + body[start + _PORTION_BYTES :]
        if len(found) > bytes_max:
            break
    return b""


def _until_the_fault(stream: zlib._Decompress, portion: bytes) -> bytes:
    """What comes before the fault: zlib gives nothing of a portion that holds one, so byte by byte."""
    found = bytearray()
    for at in range(len(portion)):
        try:
            found += stream.decompress(portion[at : at + 1], _PORTION_BYTES)
        except zlib.error:
            break
    return bytes(found)
