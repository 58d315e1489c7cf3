"""Walks the lifecycle: every message from every state, judged by `decide` itself, for the tables and diagrams.

Each entity is set into a state that an earlier operation brought it to, and hears one message of a newer one. Pure.
This file must not know how anything is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from receiver.lifecycle import Current, Windows, decide, operation_tables, overdue, stage_rules
from receiver.model.entities import Deployment, DeploymentState, Entity, Operation, Resource, ResourceState, Vm, VmState
from receiver.model.notification import DeploymentReport, Family, Notification, ResourceReport, Status, VmReport
from receiver.parsing.vocabulary import RESOURCE_EVENTS

EARLIER, NOW = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=1)
SAMPLE_RESOURCE = "network"
REPORTS: Mapping[str, str] = {
    "VM_DEPLOYED": DeploymentState.DEPLOYING,
    "VM_ALIVE": DeploymentState.INERT,
    "VM_STARTED": DeploymentState.STARTING,
    "VM_REBOOTED": DeploymentState.REBOOTING,
    "VM_UNDEPLOYED": DeploymentState.UNDEPLOYING,
}
"""The service state that ESC reports with a VM's stage (docs/esc-callbacks.md#3.1, #4.3; the last three by name
only)."""
Case = tuple[str, bool]
"""A trigger, and whether ESC reports failure."""


@dataclass(frozen=True, slots=True)
class Edge:
    """One step: in `from_state` the message was heard, and `to_state` came of it."""

    from_state: str
    trigger: str
    failed: bool
    to_state: str

    @property
    def moves(self) -> bool:
        """Whether the state changed."""
        return self.from_state != self.to_state


def vm_edges() -> Iterator[Edge]:
    """Every row of the VM table from every state of a VM, and a deployment's end as its VMs see it."""
    for trigger, failed in [*stage_rules.VM, ("SERVICE_UNDEPLOYED", False), ("SERVICE_UNDEPLOYED", True)]:
        for state in VmState:
            if trigger.startswith("VM_") or state != VmState.UNSEEN:  # a VM that nobody named cannot go
                yield Edge(state, trigger, failed, _after_vm(state, (trigger, failed)))


def deployment_edges() -> Iterator[Edge]:
    """Every row of the deployment table from every state, and VM stages that report a service state."""
    reporting = {(trigger, False): reported for trigger, reported in REPORTS.items()}
    for (trigger, failed), reported in (dict.fromkeys(stage_rules.DEPLOYMENT) | reporting).items():
        for state in DeploymentState:
            n = _message((trigger, failed), reported=reported)
            decision = decide(Current(deployment=_deployment(state)), n, Windows())
            yield Edge(state, trigger, failed, _state(decision.entities, Deployment, state))


def resource_edges() -> Iterator[Edge]:
    """Every event of a kind of resource from every state."""
    for trigger in sorted(RESOURCE_EVENTS[SAMPLE_RESOURCE]):
        for failed in (False, True):
            for state in ResourceState:
                n = _message((trigger, failed), family=Family.RESOURCE)
                decision = decide(Current(resource=_resource(state)), n, Windows())
                yield Edge(state, trigger, failed, _state(decision.entities, Resource, state))


def operation_edges() -> Iterator[Edge]:
    """Every closing message alone, after every other, and after the operation was overdue."""
    opened = _operation(None, ("VM_SCALE_IN_INIT", False))
    late = _overdue(opened)
    yield Edge("UNSEEN", "first message", False, opened.state)
    yield Edge(opened.state, "silence", False, late.state)
    yield Edge(late.state, "any other message", False, _operation(late, ("VM_ALIVE", False), later_days=3).state)
    for first in operation_tables.CLOSERS:
        closed = _operation(opened, first)
        yield Edge(opened.state, _group(first), first[1], closed.state)
        yield Edge(late.state, _group(first), first[1], _operation(late, first).state)
        for second in operation_tables.CLOSERS:
            yield Edge(closed.state, _group(second), second[1], _operation(closed, second).state)


def _overdue(operation: Operation) -> Operation:
    limits = overdue.Limits({overdue.OTHERWISE: 60})
    decision = overdue.decide_overdue(operation, (), NOW + timedelta(days=1), limits)
    assert decision is not None  # a day is longer than a minute
    return next(entity for entity in decision.entities if isinstance(entity, Operation))


def _operation(known: Operation | None, case: Case, later_days: int = 0) -> Operation:
    n = replace(_message(case), received_at=NOW + timedelta(days=later_days))
    decision = decide(Current(operation=known), n, Windows())
    return next(entity for entity in decision.entities if isinstance(entity, Operation))


def _group(case: Case) -> str:
    """Closing messages by what they have in common."""
    if case[0].startswith("SERVICE"):
        return "service stage"
    return case[0] if case[0] == "VM_RECOVERY_CANCELLED" else "closing event"


def _after_vm(state: str, case: Case) -> str:
    vm = _vm(state)
    current = Current(deployment=_deployment(DeploymentState.ACTIVE), vms={"vm": vm} if state != VmState.UNSEEN else {})
    return _state(decide(current, _message(case), Windows()).entities, Vm, state)


def _state(entities: Iterable[Entity], kind: type[Entity], otherwise: str) -> str:
    """The state of the entity of this kind; of two incarnations the current one."""
    found = [e for e in entities if isinstance(e, kind) and getattr(e, "current", True)]
    return found[0].state if found else otherwise


def _message(case: Case, *, reported: str | None = None, family: Family | None = None) -> Notification:
    trigger, failed = case
    about_vm = trigger.startswith("VM_") and case in stage_rules.VM
    is_event = trigger.startswith(("VM_RECOVERY", "VM_SCALE", "VM_MANUAL")) or trigger.endswith("_COMPLETE")
    is_resource = family is Family.RESOURCE
    return Notification(
        receipt=UUID(int=1), source="lab", received_at=NOW, transaction_id="newer",
        family=family or (Family.VM_EVENT if is_event else Family.DEPLOYMENT),
        root="", trigger=trigger, raw_trigger=trigger, status=Status.FAILED if failed else Status.OK,
        deployment=None if is_resource else DeploymentReport("d", "e", state=reported, raw_state=reported),
        vm=VmReport("vm", uuid="i") if about_vm else None,
        target=VmReport("vm", uuid="i") if about_vm and stage_rules.VM[case].about == "target" else None,
        resource=ResourceReport(SAMPLE_RESOURCE, "r") if is_resource else None,
    )  # fmt: skip


def _earlier(state: str, final: str) -> dict[str, Any]:
    """What every entity has in common that an earlier operation brought into its state."""
    ended = EARLIER if state == final else None
    return {
        "source": "lab", "state": state, "first_seen_at": EARLIER, "changed_at": EARLIER, "ended_at": ended,
        "memory": {"mover": [EARLIER.timestamp(), "earlier"], "chain": "earlier"},
    }  # fmt: skip


def _deployment(state: str) -> Deployment | None:
    if state == DeploymentState.UNSEEN:
        return None
    facts = _earlier(state, DeploymentState.UNDEPLOYED)
    return Deployment(
        id=UUID(int=2), internal_deployment_id="d", incarnation=1, current=True, external_deployment_id="e", **facts
    )


def _vm(state: str) -> Vm:
    facts = _earlier(state, VmState.UNDEPLOYED)
    facts["memory"]["uuids"] = {"i": "earlier" if state == VmState.UNDEPLOYED else None}
    return Vm(
        id=UUID(int=3), deployment_id=UUID(int=2), deployment="d", tenant=None, vm_name="vm", vm_uuid="i", **facts
    )


def _resource(state: str) -> Resource | None:
    if state == ResourceState.UNSEEN:
        return None
    return Resource(id=UUID(int=4), kind=SAMPLE_RESOURCE, resource_id="r", **_earlier(state, ResourceState.DELETED))
