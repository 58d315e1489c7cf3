"""The VMs of one deployment while one message is decided: the one it names, or all of them.

What a service's stage says of every VM is remembered, so that it also holds for VMs that its operation names later:
`deployment.memory["every_vm"] = {<key of the operation's marks>: [<trigger>, failed]}`. Must not know the tables of
deployments or operations, nor what a message does to one VM (`vm`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from receiver.lifecycle import tables
from receiver.lifecycle import vm as vms
from receiver.lifecycle.context import LEARNED, DecisionContext, RuleResult
from receiver.lifecycle.deployment import DeploymentApplication
from receiver.lifecycle.draft import DecisionBuilder, Draft
from receiver.lifecycle.instances import aliases
from receiver.lifecycle.tables import VmRow
from receiver.lifecycle.vm import VmApplication
from receiver.model.entities import DeploymentState, Vm, VmState
from receiver.model.notification import Notification, VmReport

NOT_A_VM = VmReport()
SHOWN = VmRow("vm-shown", 1, None, "a service's stage showed it", shows=True)
"""A service's stage may carry a VM's block (docs/esc-callbacks.md#trap-2): facts, and the state of a VM never seen."""


class DeploymentVms:
    """The VMs of a deployment's incarnation, and what the message does to them."""

    def __init__(self, builder: DecisionBuilder, deployment: DeploymentApplication, stored: Mapping[str, Vm]) -> None:
        self.context = deployment.context
        self.counts = dict(deployment.before.vms)
        """How many of the deployment's VMs are in which state."""
        self._builder = builder
        self._deployment = deployment
        self._stored = stored

    def apply_named(self) -> tuple[RuleResult | None, str]:
        """What the message did to the VM it names (None: it was only shown), and what the operation counts by it."""
        row = tables.VM.get((self.context.notification.trigger or "", self.context.failed), SHOWN)
        report = _report(self.context, row)
        known = self._find(report)
        name = report.name or (known.vm_name if known else None)
        if name is None:
            return None, ""
        before = self._as_it_stands(known) if known else vms.unseen(self._deployment, name)
        vm = VmApplication(self.context, before, row, report, deployment_gone=self._is_gone)
        result = vm.apply()
        if said := self._deployment.memory.get("every_vm", {}).get(self._deployment.key):
            self._apply_every(vm, tables.EVERY_VM[said[0], said[1]])
        self._record(vm, result, row.note)
        return None if row is SHOWN else result, vm.counted

    def apply_to_every(self) -> None:
        """What a service's stage says of all its VMs, those that are known and those still to come."""
        n, context, deployment = self.context.notification, self.context, self._deployment
        case = n.trigger or "", context.failed
        if context.again or (row := tables.EVERY_VM.get(case)) is None:
            return
        tracks = deployment.memory["tracks"]
        remembered = {key: said for key, said in deployment.memory.get("every_vm", {}).items() if key in tracks}
        deployment.memory["every_vm"] = {**remembered, deployment.key: case}
        for _, known in sorted(self._stored.items()):
            vm = VmApplication(context, self._as_it_stands(known), row, NOT_A_VM, deployment_gone=self._is_gone)
            self._record(vm, vm.apply(), row.note)

    def remove_all(self, result: RuleResult) -> None:
        """Every VM goes with its deployment."""
        for name, stored in sorted(self._stored.items()):
            before = self._as_it_stands(stored)
            if before.state == VmState.UNDEPLOYED:
                continue
            vm: Draft[Vm] = Draft(self.context, before)
            vms.remove(vm)
            vm.set_times()
            gone = RuleResult("deployment-gone", f"{result.reason}, and so is its VM {name}")
            self._record(vm, gone, None)

    def _as_it_stands(self, stored: Vm) -> Vm:
        """Its row after what this message has done to it so far."""
        row = self._builder.rows.get(stored.id, stored)
        assert isinstance(row, Vm)  # under the id of a VM
        return row

    @property
    def _is_gone(self) -> bool:
        return self._deployment.state == DeploymentState.UNDEPLOYED

    def _find(self, report: VmReport) -> Vm | None:
        if report.name:
            return self._stored.get(report.name)
        if report.uuid is None:
            return None
        return next((vm for vm in self._stored.values() if report.uuid in vm.memory.get("uuids", {})), None)

    def _apply_every(self, vm: Draft[Vm], row: VmRow) -> None:
        """The stage that was about every VM, applied to one that is named after it."""
        applied = VmApplication(self.context, vm.as_row(), row, NOT_A_VM, deployment_gone=self._is_gone)
        applied.apply()
        vm.take_over(applied)

    def _record(self, vm: Draft[Vm], result: RuleResult, note: str | None) -> None:
        is_new = not vm.before.memory
        self._builder.aliases += aliases(vm)
        self._count(None if is_new else vm.before.state, vm.state)
        if vm.state != vm.before.state:
            self._builder.record_move(vm, result)
        elif result.changed and note and _is_news(vm, note):
            self._builder.record(vm, vm.before.state, note, result)
        elif vm.differs:
            self._builder.record(vm, vm.before.state, "updated", LEARNED)
        else:
            self._builder.write(vm)

    def _count(self, before: str | None, after: str) -> None:
        """Keep the count of the deployment's VMs while they change."""
        if before == after:
            return
        counts = self.counts
        if before is not None:
            counts[before] = counts.get(before, 0) - 1
            if counts[before] <= 0:
                del counts[before]
        counts[str(after)] = counts.get(after, 0) + 1


def names_a_vm(n: Notification) -> bool:
    """Whether the message says which VM it is about."""
    return any(side and (side.name or side.uuid) for side in (n.vm, n.target))


def _report(context: DecisionContext, row: VmRow) -> VmReport:
    """The side of the message that shows the VM it is about."""
    n = context.notification
    vm, target = n.vm or NOT_A_VM, n.target or NOT_A_VM
    if row.about == "target":
        return target
    if n.trigger in tables.RECOVERY_TARGETS and not context.failed and target.uuid:
        return target if target.name else replace(target, name=vm.name)
    return vm


def _is_news(vm: Draft[Vm], note: str) -> bool:
    if note == "redeployed":
        return bool(vm.before.vm_uuid != vm["vm_uuid"])
    return note not in ("monitored", "unmonitored") or vm.before.monitored != vm["monitored"]
