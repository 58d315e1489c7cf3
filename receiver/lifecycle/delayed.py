"""A message that is judged long after it arrived: it must not undo what came after it (docs/lifecycle.md#rulings).

It waited in the spool, or it was kept and is applied again. What another operation moved since it arrived counts as
later, by `received_at`; what another operation told since is not overwritten. Among the messages of its own operation
ranks decide, as ever. For messages that are judged as they arrive all of this is off: the clock never judges those.
"""

from __future__ import annotations

from typing import Any, Final

from receiver.lifecycle.context import DecisionContext, RuleResult
from receiver.model.entities import Deployment, Resource, Vm

MOVED_SINCE: Final = RuleResult("moved-since", "another operation has moved it since this arrived", late=True)
SETTLED: Final = RuleResult("done-before", "it has done before what it would do now", late=True)
FORGOTTEN: Final = RuleResult("forgotten", "what its operation did to it is too long ago to be judged again", late=True)


def passed_over(context: DecisionContext, entity: Vm | Deployment | Resource, chain: str) -> RuleResult | None:
    """Why it is not judged at all for this entity, which must be known already."""
    if context.held is None or entity.state == "UNSEEN":
        return None
    if entity.id in context.held.settled:
        return SETTLED
    track = entity.memory.get("tracks", {}).get(context.key(chain))
    if context.held.again and (track is None or track["began"] > context.now):
        return FORGOTTEN
    return None


def moved_since(context: DecisionContext, memory: dict[str, Any], chain: str) -> bool:
    """Whether another operation has moved the entity since this arrived; without ids, also the same long after.

    A message that was judged before has had its say among the others: whatever spoke since, of its own operation too,
    may have told what makes it look otherwise today.
    """
    if context.held is None:
        return False
    moved = memory.get("moved", context.now)
    if context.held.again:
        return moved > context.now or any(t["touched"] > context.now for t in memory.get("tracks", {}).values())
    if moved <= context.now:
        return False
    same = memory.get("chain") == context.key(chain)
    return not same or (not context.operation[1] and moved - context.now > context.windows.reorder_window_s)


def told_since(context: DecisionContext, memory: dict[str, Any], chain: str) -> bool:
    """Whether it has nothing new to tell but what nobody told yet: it told all before, or another came after it."""
    if context.held is None:
        return False
    others = (track for key, track in memory.get("tracks", {}).items() if key != context.key(chain))
    return context.held.again or any(track["touched"] > context.now for track in others)


def begins_nothing(context: DecisionContext, current: Deployment) -> bool:
    """Whether it cannot be the first of a new incarnation: it, or others of its operation, were about this one."""
    return context.held is not None and (context.held.again or _has_spoken(context, current))


def before_its_time(context: DecisionContext, current: Deployment, external: str | None) -> bool:
    """Whether it tells of an earlier incarnation than the current one, which ids alone need not tell."""
    if context.held is None:
        return False
    began_later = current.incarnation > 1 and context.notification.received_at < current.first_seen_at
    if context.held.again and began_later:
        return True
    if (external is not None and external == current.external_deployment_id) or _has_spoken(context, current):
        return False
    return began_later or (current.state == "UNDEPLOYED" and moved_since(context, current.memory, ""))


def _has_spoken(context: DecisionContext, current: Deployment) -> bool:
    return context.operation[1] in current.memory.get("tracks", {})
