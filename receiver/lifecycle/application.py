"""One message applied to one entity: the steps that VMs, deployments and resources share, in their order.

Each kind of entity has its `RuleApplication` in a file of its own, which says what its tables make of the message.
Must not know the tables, nor which state follows from what.
"""

from __future__ import annotations

from typing import Any

from receiver.lifecycle import delayed
from receiver.lifecycle.context import DUPLICATE, DecisionContext, RuleResult
from receiver.lifecycle.draft import Draft, E
from receiver.lifecycle.ordering_marks import OrderingMarks, is_older, with_marks

ALREADY_PASSED = "already-passed"
NEWER_OPERATION = "newer-operation"


class RuleApplication(Draft[E]):
    """A message, the entity it is applied to, and the marks that the message's operation has left on the entity."""

    def __init__(self, context: DecisionContext, before: E, chain: str) -> None:
        """`chain`: among messages without a transaction id, only those of one chain can be late for each other."""
        super().__init__(context, before)
        self.chain = chain
        self.key = context.key(chain)
        self.marks = marks = self._stored_marks() or self.new_marks()
        marks.touched = max(marks.touched, context.now)

    def apply(self) -> RuleResult:
        """Change the draft as the rules say, and return what that was."""
        context = self.context
        if context.delayed and (passed_over := delayed.passed_over(context, self.before, self.key)):
            return passed_over
        repeated = self.marks.is_repeat(context.notification.fingerprint, context.now, context.windows)
        result = self.decide()
        if self.columns.state != self.before.state:
            self.set_times()
        self.memory["tracks"] = with_marks(self.memory, self.key, self.marks, context.windows)
        return DUPLICATE if repeated and not self.differs else result

    def decide(self) -> RuleResult:
        """Change the draft as the entity's tables say; the ordering marks tell what is late."""
        raise NotImplementedError

    def new_marks(self) -> OrderingMarks:
        """The marks of an operation whose first message about the entity this is."""
        return OrderingMarks(self.context.now, self.context.now)

    def is_chain_over(self, marks: OrderingMarks) -> bool:
        """Without ids, arrival decides between chains, and rank only within one, and only for a while."""
        silent_s = self.context.now - marks.touched
        return self.moved_by != self.key or silent_s > self.context.windows.reorder_window_s

    def _stored_marks(self) -> OrderingMarks | None:
        tracks = self.memory.get("tracks")
        if not tracks or (stored := tracks.get(self.key)) is None:
            return None
        marks = OrderingMarks.load(stored)
        return None if not self.context.transaction_id and self.is_chain_over(marks) else marks

    @property
    def is_older(self) -> bool:
        """Whether the message's operation was first seen before the one that last moved the entity."""
        return is_older(self.context.operation, self.memory.get("mover"))

    @property
    def moved_since(self) -> bool:
        """Whether another operation has moved the entity since the message arrived."""
        return self.context.delayed is not None and delayed.moved_since(self.context, self.memory, self.key)

    @property
    def only_fills_in(self) -> bool:
        """Whether the message may only add facts that are missing."""
        return self.context.delayed is not None and delayed.only_fills_in(self.context, self.memory, self.key)

    def learn(self, facts: dict[str, Any], rank: int) -> None:
        """Take over each fact for which this message outranks those before it in its operation."""
        columns, replaces = self.columns, self.marks.replaces
        for column, value in facts.items():
            if value is not None and replaces(column, rank, value, getattr(columns, column)):
                setattr(columns, column, value)

    def learn_last_operation(self, rank: int) -> None:
        """What the message says of the operation, to be shown as the entity's last one."""
        n = self.context.notification
        outcome = "failed" if self.context.failed else "succeeded"
        last = {"name": n.trigger, "transaction_id": n.transaction_id, "outcome": outcome}
        known = self.columns.last_operation
        if known and known["transaction_id"] != n.transaction_id:
            self.marks.facts.pop("last_operation", None)  # another one's was shown since
        self.learn({"last_operation": last}, rank)

    def fill_in(self, facts: dict[str, Any]) -> None:
        """Take over the facts that are missing: all that a late message may do."""
        if not self.context.again:
            for column, value in facts.items():
                if value is not None and not getattr(self.columns, column):
                    setattr(self.columns, column, value)
