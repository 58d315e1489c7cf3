"""Ids as asyncpg's own UUIDs: made, hashed, compared and written in C, each several times for a callback.

They equal the standard library's in all but speed (a test compares) and that orjson wants them as text. Of asyncpg only
this class is used. Must not know what has an id.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final
from uuid import UUID

import uuid_utils
from asyncpg.pgproto import pgproto

NAMESPACE: Final = uuid_utils.UUID("6f0d6f0e-2a5c-5b1e-9c57-7f7f0c0f2d11")
"""Fixed for ever: transition ids are derived from it, so applying again gives the same id."""

_VERSION_AND_VARIANT: Final = 0xF000 << 64 | 0xC000 << 48
_VERSION_8: Final = 0x8000 << 64 | 0x8000 << 48
"""RFC 9562's own bits: a UUID of custom content."""

_of_bytes: Final[type[UUID]] = pgproto.UUID


def stamped(now_ns: int) -> UUID:
    """A UUIDv7 whose millisecond is that of this time."""
    return _of_bytes(uuid_utils.uuid7(nanoseconds=now_ns).bytes)  # type: ignore[arg-type]  # it takes bytes first


def derived(name: str) -> UUID:
    """The UUIDv5 of a name in our namespace."""
    return _of_bytes(uuid_utils.uuid5(NAMESPACE, name).bytes)  # type: ignore[arg-type]


def digested(text: str) -> UUID:
    """A UUIDv8 made of a text's BLAKE2b digest."""
    digest = int.from_bytes(blake2b(text.encode(), digest_size=16).digest())
    return _of_bytes((digest & ~_VERSION_AND_VARIANT | _VERSION_8).to_bytes(16))  # type: ignore[arg-type]
