"""Bodies: redaction and parser agree about them, and nothing but the declared errors is raised."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from receiver.errors import BodyTooLargeError, NotXmlError
from receiver.parsing import xml_document
from receiver.parsing.stored_body import stored_body
from receiver.redaction.redactor import Redactor
from tests.support.shown_secrets import secrets_left

DEPTH_MAX = 64
UNPACKED_BYTES_MAX = 65_536
REDACTOR = Redactor()
ENCODINGS = ("utf-8", "utf-8", "utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1")
SECRET = b"hunter2"
GZIP = b"\x1f\x8b"
PACKED_HEAD_BYTES = 5
PACKINGS: tuple[Callable[[bytes], bytes], ...] = (
    partial(gzip.compress, mtime=0),
    zlib.compress,
    partial(zlib.compress, wbits=-15),
    lambda body: gzip.compress(gzip.compress(body, mtime=0), mtime=0),
    lambda body: gzip.compress(body, mtime=0)[10:],
    lambda body: gzip.compress(body[: len(body) // 2], mtime=0) + gzip.compress(body[len(body) // 2 :], mtime=0),
    bytes,
)
CODINGS = ("gzip", "deflate", "x-gzip", "gzip, gzip", "br", "identity", "", "GZIP ,")
PIECES = (
    "<a>", "</a>", "<a ", "/>", ">", "<", "</", "<r>", "</r>", "<r xmlns:x='urn:x'>", "<x:a>", "</x:a>", "x:",
    "<name>", "</name>", "<value>", "</value>", "<password>", "</password>", "<x:password>", "</x:password>",
    "<credentials>", "</credentials>", "<os_token>", "</os_token>", "<key>", "</key>", "<content>", "</content>",
    "<property>", "</property>", "<pwd_hash>", "</pwd_hash>", "password", "os_password", "token", "secret", "pass",
    "name=", "value=", "password=", " id=", " type=", "'", '"', "=", "hunter2", "more", " ", "\n", "\t", "\r\n", "-",
    "<![CDATA[", "]]>", "]]", "<!--", "-->", "--", "<?", "?>", "<?xml version='1.0'?>", "<!DOCTYPE a>", "<!DOCTYPE a [",
    "<!ENTITY e 'hunter2'>", "]>", "&e;", "&amp;", "&lt;", "&gt;", "&quot;", "&apos;", "&#112;", "&#x70;", "&#60;",
    "&#0;", "&#1114112;", "&", "#", ";", "<?xml version='1.0' encoding='utf-8'?>",
    "<?xml version='1.0' encoding='utf-16'?>", "<?xml version='1.0' encoding='punycode'?>",
    "<?xml version='1.1' encoding='iso-8859-1' standalone='yes'?>", "<?xml version='1.0' encoding='utf-7'?>",
    "\ufeff", "\0", "\x85", "\u2028", "\u212a", "\u017f", "\ud800", "\U0001f600", "é", "\x1b", "\x0c",
    '{"password": "hunter2"}', "{", "}", "[", "]", '":"', ",", ":", "/", "://", "@", "?", "/esc/a/callback/",
    "-----BEGIN PRIVATE KEY-----", "Bearer hunter2hunter2", "&lt;password&gt;", "&amp;lt;", "xmlns='urn:y'", "***",
    "<esc_event>", "</esc_event>", "<event>", "</event>", "<a/>", "<password/>", "<value/>", "\\", "_", ".",
)  # fmt: skip
"""What hostile bodies are made of: a byte of the fuzzer's names one, so that it gets past the first `<`."""


def redaction(data: bytes) -> None:
    """Bytes as they are, or put together from `PIECES`."""
    body = _composed(data[1:], data[0]) if data and data[0] < 192 else data[1:]
    redacted, changed = REDACTOR.redact(body)
    assert changed == (redacted != body), "it says that it changed what it did not, or the other way round"
    assert REDACTOR.redact(redacted) == (redacted, False), "redacting twice finds more"
    try:
        shown = xml_document.read(redacted, DEPTH_MAX).fields
    except NotXmlError:
        return
    left = secrets_left(shown)
    assert not left, f"shown as secret, and not overwritten: {left}"


def packed(data: bytes) -> None:
    """Bodies that are packed, once or twice, perhaps cut or with a changed byte, or only say that they are."""
    if len(data) < PACKED_HEAD_BYTES:
        return
    how, cut, place, byte, encoding = data[:PACKED_HEAD_BYTES]
    sent = bytearray(PACKINGS[how % len(PACKINGS)](_composed(data[PACKED_HEAD_BYTES:], encoding)))
    if cut & 1 and sent:
        sent[place * len(sent) // 256] = byte
    if cut & 2:
        del sent[cut * len(sent) // 256 :]
    coding = CODINGS[(how >> 4) % len(CODINGS)]
    try:
        stored = stored_body(bytes(sent), coding, REDACTOR, UNPACKED_BYTES_MAX)
    except BodyTooLargeError:
        return
    assert stored.body.startswith(GZIP) or not REDACTOR.redact(stored.body)[1], "redacting twice finds more"
    if stored.undecodable_because:
        assert not any(map(_shows_a_secret, _unpacked(stored.body))), "a secret can still be unpacked"


def _shows_a_secret(text: bytes) -> bool:
    """Not what redaction overwrites because it is torn, or is short."""
    before, after = (one.replace(b"\0", b"").count(SECRET) for one in (text, REDACTOR.redact(text)[0]))
    return after < before


def _unpacked(body: bytes) -> Iterator[bytes]:
    """What anybody gets out of it with gunzip, layer by layer: all members, up to the first fault."""
    while body.startswith(GZIP):
        stream, inside = zlib.decompressobj(31), b""
        with suppress(zlib.error):
            for at in range(len(body)):
                inside += stream.decompress(body[at : at + 1])
                if stream.eof:
                    stream = zlib.decompressobj(31)
        body = inside
        yield body


def _composed(choices: bytes, encoding: int) -> bytes:
    text = "".join(PIECES[choice % len(PIECES)] for choice in choices)
    return text.encode(ENCODINGS[encoding % len(ENCODINGS)], "surrogatepass" if encoding % 8 < 7 else "replace")
