"""An entity's row while one decision changes it, and the decision while it is put together.

One `Draft` for each entity of a decision: rules change it in place, and a row is made only where one is written.
Must not know the rules.
"""

from __future__ import annotations

from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Any, Generic, TypeVar
from uuid import UUID

from receiver.lifecycle.context import DecisionContext, RuleResult
from receiver.model.entities import (
    Alias,
    Deployment,
    Entity,
    EntityKind,
    Operation,
    Resource,
    Source,
    Transition,
    Vm,
    transition_id,
)
from receiver.model.notification import Notification

E = TypeVar("E", bound=Entity)

FINAL_STATES = frozenset({"UNDEPLOYED", "DELETED"})
_NOT_SHOWN = frozenset({"memory", "sequence", "vms", "current"})
_SHOWN: dict[type, tuple[Any, Any]] = {
    kind: (itemgetter(*names), attrgetter(*names))
    for kind in (Operation, Deployment, Vm, Resource, Source)
    if (names := [name for name in kind._fields if name not in _NOT_SHOWN])
}
"""How what people see is read from a draft and from a row."""


class Draft(dict[str, Any], Generic[E]):
    """The columns of a row by name, to be changed in place. `before` and the values in it are never changed."""

    def __init__(self, context: DecisionContext, before: E) -> None:
        super().__init__(zip(before._fields, before, strict=True))
        self.context = context
        self.before = before
        self.memory: dict[str, Any] = dict(before.memory)
        self["memory"] = self.memory

    @property
    def state(self) -> str:
        """As it stands now."""
        state: str = self["state"]
        return state

    @property
    def differs(self) -> bool:
        """Whether anything that people see has changed."""
        of_draft, of_row = _SHOWN[type(self.before)]
        return bool(of_draft(self) != of_row(self.before))

    @property
    def moved_by(self) -> str | None:
        """The transaction id, or the chain of messages without one, that last moved the entity."""
        return self.memory.get("chain")

    def move(self, to: str, chain: str) -> None:
        """Give the entity a state. It remembers which operation did that, and when the message arrived."""
        context = self.context
        last = max(context.now, self.memory.get("moved", context.now))
        self.memory.update(mover=list(context.operation), chain=context.key(chain), moved=last)
        self["state"] = to

    def set_times(self) -> None:
        """The times of a state that was just reached."""
        at = self.context.notification.received_at
        self.update(changed_at=at, ended_at=at if self["state"] in FINAL_STATES else None)

    def stand_as(self, row: E) -> None:
        """Stand as this row of the same entity does; numbers and times are given when it is recorded."""
        self.update(zip(row._fields, row, strict=True))
        self.memory = self["memory"] = dict(row.memory)

    def keep_times(self) -> None:
        """The times of the state it had before, if it is the same, whatever it went through meanwhile."""
        if self["state"] == self.before.state:
            self.update({name: getattr(self.before, name) for name in ("changed_at", "ended_at")})
        else:
            self.set_times()

    def as_row(self) -> E:
        """The row as it stands now; it shares its memory with the draft, which must not change it any more."""
        return tuple.__new__(type(self.before), self.values())


class DecisionBuilder:
    """Collects what one decision writes: rows by id, ledger entries in order, numbered within their entity."""

    def __init__(self, notification: Notification) -> None:
        self.notification = notification
        self.incarnation: int | None = None
        """Of the deployment whose VMs are written: a VM's numbers begin anew with each."""
        self.rows: dict[UUID, Entity] = {}
        self.transitions: list[tuple[Transition, Entity]] = []
        self.since: list[datetime | None] = []
        """For each ledger entry, since when its entity had been in the state it left."""
        self.aliases: list[Alias] = []

    def write(self, draft: Draft[Any]) -> None:
        """Write the row, without a ledger entry."""
        self.rows[draft.before.id] = draft.as_row()

    def record(
        self, draft: Draft[Any], from_state: str, change: str, result: RuleResult, since: datetime | None = None
    ) -> None:
        """Write the row as it stands now, with a ledger entry."""
        n = self.notification
        draft["sequence"] += 1
        entity: Entity = draft.as_row()
        kind, deployment, incarnation, name = self._named(entity)
        ordinal = sum(other.id == entity.id for _, other in self.transitions) if self.transitions else 0
        transition = Transition(
            transition_id(n.receipt, entity.id, ordinal), n.received_at, kind, entity.id, n.source, entity.tenant,
            deployment, incarnation, name, entity.sequence, from_state, entity.state, change, n.trigger or "",
            result.rule, result.reason, n.receipt, n.transaction_id, n.ref,
        )  # fmt: skip
        self.transitions.append((transition, entity))
        self.since.append(since)
        self.rows[entity.id] = entity

    def record_move(self, draft: Draft[Any], result: RuleResult) -> None:
        """A ledger entry of a change of state."""
        before = draft.before
        since = None if before.state == "UNSEEN" else getattr(before, "changed_at", None)
        self.record(draft, before.state, draft.state.lower(), result, since)

    def _named(self, entity: Entity) -> tuple[EntityKind, str | None, int | None, str]:
        """Its kind, deployment, incarnation and name, as the ledger shows them."""
        match entity:
            case Deployment():
                internal_id = entity.internal_deployment_id
                return EntityKind.DEPLOYMENT, internal_id, entity.incarnation, internal_id
            case Vm():
                return EntityKind.VM, entity.deployment, self.incarnation, entity.vm_name
            case Operation():
                return EntityKind.OPERATION, entity.deployment, None, entity.transaction_id
            case Resource():
                return EntityKind.RESOURCE, entity.deployment, None, f"{entity.kind}/{entity.resource_id}"
            case Source():
                return EntityKind.SOURCE, None, None, entity.source
