"""The VMs of one deployment while one message is decided: the one it names, all of them, or one that must be found out.

What a service's stage says of every VM is remembered, so that it also holds for VMs that its operation names later:
`deployment.memory["every_vm"] = {<key of the operation's marks>: [<trigger>, failed]}`. Must not know the tables of
deployments or operations, nor what a message does to one VM (`vm`), nor how a VM is found out (`attribution`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from receiver.lifecycle import attribution, stage_rules
from receiver.lifecycle import vm as vms
from receiver.lifecycle.attribution import Attribution, Step
from receiver.lifecycle.context import LEARNED, DecisionContext, RuleResult
from receiver.lifecycle.deployment import DeploymentApplication
from receiver.lifecycle.draft import DecisionBuilder, Draft
from receiver.lifecycle.instances import aliases
from receiver.lifecycle.stage_rules import VmRow
from receiver.lifecycle.vm import VmApplication
from receiver.model.entities import DeploymentState, Vm, VmState
from receiver.model.notification import VmReport

NOT_A_VM = VmReport()
SHOWN = VmRow("vm-shown", 1, None, "a service's stage showed it", shows=True)
"""A service's stage may carry a VM's block (docs/esc-callbacks.md#trap-2): facts, and the state of a VM never seen."""
TAKEN_BACK = RuleResult(
    "step-taken-back", "a step that names no VM was taken for its own; it may be another VM's", changed=True
)
UNATTRIBUTED = "step-unattributed"


class DeploymentVms:
    """The VMs of a deployment's incarnation, and what the message does to them."""

    def __init__(
        self,
        builder: DecisionBuilder,
        deployment: DeploymentApplication,
        stored: Mapping[str, Vm],
        steps: Sequence[Step] = (),
    ) -> None:
        """`steps`: those of the operation that do not name their VM."""
        self.context = deployment.context
        self.counts = dict(deployment.before.vms)
        """How many of the deployment's VMs are in which state."""
        self._builder = builder
        self._deployment = deployment
        self._stored = stored
        self._steps = steps
        self._drafts: dict[str, Draft[Vm]] = {}
        self._results: dict[str, tuple[RuleResult, str]] = {}

    def apply_named(self) -> tuple[RuleResult | None, str]:
        """What the message did to the VM it names (None: it was only shown), and what the operation counts by it."""
        row = stage_rules.VM.get((self.context.notification.trigger or "", self.context.failed), SHOWN)
        report = _report(self.context, row)
        known = self._find(report)
        name = report.name or (known.vm_name if known else None)
        if name is None:
            return None, ""
        vm, result = self._apply(self.context, name, row, report)
        if said := self._deployment.memory.get("every_vm", {}).get(self._deployment.key):
            self._apply(self.context, name, stage_rules.EVERY_VM[said[0], said[1]], NOT_A_VM)
        if row is not SHOWN or name not in self._results:
            self._results[name] = result, row.note or ""
        return None if row is SHOWN else result, vm.counted

    def apply_to_every(self) -> None:
        """What a service's stage says of all its VMs, those that are known and those still to come."""
        context, deployment = self.context, self._deployment
        case = context.notification.trigger or "", context.failed
        if context.again or (row := stage_rules.EVERY_VM.get(case)) is None:
            return
        tracks = deployment.memory["tracks"]
        remembered = {key: said for key, said in deployment.memory.get("every_vm", {}).items() if key in tracks}
        deployment.memory["every_vm"] = {**remembered, deployment.key: case}
        for name in sorted(self._stored):
            _, result = self._apply(context, name, row, NOT_A_VM)
            self._results[name] = result, row.note or ""

    def remove_all(self, result: RuleResult) -> None:
        """Every VM goes with its deployment."""
        for name in sorted(self._stored):
            vm = self._draft(name)
            if vm.state != VmState.UNDEPLOYED:
                vms.remove(vm)
                vm.set_times()
                self._results[name] = RuleResult("deployment-gone", f"{result.reason}, and so is its VM {name}"), ""

    def attribute(self, new: Step | None) -> RuleResult | None:
        """Give the steps that name no VM to the VMs that they are about; what became of the new one."""
        if not self._steps:
            return None
        key = self.context.key(stage_rules.VM[self._steps[0].trigger, self._steps[0].failed].chain)
        bases = {name: self._base(vm) for name, vm in self._stored.items()}
        bases |= {name: draft.as_row() for name, draft in self._drafts.items()}
        found = attribution.attribute(bases, self._steps, key)
        spared = self.context.delayed.settled if self.context.delayed else frozenset()
        for name in sorted(name for name, vm in bases.items() if vm.id not in spared):
            mine = [one for one in found if one.name == name]
            if mine or bases[name] is not self._stored.get(name):
                self._give(name, mine, key)
        return next((self._told(one) for one in found if new and one.step.fingerprint == new.fingerprint), None)

    def record(self) -> None:
        """Write down all that has changed."""
        for name, vm in self._drafts.items():
            if name in self._results:
                if "attributed" in vm.before.memory:
                    vm.keep_times()
                self._record(vm, *self._results[name])

    @property
    def _is_gone(self) -> bool:
        return self._deployment.state == DeploymentState.UNDEPLOYED

    def _find(self, report: VmReport) -> Vm | None:
        if report.name:
            return self._stored.get(report.name)
        if report.uuid is None:
            return None
        return next((vm for vm in self._stored.values() if report.uuid in vm.memory.get("uuids", {})), None)

    def _base(self, stored: Vm) -> Vm:
        """A stored VM without what its operation's steps have done to it, as far as that can be taken back."""
        if "attributed" not in stored.memory:
            return stored
        context = self.context
        if context.delayed and (context.again or stored.id in context.delayed.settled):
            return stored
        key = context.transaction_id or None
        vm = attribution.settled(stored, key, self._steps)
        return attribution.taken_back(vm, key) if key else vm

    def _draft(self, name: str) -> Draft[Vm]:
        """The VM as it stands, to be changed."""
        if (vm := self._drafts.get(name)) is None:
            stored = self._stored.get(name) or vms.unseen(self._deployment, name)
            vm = self._drafts[name] = Draft(self.context, stored)
            if (base := self._base(stored)) is not stored:
                vm.stand_as(base)
        return vm

    def _apply(
        self, context: DecisionContext, name: str, row: VmRow, report: VmReport
    ) -> tuple[VmApplication, RuleResult]:
        draft, stored = self._drafts.get(name), self._stored.get(name)
        if draft is None and (stored is None or "attributed" not in stored.memory):
            before = stored or vms.unseen(self._deployment, name)
            vm = VmApplication(context, before, row, report, deployment_gone=self._is_gone)
            self._drafts[name] = vm
            return vm, vm.apply()
        draft = self._draft(name)
        vm = VmApplication(context, draft.as_row(), row, report, deployment_gone=self._is_gone)
        result = vm.apply()
        draft.stand_as(vm.as_row())
        return vm, result

    def _give(self, name: str, mine: Sequence[Attribution], key: str) -> None:
        """Apply these steps to the VM, in addition to what it has become by the messages that name it."""
        vm = self._draft(name)
        base, came_of_it = vm.as_row(), (TAKEN_BACK, "")
        for step, _, because in sorted(mine, key=lambda one: one.step.order):
            context, row, before = step.naming(name, self.context), stage_rules.VM[step.trigger, step.failed], vm.state
            _, came = self._apply(context, name, row, _report(context, row))
            if vm.state != before or came_of_it[0] is TAKEN_BACK:
                came_of_it = came._replace(reason=_known_because(came.reason, because)), row.note or ""
        if mine and self.context.transaction_id:
            vm.stand_as(attribution.given(base, vm.as_row(), [one.step for one in mine], key))
        vm.keep_times()
        if name in self._results and vm.state == base.state:
            return
        if vm.as_row() != self._stored.get(name):
            self._results[name] = came_of_it

    def _told(self, one: Attribution) -> RuleResult:
        """What became of a step that was just received."""
        row = stage_rules.VM[one.step.trigger, one.step.failed]
        if one.name is not None:
            return RuleResult(row.rule, _known_because(row.reason, one.because), changed=True)
        rule = "nameless-failure" if one.step.failed else UNATTRIBUTED
        return RuleResult(rule, f"no VM is named, and {one.because}", changed=True)

    def _record(self, vm: Draft[Vm], result: RuleResult, note: str) -> None:
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


def _report(context: DecisionContext, row: VmRow) -> VmReport:
    """The side of the message that shows the VM it is about."""
    n = context.notification
    vm, target = n.vm or NOT_A_VM, n.target or NOT_A_VM
    if row.about == "target":
        return target
    if n.trigger in stage_rules.RECOVERY_TARGETS and not context.failed and target.uuid:
        return target if target.name else replace(target, name=vm.name)
    return vm


def _known_because(reason: str, because: str) -> str:
    return f"{reason}; no VM is named, but {because}"


def _is_news(vm: Draft[Vm], note: str) -> bool:
    if note == "redeployed":
        return bool(vm.before.vm_uuid != vm.columns.vm_uuid)
    return note not in ("monitored", "unmonitored") or vm.before.monitored != vm.columns.monitored
