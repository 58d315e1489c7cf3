"""What a message does to a tenant, network, image … (docs/esc-callbacks.md#3.3, docs/storage.md#states)."""

from __future__ import annotations

from receiver.lifecycle import delayed
from receiver.lifecycle.application import ALREADY_PASSED, NEWER_OPERATION, RuleApplication
from receiver.lifecycle.context import DecisionContext, RuleResult
from receiver.lifecycle.ordering_marks import OrderingMarks
from receiver.model.entities import Resource, ResourceState
from receiver.model.entity_ids import entity_id
from receiver.model.notification import ResourceReport

_NOT_CREATED = "it could not be created: delete it before creating it again"
VERBS = {
    "CREATE": (10, ResourceState.CREATED, "it was created", _NOT_CREATED),
    "UPDATE": (20, ResourceState.UPDATED, "it was updated", "it could not be updated"),
    "ATTACH": (20, ResourceState.UPDATED, "an interface was attached", "an interface could not be attached"),
    "DELETE": (30, ResourceState.DELETED, "it was deleted", "it could not be deleted"),
}
"""By the first word of the event type: rank within one operation, state, why, and why when it failed.
A failure ranks just above the success it contradicts."""


def unseen(context: DecisionContext, report: ResourceReport) -> Resource:
    """The resource before its first message."""
    n = context.notification
    return Resource(
        id=entity_id("resource", n.source, report.kind, report.id),
        source=n.source, kind=report.kind, resource_id=report.id,
        state=ResourceState.UNSEEN, first_seen_at=n.received_at, changed_at=n.received_at,
    )  # fmt: skip


class ResourceApplication(RuleApplication[Resource]):
    """A message applied to the resource it is about. Without a transaction id each event is a chain of its own."""

    def __init__(self, context: DecisionContext, before: Resource, report: ResourceReport) -> None:
        super().__init__(context, before, context.notification.trigger or "")
        self.report = report

    def is_chain_over(self, marks: OrderingMarks) -> bool:
        """Arrival decides between events; there is no time after which the same event is a new one."""
        return self.moved_by != self.key

    def decide(self) -> RuleResult:
        """As `VERBS` say."""
        if self.is_older:
            return RuleResult(NEWER_OPERATION, "an operation that began later has moved it since", late=True)
        if self.moved_since:
            return delayed.MOVED_SINCE
        failed, verb = self.context.failed, self.chain.partition("_")[0]
        rank, state, done, not_done = VERBS[verb]
        if not self.only_fills_in:
            self.learn(self._facts(), rank)
        if not self.marks.raises(rank + failed, ResourceState.ERROR if failed else state):
            late = rank < self.marks.rank
            return RuleResult(ALREADY_PASSED, "the same operation has already passed this", late=late)
        self.move(self.marks.to, self.chain)
        self.set_times()
        rule = f"resource-{verb.lower()}-failed" if failed else f"resource-{state.lower()}"
        return RuleResult(rule, not_done if failed else done, changed=True)

    def _facts(self) -> dict[str, object]:
        report = self.report
        return {
            "external_id": report.external_id, "name": report.name, "tenant": report.internal_tenant_id,
            "deployment": report.internal_deployment_id, "attributes": dict(report.attributes) or None,
        }  # fmt: skip
