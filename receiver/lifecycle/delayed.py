"""A message that is decided long after it arrived: it must not undo what came after it (docs/lifecycle.md#rulings).

It waited in the spool, or it was stored and is applied again. What another operation moved since it arrived counts as
later, by `received_at`; facts that another operation reported since are not overwritten. Among the messages of its own
operation ranks decide, as ever. For messages that are decided as they arrive all of this is off: the clock never
decides those. `key` is what the ordering marks of the message's operation are stored under.
"""

from __future__ import annotations

from typing import Any, Final

from receiver.lifecycle.context import DecisionContext, RuleResult
from receiver.model.entities import Deployment, Entity

MOVED_SINCE: Final = RuleResult("moved-since", "another operation has moved it since this arrived", late=True)
SETTLED: Final = RuleResult("done-before", "it has done before what it would do now", late=True)
FORGOTTEN: Final = RuleResult("forgotten", "what its operation did to it is too long ago to be judged again", late=True)


def passed_over(context: DecisionContext, entity: Entity, key: str) -> RuleResult | None:
    """Why the rules are not applied to this entity at all, if so; one without a state is never passed over."""
    if context.delayed is None or entity.state == "UNSEEN":
        return None
    if entity.id in context.delayed.settled:
        return SETTLED
    marks = entity.memory.get("tracks", {}).get(key)
    if context.again and (marks is None or marks["began"] > context.now):
        return FORGOTTEN
    return None


def moved_since(context: DecisionContext, memory: dict[str, Any], key: str) -> bool:
    """Whether another operation has moved the entity since this arrived; without ids, also the same long after.

    For a message that was applied before, any message since counts, of its own operation too and whether it moved the
    entity or not: its facts may be why this one would be decided differently today.
    """
    if context.delayed is None:
        return False
    moved = memory.get("moved", context.now)
    if context.again:
        return moved > context.now or any(marks["touched"] > context.now for marks in memory.get("tracks", {}).values())
    if moved <= context.now:
        return False
    return memory.get("chain") != key or (
        not context.transaction_id and moved - context.now > context.windows.reorder_window_s
    )


def only_fills_in(context: DecisionContext, memory: dict[str, Any], key: str) -> bool:
    """Whether it may only add missing facts: it was applied before, or another operation reported some since."""
    if context.delayed is None:
        return False
    others = (marks for other, marks in memory.get("tracks", {}).items() if other != key)
    return context.again or any(marks["touched"] > context.now for marks in others)


def begins_nothing(context: DecisionContext, current: Deployment) -> bool:
    """Whether it cannot be the first of a new incarnation: it, or others of its operation, were about this one."""
    return context.delayed is not None and (context.again or _has_marks(context, current))


def is_of_earlier_incarnation(context: DecisionContext, current: Deployment, external: str | None) -> bool:
    """Whether it is about an earlier incarnation than the current one, which ids alone need not show."""
    if context.delayed is None:
        return False
    began_later = current.incarnation > 1 and context.notification.received_at < current.first_seen_at
    if context.again and began_later:
        return True
    if (external is not None and external == current.external_deployment_id) or _has_marks(context, current):
        return False
    return began_later or (current.state == "UNDEPLOYED" and moved_since(context, current.memory, context.key("")))


def _has_marks(context: DecisionContext, current: Deployment) -> bool:
    return context.transaction_id in current.memory.get("tracks", {})
