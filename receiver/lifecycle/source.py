"""What an ESC says of itself: in or out of service (docs/esc-callbacks.md#10). Applies `stage_rules.SOURCE`.

It is about no deployment and opens no operation. Must not know any other entity's tables.
"""

from __future__ import annotations

from receiver.lifecycle import delayed, stage_rules
from receiver.lifecycle.application import ALREADY_PASSED
from receiver.lifecycle.context import DUPLICATE, DecisionContext, RuleResult
from receiver.lifecycle.draft import DecisionBuilder, Draft
from receiver.lifecycle.stage_rules import SourceRow
from receiver.model.entities import Decision, Source, SourceState
from receiver.model.entity_ids import entity_id
from receiver.model.notification import Notification, Outcome, Status

REASON_CHARACTERS_MAX = 1024
SEEN_MAX = 16
"""Fingerprints of messages that are remembered."""


def is_about_source(n: Notification) -> bool:
    """Whether it is about the ESC that sent it, and nothing else."""
    return (n.trigger or "", n.status is Status.FAILED) in stage_rules.SOURCE


def decide_source(context: DecisionContext, known: Source | None, sequence_floor: int) -> Decision:
    """What it does to what is known of the ESC."""
    n = context.notification
    builder = DecisionBuilder(n, sequence_floor)
    draft = Draft(context, known or _unseen(n))
    row = stage_rules.SOURCE[n.trigger or "", context.failed]
    result = _apply(draft, row)
    if draft.state != draft.before.state:
        draft.columns.changed_at = n.received_at
        builder.record_move(draft, result)
    elif not (context.again or result.late):
        builder.write(draft)
    outcome = Outcome.LATE if result.late else Outcome.DUPLICATE if result is DUPLICATE else Outcome.APPLIED
    return Decision(
        outcome, result.rule, result.reason, tuple(builder.rows.values()), tuple(builder.transitions),
        since=tuple(builder.since),
    )  # fmt: skip


def _unseen(n: Notification) -> Source:
    return Source(
        id=entity_id("source", n.source), source=n.source, state=SourceState.UNSEEN, first_seen_at=n.received_at,
        changed_at=n.received_at,
    )  # fmt: skip


def _apply(draft: Draft[Source], row: SourceRow) -> RuleResult:
    if late := _late(draft, row):
        return late
    context, n, memory = draft.context, draft.context.notification, draft.memory
    seen = dict(memory.get("seen", {}))
    repeated = context.now - seen.pop(n.fingerprint, float("-inf")) <= context.windows.duplicate_window_s
    seen[n.fingerprint] = context.now
    memory["seen"] = dict(list(seen.items())[-SEEN_MAX:])
    memory.update(moved=max(context.now, memory.get("moved", 0.0)), by=context.transaction_id, rank=row.rank)
    moves = draft.state != row.to
    said = n.event.get("details") or n.status_message
    draft.columns.state, draft.columns.reason = row.to, (said or row.reason)[:REASON_CHARACTERS_MAX]
    if repeated and not moves:
        return DUPLICATE
    return RuleResult(row.rule, f"{row.reason}: {said}"[:REASON_CHARACTERS_MAX] if said else row.reason, changed=True)


def _late(draft: Draft[Source], row: SourceRow) -> RuleResult | None:
    """Late for what was said since: by rank under one transaction id, by arrival when it has waited."""
    context, memory = draft.context, draft.memory
    if context.delayed and (context.again or draft.before.id in context.delayed.settled):
        return delayed.SETTLED
    moved = memory.get("moved", context.now)
    if context.delayed and moved > context.now:
        return delayed.MOVED_SINCE
    same = context.transaction_id and memory.get("by") == context.transaction_id
    if same and context.now - moved <= context.windows.reorder_window_s and row.rank < memory["rank"]:
        return RuleResult(ALREADY_PASSED, "what it tells was over when the same transaction said so", late=True)
    return None
