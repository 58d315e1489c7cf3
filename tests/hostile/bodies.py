"""Hostile bodies: each with the Content-Encoding that it is sent with. Most are as large as a body may be."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Mapping

LARGE = 1_048_576
SECRET = "<a><password>hunter2</password></a>"
ENCODINGS = (
    "punycode", "utf-7", "idna", "hz", "iso-2022-jp", "unicode_escape", "raw_unicode_escape", "bz2", "rot13", "hex",
    "uu", "zlib", "quopri", "undefined", "utf-8-sig", "utf_16", "utf-32", "cp037", "nonsense", "x" * 5000, "",
)  # fmt: skip
REPEATED = (
    "<value>x", "<name>password", "<a>", "</a>", "<a/>", "<x:a/>", "<", ">", "&", "&lt;", "&amp;", "&amp;lt;", "&#1;",
    '"', "'", "=", 'a="', " a=b", "<!--", "-->", "--", "<![CDATA[", "]]>", "<?", "?>", "<!DOCTYPE",
    "<!DOCTYPE a [", "]",
    "password", "password=", "password: ", "password='", '{"password":', '{"name":"password",', "{", "[", '[{"', "://",
    "://a:", "a:b@", "http://a:b@c/", "Bearer ", "basic ", "-----BEGIN PRIVATE KEY-----", "/esc/a/callback/", "\\", "_",
    "password_", "a.", " ", "\n", "\t", "a", "<a ", "<a b='c' ", "<p><name>password</name><value>x</value></p>",
    "<password>x</password>", "<password>", "<credentials><value>x</value>", "<!-- password=x -->", "<?a password=x?>",
    "<![CDATA[<password>x</password>]]>", "&lt;password&gt;x", "<a xmlns='u'>", "é", "\ufeff", "\u2028",
    "***", "<a>***</a>",
)  # fmt: skip
"""Each repeated up to the limit, bare and as the content of an element: the worst kinds for redaction and parser."""
WIDE = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")


def bodies() -> Mapping[str, tuple[bytes, str]]:
    """By name."""
    plain = {**_encodings(), **_repeated(), **_floods(), **_references(), **_documents(), **_wide()}
    return {**{name: (body, "") for name, body in plain.items()}, **_packed()}


def _filled(piece: str, room: int = LARGE) -> bytes:
    encoded = piece.encode()
    return encoded * (room // len(encoded))


def _encodings() -> dict[str, bytes]:
    found = {}
    for encoding in ENCODINGS:
        head = f"<?xml version='1.0' encoding='{encoding}'?>".encode()
        found[f"encoding {encoding[:20]}"] = head + SECRET.encode() + b"a-" * 30_000
    for encoding in ("punycode", "utf-7", "unicode_escape", "gb18030", "windows-1252"):
        head = f"<?xml version='1.0' encoding='{encoding}'?><a>".encode()
        found[f"encoding {encoding}, 1 MiB"] = head + _filled("\u00e9-", LARGE - 100) + b"</a>"
    return found


def _repeated() -> dict[str, bytes]:
    found = {}
    for piece in REPEATED:
        name = piece.encode("unicode_escape").decode()[:44]
        found[f"{name} repeated"] = _filled(piece)
        found[f"{name} repeated, within"] = b"<r><b>" + _filled(piece, LARGE - 100) + b"</b></r>"
    return found


def _floods() -> dict[str, bytes]:
    numbers = range(40_000)
    return {
        "attributes": ("<a " + " ".join(f"a{n}=''" for n in numbers) + "/>").encode(),
        "secret attributes": ("<a " + " ".join(f"token{n}='x'" for n in numbers) + "/>").encode(),
        "namespaces": ("<a " + " ".join(f"xmlns:a{n}='u'" for n in numbers) + "/>").encode(),
        "nested namespaces": b"<r>" + "".join(f"<a xmlns:a{n}='u{n}'>" for n in range(30_000)).encode(),
        "element names": f"<r>{''.join(f'<a{n}/>' for n in range(80_000))}</r>".encode(),
        "one long name": b"<" + b"a" * (LARGE - 10) + b"/>",
        "one long attribute": b"<a b='" + b"a" * (LARGE - 10) + b"'/>",
        "a long namespace in many": b"<r xmlns='" + b"u" * 4000 + b"'>" + _filled("<a/>", LARGE - 4100) + b"</r>",
        "closed nests": b"<a>" * 140_000 + b"</a>" * 140_000,
        "nests as deep as allowed": b"<a>" * 60 + b"</a>" * 60,
        "many pairs": b"<r>" + _filled("<p><name>os_password</name><value>x</value></p>", LARGE - 10) + b"</r>",
        "a label with many values": b"<r><name>password</name>" + _filled("<value>x</value>", LARGE - 50) + b"</r>",
        "a label behind many values": b"<r>" + _filled("<value>x</value>", LARGE - 50) + b"<name>password</name></r>",
        "ends of tags not open": b"<r>" + _filled("</b></c></d>", LARGE - 10),
        "different tags left open": "".join(f"<a{n}>" for n in range(100_000)).encode(),
    }


def _references() -> dict[str, bytes]:
    digits = "1" * 5000
    return {
        "5,000 digits as a label": f'<a><p name="&#{digits};"/><password>hunter2</password></a>'.encode(),
        "a reference of 5,000 digits as a name": f"<a><name>&#{digits};</name><value>hunter2</value></a>".encode(),
        "a reference of 5,000 hex digits": f"<a><name>&#x{digits};</name><value>hunter2</value></a>".encode(),
        "a reference of 1 MiB": f"<a><name>&#{'9' * (LARGE - 60)};</name></a>".encode(),
        "references beyond Unicode": b"<a><name>&#1114112;&#xFFFFFFFF;&#0;&#xD800;</name><value>hunter2</value></a>",
        "references without end": b"<a><name>&#" * 90_000,
    }


def _documents() -> dict[str, bytes]:
    laughs = "".join(f"<!ENTITY a{n + 1} '{f'&a{n};' * 10}'>" for n in range(9))
    return {
        "nothing": b"",
        "blanks": b" " * 1000,
        "a billion laughs": f"<!DOCTYPE a [<!ENTITY a0 'ha'>{laughs}]><a>&a9;</a>".encode(),
        "a quadratic entity": f"<!DOCTYPE a [<!ENTITY e '{'x' * 50_000}'>]><a>{'&e;' * 20_000}</a>".encode(),
        "an external entity": b"<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><a>&e;</a>",
        "an external DTD": b"<!DOCTYPE a SYSTEM 'http://127.0.0.1:9/x.dtd'><a/>",
        "a parameter entity": b"<!DOCTYPE a [<!ENTITY % e SYSTEM 'http://127.0.0.1:9/x'> %e;]><a/>",
        "NULs": b"\0" * LARGE,
        "NULs in a document": b"<a>\0<password>hunter2\0</password></a>",
        "bytes of 255": b"\xff" * LARGE,
        "random bytes": random.Random(1).randbytes(LARGE),
        "random text": "".join(random.Random(2).choices("<>&;/='\"![]-?ab \n", k=LARGE)).encode(),
        "surrogates": b"<a>" + b"\xed\xa0\x80" * 300_000 + b"</a>",
        "terminal escapes": b"<a>\x1b]0;x\x07\xc2\x9b31m\xe2\x80\xae</a>",
        "JSON": b'[{"password": "hunter2"}]' * 40_000,
        "one byte too much": b"a" * (LARGE + 1),
    }


def _wide() -> dict[str, bytes]:
    found = {}
    for encoding in WIDE:
        found[f"{encoding}"] = SECRET.encode(encoding)
        found[f"{encoding}, 1 MiB"] = ("<a>" + "<value>x" * 32_000).encode(encoding)[:LARGE]
        found[f"{encoding}, torn"] = SECRET.encode(encoding)[:-1]
        found[f"{encoding}, declared as UTF-8"] = f"<?xml version='1.0' encoding='utf-8'?>{SECRET}".encode(encoding)
    return found


def _packed() -> dict[str, tuple[bytes, str]]:
    document = gzip.compress(SECRET.encode() * 1000, mtime=0)
    worst = gzip.compress(_filled("<value>x"), mtime=0)
    bomb = gzip.compress(b"\0" * 64 * LARGE, mtime=0)
    found = {
        "gzip bomb": (bomb, "gzip"),
        "gzip bomb, undeclared": (bomb, ""),
        "gzip bomb, declared as br": (bomb, "br"),
        "deflate bomb": (zlib.compress(b"<a>" * 16 * LARGE), "deflate"),
        "a bomb in a bomb": (gzip.compress(bomb, mtime=0), "gzip"),
        "the worst, packed": (worst, "gzip"),
        "the worst, packed and undeclared": (worst, ""),
        "the worst, packed and cut": (worst[:-20], "gzip"),
        "cut": (document[:-20], "gzip"),
        "a broken CRC": (document[:-8] + bytes(8), "gzip"),
        "packed twice": (gzip.compress(document, mtime=0), "gzip"),
        "packed twice, declared": (gzip.compress(document, mtime=0), "gzip, gzip"),
        "packed five times": (_times(5), "br"),
        "without header": (document[10:], "gzip"),
        "raw deflate": (zlib.compress(SECRET.encode(), wbits=-15), "deflate"),
        "10,000 members": (gzip.compress(b"", mtime=0) * 10_000, "gzip"),
        "trailing garbage": (document + b"garbage", "gzip"),
        "not packed at all": (SECRET.encode(), "gzip"),
        "empty, packed": (gzip.compress(b"", mtime=0), "gzip"),
        "random bytes as gzip": (b"\x1f\x8b\x08" + random.Random(3).randbytes(LARGE - 3), "gzip"),
        "a flood of encodings": (SECRET.encode(), ",".join(["gzip"] * 5000)),
    }
    return {f"gzip: {name}": told for name, told in found.items()}


def _times(count: int) -> bytes:
    body = SECRET.encode()
    for _ in range(count):
        body = gzip.compress(body, mtime=0)
    return body
