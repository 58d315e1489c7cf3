"""The hostile inputs by name: requests as bytes. Must not know what is right: `test_hostile` judges all alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tests.hostile import heads
from tests.hostile.bodies import bodies

PATH = "/esc/default/callback"


def request(body: bytes, path: str = PATH, method: str = "POST", **fields: str) -> bytes:
    """A well-formed request around a body."""
    told = {"Host": "receiver", "Content-Length": str(len(body)), **{k.replace("_", "-"): v for k, v in fields.items()}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("utf-8", "surrogateescape") + body


def corpus() -> Mapping[str, bytes]:
    """All of them."""
    return dict(_all())


def _all() -> Iterator[tuple[str, bytes]]:
    for name, (body, encoding) in bodies().items():
        yield f"body: {name}", request(body, **({"Content_Encoding": encoding} if encoding else {}))
    for name, fields in heads.fields().items():
        yield f"field: {name}", request(b"<a/>", **fields)
    for name, query in heads.queries().items():
        yield f"ref: {name}", request(b"<a/>", f"{PATH}?{query}")
        yield f"question: {name}", request(b"", f"/api/v1/callbacks?{query}", "GET")
    for name, sent in heads.requests().items():
        yield f"head: {name}", sent
