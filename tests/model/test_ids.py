"""Ids are those of the standard library in all but speed."""

from __future__ import annotations

from copy import deepcopy
from hashlib import blake2b
from uuid import UUID, uuid5

from receiver.model.entity_ids import entity_id, transition_id
from receiver.model.ids import NAMESPACE, derived, digested, stamped


def test_an_id_is_a_uuid_like_any_other() -> None:
    """Equal, alike as a key, in the same order, and the same when written."""
    for one in (derived("a"), digested("a"), stamped(1_764_463_000_123_456_789)):
        other = UUID(str(one))
        assert (one, hash(one), str(one), one.hex, one.int, one.bytes) == (
            other, hash(other), str(other), other.hex, other.int, other.bytes,
        )  # fmt: skip
        assert {one: 1}[other] == 1
        assert deepcopy(one) == one
        beside = [UUID(int=one.int + step) for step in (-1, 1, 2**64)]
        assert sorted([one, *beside]) == sorted([other, *beside])


def test_ids_are_made_as_documented() -> None:
    """docs/storage.md#ids: UUIDv8 of a digest, UUIDv5 of a text, UUIDv7 of a time."""
    digest = int.from_bytes(blake2b(b"vm\x1fdep\x1fa", digest_size=16).digest())
    made = entity_id("vm", "dep", "a")
    assert (made.version, made.variant) == (8, "specified in RFC 4122")
    assert made.int & ~(0xF000 << 64 | 0xC000 << 48) == digest & ~(0xF000 << 64 | 0xC000 << 48)
    receipt = UUID("01a229f1-5fb2-7ecb-922d-e19d643b5d05")
    assert transition_id(receipt, made, 1) == uuid5(UUID(str(NAMESPACE)), f"{receipt}/{made}/1")
    assert stamped(1_764_463_000_123_456_789).int >> 80 == 1_764_463_000_123
