"""Which callbacks a replay is about, the result of each, and what is published of it.

Must not know SQL, nor how a result comes about (`replayer`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from receiver.events.cloudevents import OutboxRow, malformed_event, transition_event, unclassified_event
from receiver.model.entities import Decision, Entity, Transition
from receiver.model.envelope import Envelope
from receiver.model.notification import Outcome
from receiver.parsing.parsed_callback import ParsedCallback


class Fate(StrEnum):
    """What a replay did with a callback, or would do."""

    APPLIED = "applied"
    """It was not applied before: it was in quarantine, or is new."""
    CHANGED = "changed"
    """It was applied before, and its result is different today: that was appended."""
    UNCHANGED = "unchanged"
    QUARANTINED = "quarantined"
    """It still cannot be applied."""
    REPEAT = "repeat"
    GONE = "gone"
    """Retention took it meanwhile, or it is older than what is kept."""
    FAILED = "failed"
    """Judging or writing it failed; nothing came of it."""


MOVING = (Fate.APPLIED, Fate.CHANGED)


class Wanted(NamedTuple):
    """A callback to apply again. `envelope` is given for one that may not be kept yet (from a file)."""

    receipt: UUID
    received_at: datetime
    envelope: Envelope | None = None


class ReplayResult(NamedTuple):
    """The result of one callback. `callback` is None when it was not read."""

    receipt: UUID
    fate: Fate
    callback: ParsedCallback | None = None
    decision: Decision | None = None
    row: Any = None
    """Of `callbacks`, as it was before; None: it was not kept before."""
    why: str = ""

    @property
    def is_new(self) -> bool:
        """It was not kept before, and is now."""
        return self.callback is not None and self.row is None

    @property
    def entries(self) -> Sequence[tuple[Transition, Entity]]:
        """The ledger entries that were appended, or would be."""
        return self.decision.transitions if self.decision and self.fate in MOVING else ()


@dataclass(frozen=True, slots=True)
class Selection:
    """Which kept callbacks: received from `since` until before `until`, of `source`; None: no such limit."""

    since: datetime | None = None
    until: datetime | None = None
    source: str | None = None
    quarantine: bool = False
    """Only those that were never applied."""
    outcome: str | None = None
    rule: str | None = None
    reason: str | None = None
    receipts: tuple[UUID, ...] | None = None
    to_source: str | None = None
    """Only those that came to `source` while nothing was configured by that name: they are moved to this one."""

    @property
    def values(self) -> tuple[Any, ...]:
        """Those of the statement that selects them."""
        return (
            self.since, self.until, self.source, self.quarantine or self.to_source is not None, self.outcome, self.rule,
            self.reason, self.receipts, self.to_source is not None,
        )  # fmt: skip


def is_rejudged(one: ReplayResult) -> bool:
    """Whether its row in `callbacks` changes. Why a body cannot be read was best known when it arrived."""
    if one.row is None or one.decision is None or one.fate is Fate.UNCHANGED:
        return False
    if one.callback and one.callback.envelope.source != one.row["source"]:
        return True
    stored = tuple(one.row[name] for name in ("outcome", "rule", "reason"))
    return one.decision.outcome is not Outcome.MALFORMED and stored != one.decision[:3]


def events_of(results: Sequence[ReplayResult]) -> list[OutboxRow]:
    """What is published: ledger entries, and what is not understood and was not kept, and so published, before."""
    events: list[OutboxRow] = []
    for one in results:
        traceparent = one.callback.envelope.traceparent if one.callback else None
        events += [transition_event(*entry, traceparent) for entry in one.entries]
        if one.is_new and one.decision and one.callback:
            n, decision = one.callback.notification, one.decision
            if decision.outcome is Outcome.MALFORMED:
                events.append(malformed_event(one.callback.envelope, decision.reason, decision.rule))
            elif decision.outcome is Outcome.UNCLASSIFIED and n:
                events.append(unclassified_event(n, decision.reason, decision.rule, traceparent))
    return events
