"""What a message does to one VM. Applies `stage_rules.VM`; must not know deployments' or operations' tables."""

from __future__ import annotations

from receiver.lifecycle import attribution, delayed, inference, instances, stage_rules
from receiver.lifecycle.application import ALREADY_PASSED, NEWER_OPERATION, RuleApplication
from receiver.lifecycle.context import DecisionContext, RuleResult
from receiver.lifecycle.draft import Draft
from receiver.lifecycle.ordering_marks import OrderingMarks
from receiver.lifecycle.stage_rules import VmRow
from receiver.model.entities import Deployment, Vm, VmState
from receiver.model.entity_ids import entity_id
from receiver.model.notification import VmReport

DEPLOYMENT_GONE = RuleResult("deployment-gone", "its deployment is gone, and so is it", changed=True)
VM_GONE = RuleResult("vm-gone", "the VM is gone; this tells of an earlier time", late=True)


def unseen(deployment: Draft[Deployment], name: str) -> Vm:
    """The VM before its first message."""
    n, of = deployment.context.notification, deployment.before
    return Vm(
        id=entity_id("vm", of.id.hex, name), source=n.source, deployment_id=of.id,
        deployment=of.internal_deployment_id, tenant=deployment.columns.tenant, vm_name=name,
        state=VmState.UNSEEN, first_seen_at=n.received_at, changed_at=n.received_at,
    )  # fmt: skip


def remove(vm: Draft[Vm]) -> None:
    """The VM is gone with its deployment."""
    vm.move(VmState.UNDEPLOYED, "remove")
    vm.columns.recovery_open = vm.columns.needs_manual_recovery = False
    instances.end_instance(vm)


class VmApplication(RuleApplication[Vm]):
    """A message applied to the VM it is about, by its row of `stage_rules.VM`."""

    def __init__(
        self, context: DecisionContext, before: Vm, row: VmRow, report: VmReport, *, deployment_gone: bool
    ) -> None:
        super().__init__(context, before, row.chain)
        self.row = row
        self.report = report
        self.deployment_gone = deployment_gone
        self.is_former = instances.is_former(before, report.uuid, context.transaction_id)
        self.counted = ""
        """What the operation counts by this message: codes of `operation.COUNTS`."""
        closed = self.marks.closed
        if row.recovery == "opens" and closed and context.now - closed > context.windows.reorder_window_s:
            self.marks.begin_round(context.now)

    def new_marks(self) -> OrderingMarks:
        """Fresh on a VM without a state, reborn on one that another operation has removed."""
        now, state = self.context.now, self.before.state
        reborn = self._is_gone and self.moved_by != self.key
        return OrderingMarks(now, now, fresh=state == VmState.UNSEEN, reborn=reborn)

    @property
    def _is_gone(self) -> bool:
        return self.before.state == VmState.UNDEPLOYED and not inference.is_presumed_gone(self.before)

    def decide(self) -> RuleResult:
        """As the row says, unless the message is late."""
        result = self._late()
        if result is None:
            inference.take_back(self.context, self, self.row.chain)
            result = self._advance()
        elif result is VM_GONE and self.moved_by == self.key and not self.marks.reborn:
            self._learn()
        else:
            self._fill_in()
        if self.deployment_gone and self.state != VmState.UNDEPLOYED:
            remove(self)
            result = DEPLOYMENT_GONE
        self.counted = self._progress()
        trigger = self.context.notification.trigger or ""
        if trigger in stage_rules.WORKFLOWS and not self.context.again:
            attribution.note_workflow(self.memory, trigger, self.key)
        return result

    def _late(self) -> RuleResult | None:
        row, is_older = self.row, self.is_older
        if self.is_former and row.recovery is None:
            return RuleResult("former-instance", "this tells of an instance that is gone since", late=True)
        concerns_the_new = self.report.uuid and not (self.is_former or is_older)
        if not concerns_the_new if self.marks.reborn else self._is_gone:
            return VM_GONE
        if is_older and not row.exempt:
            return RuleResult(NEWER_OPERATION, "an operation that began later has moved the VM since", late=True)
        return delayed.MOVED_SINCE if self.moved_since else None

    def _advance(self) -> RuleResult:
        row, marks = self.row, self.marks
        self._learn()
        to = self._leads_to()
        if to is not None and marks.raises(row.rank, to):
            self._move(to)
        elif to is not None and row.rank < marks.rank and not row.note:
            return RuleResult(ALREADY_PASSED, "the same operation has already passed this stage", late=True)
        return RuleResult(row.rule, row.reason, changed=True)

    def _leads_to(self) -> str | None:
        row, reported = self.row, self.report.state
        if row.to is not None:
            return reported if reported in row.refine else row.to
        if row.shows and self.marks.fresh:
            return row.shows_else if reported in stage_rules.NEVER_FROM_A_REPORT else reported
        return None

    def _move(self, to: str) -> None:
        row = self.row
        if row.to is None:
            self.show(to, row.chain)
        else:
            self.move(to, row.chain)
        if row.recovery is None:
            is_open = self.before.recovery_open and row.rank <= stage_rules.RECOVERY_RANK_MAX
        else:
            is_open = row.recovery in ("opens", "step")
        self.columns.recovery_open, self.columns.needs_manual_recovery = is_open, row.recovery == "manual"
        if row.recovery == "closes":
            self.marks.closed = self.context.now
        if to == VmState.UNDEPLOYED:
            instances.end_instance(self)

    def _learn(self) -> None:
        row = self.row
        if self.only_fills_in:
            if not (self.context.again or self.is_former):
                self._fill_in()
                self._learn_monitored_late()
            return
        facts = {} if self.is_former else instances.facts(self.report)
        monitored = self.report.monitored if row.monitored is None else row.monitored
        if monitored is not None:
            facts["monitored"] = monitored
            self.memory["monitored_at"] = self.context.now
        self.learn(facts, 0 if row.recovery and self.report is self.context.notification.vm else row.rank)
        if row.recovery:
            for column, value in instances.living(self.context, row.rank, self.marks).items():
                setattr(self.columns, column, value)
            if self._leads_to() is not None:
                self.learn_last_operation(row.rank)  # a step that fails is no failure of the recovery
        elif row.about != "every":
            self.learn_last_operation(row.rank + (stage_rules.FAILURE_SHOWS if self.context.failed else 0))
        instances.remember_instance(self)

    def _learn_monitored_late(self) -> None:
        """Others reported facts since, but perhaps none of them said whether it is monitored."""
        columns, told_at = self.columns, self.memory.get("monitored_at", self.context.now)
        if self.row.monitored is not None and (columns.monitored is None or told_at < self.context.now):
            columns.monitored = self.row.monitored

    def _fill_in(self) -> None:
        facts = instances.facts(self.report)
        del facts["vm_uuid"]
        self.fill_in(facts)

    def _progress(self) -> str:
        trigger, row = self.context.notification.trigger or "", self.row
        if row.about == "every":
            return ""
        codes = "s" + stage_rules.progress(trigger, row, failed=self.context.failed)
        return "".join(filter(self.marks.counts, codes))
