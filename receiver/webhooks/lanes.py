"""The order of deliveries: each entity's events wait in a lane of their own, and only the first of a lane is sent.

While it waits for its retry, so do those behind it; other lanes go on. Pure: times come from outside. Must not know
what an event holds, nor how it is sent.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar


class Ordered(Protocol):
    """What stands in a lane."""

    @property
    def sequence(self) -> int:
        """Its place in the stream."""

    @property
    def entity(self) -> str:
        """What it is about: names the lane."""


E = TypeVar("E", bound=Ordered)


@dataclass(slots=True, eq=False)
class Held(Generic[E]):
    """An event that is not delivered yet."""

    event: E
    due_s: float = 0.0
    failures: int = 0
    failing_since_s: float = 0.0


class Lanes(Generic[E]):
    """The events that a receiver holds of one webhook."""

    def __init__(self) -> None:
        self.is_gathering = False
        """Nothing is sent yet: something that was given out before may still come, and before what is here."""
        self.paused_until_s = 0.0
        """The webhook asked for a rest."""
        self._held: dict[int, Held[E]] = {}
        self._lanes: dict[str, list[int]] = {}
        self._busy: set[str] = set()

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Held[E]]:
        return iter(list(self._held.values()))

    def add(self, event: E, before: Held[E] | None = None) -> None:
        """Take an event; one that comes again takes its own place, and keeps what is known of it, or was `before`."""
        if held := self._held.get(event.sequence):
            held.event = event
            return
        self._held[event.sequence] = replace(before, event=event) if before else Held(event)
        insort(self._lanes.setdefault(event.entity, []), event.sequence)

    def startable(self, now_s: float, most: int) -> list[Held[E]]:
        """Those that may be sent now, who waited longest first; they are under way from now on."""
        if self.is_gathering or now_s < self.paused_until_s:
            return []
        ready = [held for held in self._firsts() if held.due_s <= now_s]
        chosen = sorted(ready, key=lambda held: (held.due_s, held.event.sequence))[:most]
        self._busy |= {held.event.entity for held in chosen}
        return chosen

    def next_due_s(self) -> float | None:
        """When the next may be sent that is not under way; None: nothing waits."""
        due = [held.due_s for held in self._firsts()]
        return max(min(due), self.paused_until_s) if due else None

    def delivered(self, held: Held[E]) -> None:
        """It is done; the next of its entity may be sent."""
        del self._held[held.event.sequence]
        self._busy.discard(held.event.entity)
        lane = self._lanes[held.event.entity]
        lane.remove(held.event.sequence)
        if not lane:
            del self._lanes[held.event.entity]

    def failed(self, held: Held[E], now_s: float, pause_s: float) -> None:
        """It is to be sent again after a pause."""
        self._busy.discard(held.event.entity)
        held.failures += 1
        held.failing_since_s = held.failing_since_s or now_s
        held.due_s = now_s + pause_s

    def _firsts(self) -> Iterator[Held[E]]:
        """Of each lane that nothing is under way of."""
        for entity, lane in self._lanes.items():
            if entity not in self._busy:
                yield self._held[lane[0]]
