"""Ids of entities and ledger entries: made of what they are ids of, so that no round trip is needed to learn them.

Apart from `entities`, which commands import that have no use for asyncpg (`ids`). Must not know what becomes of them.
"""

from __future__ import annotations

from functools import lru_cache
from uuid import UUID

from receiver.model.ids import derived, digested


@lru_cache(maxsize=4096)
def entity_id(*parts: str | int) -> UUID:
    """The id of an entity's row, made of its identity alone.

    Cached, because each is asked for several times while its callback is stored.
    """
    return digested("\x1f".join(map(str, parts)))


def transition_id(receipt: UUID, entity: UUID, ordinal: int) -> UUID:
    """UUIDv5 of receipt, entity and ordinal (docs/storage.md#ids)."""
    return derived(f"{receipt}/{entity}/{ordinal}")


def overdue_transition_id(operation: UUID, sequence: int) -> UUID:
    """The id of a ledger entry that no callback brought: the sequence makes it unique."""
    return derived(f"timer/{operation}/{sequence}")


def replay_transition_id(receipt: UUID, entity: UUID, sequence: int) -> UUID:
    """The id of a ledger entry that a callback brought when it was applied again."""
    return derived(f"replay/{receipt}/{entity}/{sequence}")
