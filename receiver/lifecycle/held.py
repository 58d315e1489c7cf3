"""A message that is judged long after it arrived: it must not undo what came after it (design section 6).

It waited in the spool, or it was kept and is applied again. What another operation moved since it arrived counts as
later, by `received_at`; what another operation told since is not overwritten. Among the messages of its own operation
ranks decide, as ever. For messages that are judged as they arrive all of this is off: the clock never judges those.
"""

from __future__ import annotations

from typing import Any, Final

from receiver.entities import Deployment, Resource, Vm
from receiver.lifecycle.current import Moment, Verdict

MOVED_SINCE: Final = Verdict("moved-since", "another operation has moved it since this arrived", late=True)
SETTLED: Final = Verdict("done-before", "it has done before what it would do now", late=True)
FORGOTTEN: Final = Verdict("forgotten", "what its operation did to it is too long ago to be judged again", late=True)


def passed_over(moment: Moment, entity: Vm | Deployment | Resource, chain: str) -> Verdict | None:
    """Why it is not judged at all for this entity, which must be known already."""
    if moment.held is None or entity.state == "UNSEEN":
        return None
    if entity.id in moment.held.settled:
        return SETTLED
    track = entity.memory.get("tracks", {}).get(moment.key(chain))
    if moment.held.again and (track is None or track["began"] > moment.now):
        return FORGOTTEN
    return None


def moved_since(moment: Moment, memory: dict[str, Any], chain: str) -> bool:
    """Whether another operation has moved the entity since this arrived; without ids, also the same long after.

    A message that was judged before has had its say among the others: whatever spoke since, of its own operation too,
    may have told what makes it look otherwise today.
    """
    moved = memory.get("moved")
    if moment.held is None or moved is None:
        return False
    if moment.held.again:
        return moved > moment.now or any(t["touched"] > moment.now for t in memory.get("tracks", {}).values())
    if moved <= moment.now:
        return False
    same = memory.get("chain") == moment.key(chain)
    return not same or (not moment.operation[1] and moved - moment.now > moment.windows.reorder_window_s)


def told_since(moment: Moment, memory: dict[str, Any], chain: str) -> bool:
    """Whether it has nothing new to tell but what nobody told yet: it told all before, or another came after it."""
    if moment.held is None:
        return False
    others = (track for key, track in memory.get("tracks", {}).items() if key != moment.key(chain))
    return moment.held.again or any(track["touched"] > moment.now for track in others)


def begins_nothing(moment: Moment, current: Deployment) -> bool:
    """Whether it cannot be the first of a new incarnation: it, or others of its operation, were about this one."""
    return moment.held is not None and (moment.held.again or _has_spoken(moment, current))


def before_its_time(moment: Moment, current: Deployment, external: str | None) -> bool:
    """Whether it tells of an earlier incarnation than the current one, which ids alone need not tell."""
    if moment.held is None:
        return False
    began_later = current.incarnation > 1 and moment.notification.received_at < current.first_seen_at
    if moment.held.again and began_later:
        return True
    if (external is not None and external == current.external_deployment_id) or _has_spoken(moment, current):
        return False
    return began_later or (current.state == "UNDEPLOYED" and moved_since(moment, current.memory, ""))


def _has_spoken(moment: Moment, current: Deployment) -> bool:
    return moment.operation[1] in current.memory.get("tracks", {})
