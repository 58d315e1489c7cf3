"""What an entity remembers of the operations that named it, so that order and repetition do not matter.

Each operation has its ordering marks on the entity, which only ever rise: the rank of the state it brought, the rank
of each fact it reported, the fingerprints of its messages. A message below a mark changes nothing that the mark guards.
Ties are settled by the value itself, never by who came first. An entity's column `memory` is plain JSON:

    {"tracks": {<transaction id, or "~chain" without one>: marks}, "mover": [first seen, transaction id],
     "chain": <the key of the marks of the operation that last moved it>, "moved": <when that message arrived>, …}

Pure: times are seconds since the epoch, handed in. This file must not know stages, events or states.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

MARKS_MAX = 16
"""Operations remembered at one time about one entity; the longest silent is forgotten first."""
SEEN_MAX = 64
"""Fingerprints remembered of one operation about one entity."""
TARGETS_MAX = 8
"""Instances that one recovery may create and still be distinguished."""


@dataclass(frozen=True, slots=True)
class Windows:
    """How long disorder is expected to last, in seconds (settings of the same names)."""

    reorder_window_s: float = 300.0
    duplicate_window_s: float = 300.0


@dataclass(slots=True)
class OrderingMarks:
    """One operation's marks on one entity. Mutable, but never shared: they live within one decision."""

    began: float
    """When the first message arrived that left a mark here; earlier marks, if there were any, are forgotten."""
    touched: float
    fresh: bool = True
    """The entity had not been seen, or never been up, when the operation began with it."""
    reborn: bool = False
    """The entity was gone when the operation began with it: only a new instance concerns it."""
    rank: int = 0
    to: str = ""
    facts: dict[str, int] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)
    progress: str = ""
    closed: float | None = None
    """When its recovery was closed."""
    targets: dict[str, dict[str, Any]] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)

    def raises(self, rank: int, to: str) -> bool:
        """Raise the state's mark. False when it already stands as high."""
        if (rank, to) <= (self.rank, self.to):
            return False
        self.rank, self.to = rank, to
        return True

    def replaces(self, name: str, rank: int, value: Any, known: Any) -> bool:
        """Whether this message's value for a fact replaces the known one."""
        if not value and value is not False:
            return False
        mark = self.facts.get(name, -1)
        if rank < mark:
            return known is None
        self.facts[name] = rank
        return rank > mark or known is None or (value != known and _order(value) > _order(known))

    def is_repeat(self, fingerprint: str, now: float, windows: Windows) -> bool:
        """Whether the same message arrived within the duplicate window; remembers this one."""
        before = self.seen.pop(fingerprint, None)
        self.seen[fingerprint] = now if before is None else max(now, before)
        while len(self.seen) > SEEN_MAX:
            del self.seen[next(iter(self.seen))]
        return before is not None and now - before <= windows.duplicate_window_s

    def counts(self, code: str) -> bool:
        """Count something once an operation: True the first time."""
        if code in self.progress:
            return False
        self.progress += code
        return True

    def begin_round(self, now: float) -> None:
        """A new recovery under an id that has closed one before."""
        self.began = now
        self.rank, self.to, self.closed = 0, "", None
        self.targets, self.gone = {}, []
        self.facts.pop("last_operation", None)

    @classmethod
    def load(cls, stored: dict[str, Any]) -> OrderingMarks:
        """The marks as `dump` wrote them; nothing mutable is shared with `stored`."""
        marks = cls(**stored)
        for name in ("facts", "seen", "targets"):
            if name in stored:
                setattr(marks, name, dict(stored[name]))
        return marks

    def dump(self) -> dict[str, Any]:
        """As JSON, without what is as it begins."""
        stored: dict[str, Any] = {"began": self.began, "touched": self.touched, "seen": self.seen}
        if not self.fresh:
            stored["fresh"] = False
        for name in ("reborn", "rank", "to", "facts", "progress", "closed", "targets", "gone"):
            if value := getattr(self, name):
                stored[name] = value
        return stored


def with_marks(memory: dict[str, Any], key: str, marks: OrderingMarks, windows: Windows) -> dict[str, Any]:
    """All marks on an entity by key, with these among them, without those that nobody will ask for again."""
    tracks = memory.get("tracks")
    if not tracks or (key in tracks and len(tracks) == 1):  # as it mostly is
        return {key: marks.dump()}
    in_use = (key, memory.get("chain"))
    everyone: dict[str, Any] = {**tracks, key: marks.dump()}
    kept = {
        other: each for other, each in everyone.items()
        if other in in_use or marks.touched - each["touched"] <= windows.reorder_window_s or each.get("closed")
    }  # fmt: skip
    if len(kept) > MARKS_MAX:
        spare = sorted(
            (other for other in kept if other not in in_use), key=lambda other: float(kept[other]["touched"])
        )
        for other in spare[: len(kept) - MARKS_MAX]:
            del kept[other]
    return kept


def is_older(operation: tuple[float, str], mover: list[Any] | None) -> bool:
    """Whether an operation was first seen before the one that last moved the entity. Both must have ids.

    Never before itself: its first message may be stored after a later one, by another receiver.
    """
    if not (mover and mover[1] and operation[1]) or mover[1] == operation[1]:
        return False
    return operation < (mover[0], mover[1])


def _order(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
