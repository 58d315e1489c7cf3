"""A stored callback, applied again: what the ledger says that it did counts, and only what is new is appended.

The ledger is never rewritten. A callback that was never applied (quarantine) is decided like any that waited
(`delayed`). For one that was applied, what it would do now is compared with what it did: entity by entity, the same
change by the same rule is the same result. The marks that its operation left decide, and they only rise: a rule that
was changed to lead less far takes nothing back. Pure: the ledger's entries and the time are handed in.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeAlias
from uuid import UUID

from receiver.lifecycle.context import Current, DelayedContext
from receiver.lifecycle.decide import decide
from receiver.lifecycle.ordering_marks import Windows
from receiver.model.entities import Decision, Transition
from receiver.model.entity_ids import replay_transition_id
from receiver.model.notification import Notification

TRIGGER: Final = "replay"

Entry: TypeAlias = tuple[UUID, str, str]
"""Entity, change, rule."""


@dataclass(frozen=True, slots=True)
class EarlierResult:
    """What came of a callback when it was applied before."""

    entries: Collection[Entry] = ()
    """Its entries in the ledger."""
    reads_alike: bool = False
    """It says today what it said then."""


def decide_again(current: Current, n: Notification, windows: Windows, done: EarlierResult, now: datetime) -> Decision:
    """What it does now that it has not done before. Its ledger entries are those of a replay, made at `now`."""
    delayed = DelayedContext(again=done.reads_alike)
    while True:
        decision = decide(current, n, windows, delayed)
        settled = _settled(decision, done.entries) - delayed.settled
        if not settled:
            return _at(decision, n.receipt, now)
        delayed = replace(delayed, settled=delayed.settled | settled)


def has_news(decision: Decision, done: EarlierResult) -> bool:
    """Whether any ledger entry of it is one that the callback has not written before."""
    return any(_entry(transition) not in done.entries for transition, _ in decision.transitions)


def _settled(decision: Decision, entries: Collection[Entry]) -> frozenset[UUID]:
    """Entities to which it would do nothing but what it has done."""
    new = {transition.entity_id for transition, _ in decision.transitions if _entry(transition) not in entries}
    return frozenset(transition.entity_id for transition, _ in decision.transitions) - new


def _entry(transition: Transition) -> Entry:
    return transition.entity_id, transition.change, transition.rule


def _at(decision: Decision, receipt: UUID, now: datetime) -> Decision:
    """The ledger learns it now, whenever the callback arrived: an old time might lie in what was dropped already."""
    entries = (
        (t._replace(id=replay_transition_id(receipt, t.entity_id, t.sequence), at=now, trigger=TRIGGER), entity)
        for t, entity in decision.transitions
    )
    return decision._replace(transitions=tuple(entries))
