"""The VMs of a deployment, as ESC shows them when it is asked. Must not know the tables of deployments or operations.

An answer that shows no VM at all says nothing of VMs: nobody has printed one, and a list may leave them out. One that
shows a VM nobody can name does not tell which others are gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from receiver.lifecycle import inference, instances
from receiver.lifecycle import vm as vms
from receiver.lifecycle.context import RuleResult
from receiver.lifecycle.draft import DecisionBuilder, Draft
from receiver.lifecycle.stage_rules import NEVER_FROM_A_REPORT
from receiver.model.entities import Alias, Deployment, Vm, VmState
from receiver.model.notification import VmReport

UNDER_WAY: Final = frozenset(
    {VmState.DEPLOYING, VmState.STARTING, VmState.REBOOTING, VmState.STOPPING, VmState.UNDEPLOYING}
)
"""What ESC says of a VM that it is recovering: there is no state of its own for that (docs/esc-callbacks.md#4.4)."""
_FACTS: Final = ("vm_group", "vm_uuid", "host_uuid", "host_name")


class AnsweredVms:
    """What the answer makes of them."""

    def __init__(self, builder: DecisionBuilder, deployment: Draft[Deployment], stored: Mapping[str, Vm]) -> None:
        self.counts = dict(deployment.before.vms)
        self._builder = builder
        self._deployment = deployment
        self._stored = stored
        self._changed: list[tuple[Draft[Vm], RuleResult]] = []

    def remove_all(self, rule: str, reason: str) -> None:
        """Every VM goes with its deployment."""
        for name in sorted(self._stored):
            self._remove(self._stored[name], RuleResult(rule, reason, changed=True))

    def compare(self, reports: Sequence[VmReport]) -> None:
        """Take over what ESC shows, and let go what it does not."""
        named = [(self._name(report), report) for report in reports]
        for name, report in named:
            if name is not None:
                self._compare(name, report)
        shown = {name for name, _ in named}
        if shown and None not in shown:
            reason = "ESC shows other VMs of its deployment, and not this one"
            for name in sorted(self._stored.keys() - shown):
                self._remove(self._stored[name], RuleResult("reconcile-vm-gone", reason, changed=True))

    def record(self) -> None:
        """Write down all that has changed."""
        for draft, result in self._changed:
            self._builder.aliases += _aliases(draft)
            if draft.state != draft.before.state:
                self._builder.record_move(draft, result)
            else:
                self._builder.record(draft, draft.before.state, "updated", result)

    def _name(self, report: VmReport) -> str | None:
        if report.name or not report.uuid:
            return report.name
        return next((name for name, vm in self._stored.items() if vm.vm_uuid == report.uuid), None)

    def _compare(self, name: str, report: VmReport) -> None:
        stored = self._stored.get(name)
        is_gone = stored and stored.state == VmState.UNDEPLOYED and not inference.is_presumed_gone(stored)
        if is_gone or report.state in NEVER_FROM_A_REPORT:
            return
        if stored and stored.state == VmState.RECOVERING and report.state in UNDER_WAY:
            return
        draft = Draft(self._deployment.context, stored or vms.unseen(self._deployment, name))
        _take_facts(draft, report)
        if _moves(draft.before, str(report.state)):
            self._move(draft, str(report.state), report)
        if stored is None:
            result = RuleResult("reconcile-vm-learned", f"ESC says {report.state}; no callback ever named it")
        elif draft.state != stored.state:
            result = RuleResult("reconcile-vm-state", f"ESC says {report.state}; what led there was never told")
        elif draft.differs:
            result = RuleResult("reconcile-facts", "ESC shows what no callback has told")
        else:
            return
        self._add(draft, result)

    def _move(self, draft: Draft[Vm], to: str, report: VmReport) -> None:
        columns = draft.columns
        inference.infer(draft, to)
        columns.reported_state = report.raw_state or columns.reported_state
        columns.recovery_open = False
        columns.needs_manual_recovery = columns.needs_manual_recovery and to == VmState.ERROR

    def _remove(self, vm: Vm, result: RuleResult) -> None:
        if vm.state == VmState.UNDEPLOYED:
            return
        draft = Draft(self._deployment.context, vm)
        inference.infer(draft, VmState.UNDEPLOYED)
        draft.columns.recovery_open = draft.columns.needs_manual_recovery = False
        self._add(draft, result)

    def _add(self, draft: Draft[Vm], result: RuleResult) -> None:
        before, after = draft.before.state, draft.state
        if after != before:
            draft.set_times()
            if before != VmState.UNSEEN:
                self.counts[before] = self.counts.get(before, 0) - 1
                if self.counts[before] <= 0:
                    del self.counts[before]
            self.counts[after] = self.counts.get(after, 0) + 1
        self._changed.append((draft, result))


def _moves(vm: Vm, to: str) -> bool:
    """A VM that nobody monitors any more runs on, and ESC says INERT of it (docs/esc-callbacks.md#trap-9)."""
    runs_on = vm.state == VmState.ALIVE and vm.monitored is False and to == VmState.INERT
    return to != vm.state and not runs_on


def _take_facts(draft: Draft[Vm], report: VmReport) -> None:
    columns, told = draft.columns, instances.facts(report)
    for name in _FACTS:
        setattr(columns, name, told[name] or getattr(columns, name))
    columns.interfaces = _interfaces(columns, told["interfaces"], is_new=columns.vm_uuid != draft.before.vm_uuid)
    if report.monitored is False:
        columns.monitored = False
    instances.remember_instance(draft)


def _interfaces(columns: Any, told: list[dict[str, Any]] | None, *, is_new: bool) -> list[dict[str, Any]]:
    known: list[dict[str, Any]] = columns.interfaces
    return told if told and (is_new or not known) else known


def _aliases(draft: Draft[Vm]) -> list[Alias]:
    return instances.aliases(draft)
