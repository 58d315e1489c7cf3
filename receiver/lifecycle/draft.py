"""An entity's row while one decision changes it, and the decision while it is put together.

One `Draft` for each entity of a decision: rules change its `columns` in place, and a row is made only where one is
written. Must not know the rules.
"""

from __future__ import annotations

from datetime import datetime
from operator import attrgetter
from typing import Any, Generic, TypeVar
from uuid import UUID

from receiver.lifecycle.context import DecisionContext, RuleResult
from receiver.model.entities import Alias, Deployment, Entity, EntityKind, Operation, Resource, Source, Transition, Vm
from receiver.model.entity_ids import transition_id
from receiver.model.notification import Notification

E = TypeVar("E", bound=Entity)

FINAL_STATES = frozenset({"UNDEPLOYED", "DELETED"})
_NOT_SHOWN = frozenset({"memory", "sequence", "vms", "current"})
_KINDS = (Operation, Deployment, Vm, Resource, Source)
_SHOWN: dict[type, attrgetter[Any]] = {
    kind: attrgetter(*(name for name in kind._fields if name not in _NOT_SHOWN)) for kind in _KINDS
}
"""What people see of a row, or of its mutable twin."""
_TWIN = """
class Mutable{kind.__name__}:
    __slots__ = {kind._fields}
    def __init__(self, {names}):
        {setting}
    def row(self):
        return new(kind, ({slots}))
"""


def _twin(kind: type[Entity]) -> Any:
    """A class with the columns as attributes that can be set, and the way back to a row.

    Generated, as the methods of a named tuple are: three are made for each callback, in half of the time that
    dictionaries take, and an attribute of a slot is read in half of the time of a key.
    """
    slots = ", ".join(f"self.{name}" for name in kind._fields)
    setting = "; ".join(f"self.{name} = {name}" for name in kind._fields)
    source = _TWIN.format(kind=kind, names=", ".join(kind._fields), setting=setting, slots=slots)
    known: dict[str, Any] = {"kind": kind, "new": tuple.__new__}
    exec(source, known)  # noqa: S102  # of our own names alone
    return known[f"Mutable{kind.__name__}"]


_TWINS: dict[type, Any] = {kind: _twin(kind) for kind in _KINDS}


class Draft(Generic[E]):
    """The columns of a row, to be changed in place. `before` and the values in it are never changed."""

    def __init__(self, context: DecisionContext, before: E) -> None:
        self.context = context
        self.before = before
        self.columns: Any = _TWINS[type(before)](*before)
        self.memory: dict[str, Any] = dict(before.memory)
        self.columns.memory = self.memory

    @property
    def state(self) -> str:
        """As it stands now."""
        state: str = self.columns.state
        return state

    @property
    def differs(self) -> bool:
        """Whether anything that people see has changed."""
        shown = _SHOWN[type(self.before)]
        return bool(shown(self.columns) != shown(self.before))

    @property
    def moved_by(self) -> str | None:
        """The transaction id, or the chain of messages without one, that last moved the entity."""
        return self.memory.get("chain")

    def move(self, to: str, chain: str) -> None:
        """Give the entity a state. It remembers which operation did that, and when the message arrived."""
        context, memory = self.context, self.memory
        memory.pop("inferred", None)
        memory["mover"], memory["chain"] = list(context.operation), context.key(chain)
        memory["moved"] = max(context.now, memory.get("moved", context.now))
        self.columns.state = to

    def show(self, to: str, chain: str) -> None:
        """Give a state to an entity of which nothing was known. Whatever moves it knows better, also an older operation
        and a message that arrived before: so nothing is remembered that would make those late."""
        self.memory.pop("inferred", None)
        self.memory["chain"] = self.context.key(chain)
        self.columns.state = to

    def set_times(self) -> None:
        """The times of a state that was just reached."""
        columns, at = self.columns, self.context.notification.received_at
        columns.changed_at, columns.ended_at = at, at if columns.state in FINAL_STATES else None

    def stand_as(self, row: E) -> None:
        """Stand as this row of the same entity does; numbers and times are given when it is recorded."""
        self.columns = _TWINS[type(row)](*row)
        self.memory = self.columns.memory = dict(row.memory)

    def keep_times(self) -> None:
        """The times of the state it had before, if it is the same, whatever it went through meanwhile."""
        columns, before = self.columns, self.before
        if columns.state == before.state:
            columns.changed_at, columns.ended_at = getattr(before, "changed_at", None), before.ended_at
        else:
            self.set_times()

    def as_row(self) -> E:
        """The row as it stands now; it shares its memory with the draft, which must not change it any more."""
        row: E = self.columns.row()
        return row


class DecisionBuilder:
    """Collects what one decision writes: rows by id, ledger entries in order, numbered within their entity."""

    def __init__(self, notification: Notification, sequence_floor: int) -> None:
        self.notification = notification
        self._sequence_floor = sequence_floor
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
        draft.columns.sequence = max(draft.columns.sequence, self._sequence_floor) + 1
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
