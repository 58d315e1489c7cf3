"""Small factories for lifecycle tests: notifications in, a world of entities that decisions are applied to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from receiver.lifecycle import Current, DelayedContext, Windows, decide
from receiver.model.entities import Decision, Deployment, Operation, Resource, Source, Vm
from receiver.model.entity_ids import entity_id
from receiver.model.notification import (
    DeploymentReport,
    Family,
    Notification,
    Outcome,
    ResourceReport,
    Status,
    VmReport,
)

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def notification(
    trigger: str | None,
    *,
    vm: str | None = None,
    uuid: str | None = None,
    target: str | None = None,
    target_name: str | None = None,
    group: str | None = None,
    failed: bool = False,
    txn: str | None = "t1",
    external: str | None = "e1",
    service: str | None = None,
    state: str | None = None,
    family: Family | None = None,
    deployment: str | None = "d1",
    at_s: float = 0.0,
    number: int = 0,
    resource: ResourceReport | None = None,
    **more: Any,
) -> Notification:
    """One message. `number` tells apart what would otherwise be a repeat."""
    said = (trigger, vm, uuid, target, target_name, failed, txn, external, service, state, number, resource, group)
    family = family or _family(trigger or "", resource)
    about = DeploymentReport(deployment, external, "dep", "tenant", None, service, service) if deployment else None
    return Notification(
        receipt=entity_id(repr(said), str(at_s)), source="lab", received_at=EPOCH + timedelta(seconds=at_s),
        family=family, root=family, trigger=trigger, raw_trigger=trigger, status=Status.FAILED if failed else Status.OK,
        status_code=500 if failed else 200, transaction_id=txn, deployment=None if resource else about,
        vm=VmReport(vm, group or "g", uuid, state=state, raw_state=state) if vm or uuid or group else None,
        target=VmReport(target_name or vm, group or "g", target) if target else None,
        resource=resource, fingerprint=entity_id(repr(said)).hex[:16], **more,
    )  # fmt: skip


def _family(trigger: str, resource: ResourceReport | None) -> Family:
    if resource:
        return Family.RESOURCE
    is_event = trigger.startswith(("VM_RECOVERY", "VM_SCALE", "VM_MANUAL")) or trigger.endswith("_COMPLETE")
    return Family.VM_EVENT if is_event else Family.DEPLOYMENT


class World:
    """Everything known so far; what the store does, without a database: look up, decide, write back."""

    def __init__(self, windows: Windows | None = None) -> None:
        self.windows = windows or Windows()
        self.rows: dict[UUID, Any] = {}
        self.ledger: list[Any] = []
        self.aliases: list[Any] = []
        self.outcomes: list[Outcome] = []

    def hear(self, *notifications: Notification, delayed: DelayedContext | None = None) -> Decision:
        """Judge them in this order, and write back; the last decision."""
        for n in notifications:
            decision = decide(self.current(n), n, self.windows, delayed)
            for entity in decision.entities:
                self.rows[entity.id] = entity
            self.ledger += [t for t, _ in decision.transitions]
            self.aliases += decision.aliases
            self.outcomes.append(decision.outcome)
        return decision

    def current(self, n: Notification) -> Current:
        """What is known of what it names."""
        operation = next(
            (o for o in self.all(Operation) if (o.source, o.transaction_id) == (n.source, n.transaction_id)), None
        )
        wanted = n.deployment.internal_id if n.deployment else operation.deployment if operation else None
        deployment = next((d for d in self.all(Deployment) if d.internal_deployment_id == wanted and d.current), None)
        vms = {v.vm_name: v for v in self.all(Vm) if deployment and v.deployment_id == deployment.id}
        resource = next(
            (
                r
                for r in self.all(Resource)
                if n.resource and (r.kind, r.resource_id) == (n.resource.kind, n.resource.id)
            ),
            None,
        )
        source = next((one for one in self.all(Source) if one.source == n.source), None)
        return Current(operation, deployment, vms, resource, source)

    def all(self, kind: type) -> Iterable[Any]:
        """Rows of one kind, the oldest first."""
        return [row for row in self.rows.values() if isinstance(row, kind)]

    def vms(self) -> list[Vm]:
        """All, of every deployment."""
        return list(self.all(Vm))

    def vm(self, name: str = "a") -> Vm:
        """The newest of this name."""
        found: Vm = next(v for v in reversed(self.vms()) if v.vm_name == name)
        return found

    def deployment(self) -> Deployment:
        """The current incarnation of the only one."""
        found: Deployment = next(d for d in self.all(Deployment) if d.current)
        return found

    def operation(self, txn: str = "t1") -> Operation:
        """The one of this transaction id."""
        found: Operation = next(o for o in self.all(Operation) if o.transaction_id == txn)
        return found

    def end(self) -> dict[Any, Any]:
        """States, flags and current ids: what any order must agree on."""
        shown: dict[Any, Any] = {}
        for row in self.rows.values():
            if isinstance(row, Vm):
                shown["vm", row.deployment_id, row.vm_name] = (
                    row.state,
                    row.vm_uuid,
                    row.monitored,
                    row.recovery_open,
                    row.needs_manual_recovery,
                    row.last_operation,
                )
            elif isinstance(row, Deployment):
                shown["deployment", row.internal_deployment_id, row.incarnation] = (
                    row.state,
                    row.external_deployment_id,
                    row.conflicting_external_id,
                    row.degraded,
                    row.vim_leak_suspected,
                    row.vms,
                    row.last_operation,
                )
            elif isinstance(row, Operation):
                shown["operation", row.transaction_id] = (
                    row.state,
                    row.kind,
                    row.revised,
                    row.vms_seen,
                    row.vms_deployed,
                    row.vms_alive,
                    row.vms_failed,
                    row.deployment,
                    row.status_code,
                )
            elif isinstance(row, Source):
                shown["source", row.source] = (row.state,)
            else:
                shown["resource", row.kind, row.resource_id] = (row.state, row.external_id)
        return shown

    def fork(self) -> World:
        """Another world that begins as this one stands."""
        twin = World(self.windows)
        twin.rows, twin.ledger = dict(self.rows), list(self.ledger)
        return twin


__all__ = ["EPOCH", "World", "notification", "replace"]
