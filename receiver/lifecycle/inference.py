"""A state that no callback brought: ESC was asked, and said so (`answer`). Evidence of the lowest rank.

Whatever callback moves the entity later knows better, and nothing is remembered that would make one late, except for
one that was received before ESC was asked and waited since. An entity of which ESC no longer knew may turn out to live:
a callback that is not about its removal takes that back. In an entity's memory:

    "inferred": {"at": when ESC was asked, "from": the state that callbacks had brought}

Pure. Must not know what ESC said, nor the tables.
"""

from __future__ import annotations

from typing import Any, Final

from receiver.lifecycle.context import DecisionContext, RuleResult
from receiver.lifecycle.draft import Draft, E
from receiver.model.entities import Entity

CHAIN: Final = "reconcile"
REMOVAL: Final = "remove"
"""The chain of messages that tell of a removal."""
GONE: Final = "UNDEPLOYED"
TAKEN_BACK: Final = RuleResult(
    "inference-taken-back", "ESC had it no more when it was asked, and a callback of it came after all", changed=True
)


def infer(draft: Draft[E], to: str) -> None:
    """Give the entity the state that ESC says it has. What callbacks have made of it stays remembered."""
    memory, now = draft.memory, draft.context.now
    before = memory.get("inferred", {}).get("from", draft.before.state)
    memory["chain"] = draft.context.key(CHAIN)
    memory["moved"] = max(now, memory.get("moved", now))
    memory["inferred"] = {"at": now, "from": before}
    memory.pop("attributed", None)
    draft.columns.state = str(to)


def inferred_at(entity: Entity) -> float | None:
    """When ESC was asked, where its word is why the entity stands as it does."""
    said: dict[str, Any] | None = entity.memory.get("inferred")
    return said["at"] if said else None


def is_presumed_gone(entity: Entity) -> bool:
    """Whether only ESC's silence about it says that it is gone."""
    return entity.state == GONE and "inferred" in entity.memory


def take_back(context: DecisionContext, draft: Draft[E], chain: str) -> bool:
    """Let it live again, if it was only presumed to be gone and this message does not tell of its removal."""
    memory = draft.memory
    if not is_presumed_gone(draft.before) or chain == REMOVAL:
        return False
    if context.delayed is not None and memory["inferred"]["at"] > context.now:
        return False
    draft.columns.state = memory.pop("inferred")["from"]
    draft.columns.ended_at = None
    return True
