"""The properties by name, what each begins with, and how long its inputs may be. Must not know how inputs are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from receiver.spool.records import to_row
from tests.fuzz.heads import header_fields, heads
from tests.fuzz.parameters import parameters
from tests.fuzz.redaction import packed, redaction
from tests.fuzz.spool_files import spool, spool_heads, spool_pages
from tests.support.samples import SAMPLES
from tests.support.spools import envelopes

FOUND = Path(__file__).parent / "found"
BROKEN = "broken"
"""Where a run puts what breaks a property."""


@dataclass(frozen=True, slots=True)
class Target:
    """One property."""

    holds: Callable[[bytes], None]
    """Raises for bytes that break it."""
    bytes_max: int
    seeds: Callable[[], Iterable[bytes]] = tuple


def _callbacks() -> Iterable[bytes]:
    return [b"\xff" + sample.body for sample in SAMPLES.values()]


def _questions() -> Iterable[bytes]:
    return [
        bytes([n]) + b"limit=5&state=ERROR&since=2026-01-31T12:00:00Z&cursor=1&after=x&order=desc" for n in range(24)
    ]


def _heads() -> Iterable[bytes]:
    return [b"\xffPOST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n<a/>", b"\0\1\11\12\14\7\7\47", b"\0\0\24\30\31"]


def _rows() -> Iterable[bytes]:
    return [row.head + b"\xff" + row.body[:20] for row in map(to_row, envelopes(2))]


TARGETS: Mapping[str, Target] = {
    "redaction": Target(redaction, 256, _callbacks),
    "packed": Target(packed, 128, lambda: [b"\0\0\0\0\0\x10\x11", b"\3\2\0\0\0\x10\x11\x12"]),
    "heads": Target(heads, 512, _heads),
    "header-fields": Target(header_fields, 512),
    "parameters": Target(parameters, 256, _questions),
    "spool-heads": Target(spool_heads, 2048, _rows),
    "spool-pages": Target(spool_pages, 64),
    "spool": Target(spool, 64),
}


def found(name: str) -> list[Path]:
    """Inputs that broke a property once."""
    return sorted((FOUND / name).glob("*"))
