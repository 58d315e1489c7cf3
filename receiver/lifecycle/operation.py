"""What a message does to its operation: all that shares one ESC transaction id.

Which messages end it depends on the other messages, so an operation remembers the endings that arrived
(`memory["closers"]`, by precedence) and how far it is known to reach (`memory["level"]`): the outcome
follows from that set, whatever the order. Must not know the tables of VMs or deployments.
"""

from __future__ import annotations

from collections.abc import Mapping

from receiver.lifecycle import operation_tables
from receiver.lifecycle.context import RuleResult
from receiver.lifecycle.draft import Draft
from receiver.model.entities import Operation, OperationState
from receiver.model.entity_ids import entity_id
from receiver.model.notification import Family, Notification

ENDED = frozenset({OperationState.SUCCEEDED, OperationState.FAILED, OperationState.CANCELLED})
LEVELS: Mapping[Family, int] = {Family.RESOURCE: 0, Family.VM_EVENT: 1, Family.DEPLOYMENT: 2}
NAMELESS_MAX = 64
OPENED = "operation-opened"
RESUMED = RuleResult("operation-resumed", "it was overdue, and a message came after all", changed=True)
REOPENED = RuleResult(
    "operation-reopened", "what had ended it was a part of it: a stage of the service shares its id", changed=True
)
REASONS: Mapping[str, str] = {
    OperationState.OPEN: "its first message was received",
    OperationState.SUCCEEDED: "its closing message reports success",
    OperationState.FAILED: "its closing message reports failure",
    OperationState.CANCELLED: "the recovery was cancelled: the VM came back by itself",
}
COUNTS: Mapping[str, str] = {"s": "vms_seen", "d": "vms_deployed", "a": "vms_alive", "f": "vms_failed"}


def unseen(n: Notification) -> Operation:
    """The operation before its first message."""
    transaction_id = n.transaction_id or ""
    return Operation(
        id=entity_id("operation", n.source, transaction_id), source=n.source, transaction_id=transaction_id,
        kind="unknown", state=OperationState.UNSEEN, first_seen_at=n.received_at, last_seen_at=n.received_at,
    )  # fmt: skip


class OperationDraft(Draft[Operation]):
    """An operation, and the message that is applied to it."""

    def is_new_nameless(self) -> bool:
        """Remember a message about a VM that it does not name; False for a repeat."""
        counted, fingerprint = self.memory.get("nameless", []), self.context.notification.fingerprint
        if fingerprint in counted:
            return False
        self.memory["nameless"] = [*counted, fingerprint][-NAMELESS_MAX:]
        return True

    def apply(self, *, was_up: bool, counted: str) -> RuleResult:
        """Change the draft, and return why it stands so.

        `was_up`: its deployment had been up when it began. `counted`: codes of `COUNTS`, each to be raised by one.
        """
        n, before, columns = self.context.notification, self.before, self.columns
        closer = self._closer()
        self._remember(closer, was_up=was_up)
        endings = self._endings()
        state = max(endings)[1] if endings else self._unended()
        columns.state, columns.kind = state, self.memory["kind"][1]
        columns.revised = len(self._outcomes(endings)) > 1 if endings else False
        columns.first_seen_at = min(before.first_seen_at, n.received_at)
        columns.last_seen_at = max(before.last_seen_at, n.received_at)
        self._learn()
        for code in counted:
            setattr(columns, COUNTS[code], getattr(columns, COUNTS[code]) + 1)
        self._weigh_status(closer)
        if state not in ENDED:
            # An ending that was not the operation's own (a recovery under a deploy's id) is taken back when a
            # service's stage shows whose the id is.
            columns.ended_at = None
        elif not before.ended_at:
            columns.ended_at = n.received_at
        return self._result(state)

    def _remember(self, closer: tuple[int, str] | None, *, was_up: bool) -> None:
        n, memory = self.context.notification, self.memory
        memory["level"] = max(memory.get("level", 0), _level(n))
        memory["kind"] = max(memory.get("kind", [0, "unknown"]), list(_kind(n, was_up)))
        if closer:
            own = n.trigger in operation_tables.OWN_WORKFLOW
            memory["closers"] = sorted({*map(tuple, memory.get("closers", [])), (*closer, own)})

    def _closer(self) -> tuple[int, str] | None:
        """Precedence and outcome of a message that ends an operation."""
        n, failed = self.context.notification, self.context.failed
        outcome = OperationState.FAILED if failed else OperationState.SUCCEEDED
        if n.family is Family.RESOURCE:
            return operation_tables.RESOURCE_RANKS[failed], outcome
        if n.trigger in operation_tables.CLOSERS_AS_EVENT and n.family is Family.VM_EVENT:
            return operation_tables.EVENT_RANKS[failed], outcome
        return operation_tables.CLOSERS.get((n.trigger or "", failed))

    def _endings(self) -> list[tuple[int, str]]:
        """Those that count: inside a service's operation neither resources nor ESC's own workflows end it."""
        if not (closers := self.memory.get("closers")):
            return []
        level, least = self.memory["level"], max(operation_tables.RESOURCE_RANKS)
        endings = [
            (rank, outcome) for rank, outcome, own in closers
            if (rank > least or level == 0) and not (own and level == LEVELS[Family.DEPLOYMENT])
        ]  # fmt: skip
        if any(rank >= operation_tables.SERVICE_RANK for rank, _ in endings):
            return [ending for ending in endings if ending[0] > max(operation_tables.EVENT_RANKS)]
        return endings

    def _outcomes(self, endings: list[tuple[int, str]]) -> set[str]:
        """Those that were told; and what was inferred before, which gives way to them."""
        if inferred := self.memory.pop("inferred", None):
            self.memory["was_inferred"] = inferred
        presumed = self.memory.get("was_inferred")
        return {outcome for _, outcome in endings} | ({presumed} if presumed else set())

    def _unended(self) -> str:
        """An overdue operation is open again when a later message comes after all (`overdue`); one that ESC was asked
        about stays as ended as its state shows (`answer`)."""
        if inferred := self.memory.get("inferred"):
            return str(inferred)
        before, received_at = self.before, self.context.notification.received_at
        silent = before.state == OperationState.OVERDUE and received_at <= before.last_seen_at
        return OperationState.OVERDUE if silent else OperationState.OPEN

    def _learn(self) -> None:
        """Of several tenants, deployments or references under one id, the greatest is shown: any order agrees."""
        n, columns = self.context.notification, self.columns
        columns.ref = _greater(n.ref, columns.ref)
        if n.deployment:
            columns.tenant = _greater(n.deployment.internal_tenant_id, columns.tenant)
            columns.deployment = _greater(n.deployment.internal_id, columns.deployment)
        elif n.resource:
            columns.tenant = _greater(n.resource.internal_tenant_id, columns.tenant)
            columns.deployment = _greater(n.resource.internal_deployment_id, columns.deployment)

    def _weigh_status(self, closer: tuple[int, str] | None) -> None:
        """Code and text of the message that weighs most: the highest ending, else the latest failure."""
        n = self.context.notification
        weight = [closer[0] if closer else int(self.context.failed), n.status_message or "", n.status_code or 0]
        if weight >= self.memory.get("status", [0, "", 0]):
            self.memory["status"] = weight
            self.columns.status_code, self.columns.status_message = n.status_code, n.status_message

    def _result(self, state: str) -> RuleResult:
        before = self.before.state
        if state == OperationState.OPEN and before == OperationState.OVERDUE:
            return RESUMED
        if state == OperationState.OPEN and before in ENDED:
            return REOPENED
        rule = OPENED if state == OperationState.OPEN else f"operation-{state.lower()}"
        return RuleResult(rule, REASONS.get(state, "it goes on"), changed=state != before)


def _greater(told: str | None, known: str | None) -> str | None:
    return max(told, known or "") if told else known


def _level(n: Notification) -> int:
    """A network or subnet that names a deployment is a step of that deployment's operation."""
    inside = n.resource is not None and n.resource.internal_deployment_id is not None
    return LEVELS[Family.DEPLOYMENT] if inside else LEVELS.get(n.family, 0)


def _kind(n: Notification, was_up: bool) -> tuple[int, str]:
    if n.family is Family.RESOURCE:
        return 1, (n.trigger or "unknown").lower()
    kinds = (
        operation_tables.KINDS_WHEN_UP
        if was_up and n.trigger in operation_tables.KINDS_WHEN_UP
        else operation_tables.KINDS
    )
    return kinds.get(n.trigger or "", (0, "unknown"))
