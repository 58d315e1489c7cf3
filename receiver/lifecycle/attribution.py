"""Steps of ESC's own workflows that do not name their VM: which one they are about (docs/esc-callbacks.md#10).

A recovery may go on, and end, with a group or nothing where its VM should stand. The transaction then tells which VM
is meant, if just one has that workflow open under it. A step may arrive before the message that names the VM, and a
second VM may turn up after it; so that any order ends the same, an operation remembers such steps, and what they did
to a VM is taken back before its next message is applied, and done again after it:

    operation.memory["unnamed"]   = {<fingerprint>: step}
    vm.memory["workflows"]        = {<key of the marks>: {<workflow>: whether a message that names it has ended it}}
    vm.memory["attributed"]       = {<key>: {"steps": [fingerprints], "undo": how the VM stood, or None}}

After the reorder window, or when another operation applies to the VM, it stays as it is ("undo" is None). Without a
transaction id nothing is remembered: a step is about the one VM that has the workflow open. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from receiver.lifecycle import stage_rules
from receiver.lifecycle.context import DecisionContext
from receiver.model.entities import Vm, VmState
from receiver.model.notification import NOTHING, Notification, Status, VmReport

STEPS_MAX: Final = 64
"""Steps without a VM that one operation remembers: those of the highest ranks."""
NAMED_MAX: Final = 5
"""VMs that a reason names."""
NOBODY: Final = VmReport()
_COLUMNS: Final = (
    "state", "vm_group", "vm_uuid", "host_uuid", "host_name", "interfaces", "reported_state", "monitored",
    "recovery_open", "needs_manual_recovery", "last_operation", "extra",
)  # fmt: skip
_REMEMBERED: Final = ("mover", "chain", "moved", "uuids", "workflows", "monitored_at")
_FORGOTTEN: Final = (*_REMEMBERED, "attributed")
"""What a step may change of a VM, and is restored when the step is taken back; besides the marks of its operation."""
_WITHOUT_A_NAME: Final = ("group", "uuid", "host_uuid", "host_name", "state", "raw_state")


class Step(NamedTuple):
    """A message that does not say which VM it is about."""

    fingerprint: str
    trigger: str
    failed: bool
    at: float
    vm: VmReport
    target: VmReport
    of: str = ""
    """The row of the deployment's incarnation that it is about; "": not known when it arrived."""

    @property
    def workflow(self) -> str:
        """The workflow it belongs to."""
        return stage_rules.WORKFLOWS[self.trigger].name

    @property
    def ends(self) -> bool:
        """Whether it ends the workflow."""
        return stage_rules.WORKFLOWS[self.trigger].ends

    @property
    def group(self) -> str | None:
        """The group that it names, on either side."""
        return self.vm.group or self.target.group

    @property
    def order(self) -> tuple[int, str]:
        """The order in which steps are applied, whichever arrived first."""
        return stage_rules.VM[self.trigger, self.failed].rank, self.fingerprint

    def naming(self, name: str, context: DecisionContext) -> DecisionContext:
        """What is decided when it names this VM."""
        n = replace(
            context.notification, trigger=self.trigger, raw_trigger=self.trigger, fingerprint=self.fingerprint,
            status=Status.FAILED if self.failed else Status.OK, received_at=datetime.fromtimestamp(self.at, UTC),
            vm=replace(self.vm, name=name), target=replace(self.target, name=name) if self.target != NOBODY else None,
        )  # fmt: skip
        return replace(context, notification=n, now=self.at)

    def as_json(self) -> dict[str, Any]:
        """As it is remembered."""
        return {
            "trigger": self.trigger, "failed": self.failed, "at": self.at,
            "vm": _report_as_json(self.vm), "target": _report_as_json(self.target), "of": self.of,
        }  # fmt: skip


class Attribution(NamedTuple):
    """Which VM a step is about, and in words how that is known; `name` is None where it is not known."""

    step: Step
    name: str | None
    because: str


def step_of(n: Notification) -> Step | None:
    """The step that this message is, if it is one."""
    failed = n.status is Status.FAILED
    workflow = stage_rules.WORKFLOWS.get(n.trigger or "")
    if workflow is None or (n.trigger or "", failed) not in stage_rules.VM:
        return None
    vm, target = n.vm or NOBODY, n.target or NOBODY
    shown = {"source": (vm.name,), "target": (target.name,), "either": (vm.name, target.name)}[workflow.shown_by]
    if any(shown) or not (workflow.ends or workflow.name == "recovery"):
        return None
    return Step(n.fingerprint, n.trigger or "", failed, n.received_at.timestamp(), vm, target)


def remember(memory: dict[str, Any], new: Step | None, now: float, window_s: float) -> list[Step]:
    """Remember this step of an operation, and return all that may still be about any VM."""
    stored = memory.get("unnamed")
    if not stored and new is None:
        return []
    steps = {fp: step for fp, said in (stored or {}).items() if now - (step := _load(fp, said)).at <= window_s}
    if new is not None:
        known = steps.get(new.fingerprint)
        steps[new.fingerprint] = new if known is None else known._replace(at=max(known.at, new.at))
    kept = sorted(steps.values(), key=lambda step: step.order)[-STEPS_MAX:]
    memory["unnamed"] = {step.fingerprint: step.as_json() for step in kept}
    return kept


def attribute(vms: Mapping[str, Vm], steps: Iterable[Step], key: str) -> list[Attribution]:
    """Which VM each step is about, by what the messages that name a VM have made of them."""
    used = {fp for vm in vms.values() for fp in _attributed(vm).get(key, {}).get("steps", ())}
    waiting = [step for step in steps if step.fingerprint not in used]
    return [
        found
        for workflow in sorted({step.workflow for step in waiting})
        for found in _of_workflow(vms, workflow, [step for step in waiting if step.workflow == workflow], key)
    ]


def _of_workflow(vms: Mapping[str, Vm], workflow: str, steps: list[Step], key: str) -> list[Attribution]:
    found = [Attribution(step, name, "the instance is its") for step in steps if (name := _by_instance(vms, step))]
    known = {one.step.fingerprint for one in found}
    named = {name for name, vm in vms.items() if workflow in _workflows(vm, key)}
    begun = {one.name for one in found if one.name and not one.step.ends}
    ended = {one.name for one in found if one.step.ends}
    open_ = sorted(({name for name in named if _is_open(vms[name], workflow, key)} | begun) - ended)
    is_begun = bool(named or found)
    rest = [
        (step, _candidates(vms, step, open_, is_begun=is_begun)) for step in steps if step.fingerprint not in known
    ]  # fmt: skip
    return found + (_paired(rest) or [_chosen(step, candidates, is_begun=is_begun) for step, candidates in rest])


def _candidates(vms: Mapping[str, Vm], step: Step, open_: list[str], *, is_begun: bool) -> list[str]:
    """The VMs that the step may be about."""
    if is_begun or step.workflow != "recovery" or not step.group:
        return [name for name in open_ if step.group in (None, vms[name].vm_group) or not vms[name].vm_group]
    return sorted(name for name, vm in vms.items() if vm.vm_group == step.group and _is_live(vm))


def _paired(rest: list[tuple[Step, list[str]]]) -> list[Attribution]:
    """As many ends, all alike, as VMs that wait for one: each has ended, whichever is whose."""
    ends = sorted((step for step, candidates in rest if step.ends and len(candidates) > 1), key=lambda step: step.order)
    waiting = {tuple(candidates) for step, candidates in rest if step in ends}
    if len(waiting) != 1 or len({(step.trigger, step.failed) for step in ends}) != 1:
        return []
    (names,) = waiting
    if len(names) != len(ends):
        return []
    because = "its transaction told of as many ends as it knows VMs"
    told = [
        Attribution(step._replace(vm=NOBODY, target=NOBODY), name, because)
        for step, name in zip(ends, names, strict=True)
    ]
    return told + [_chosen(step, candidates, is_begun=True) for step, candidates in rest if step not in ends]


def _chosen(step: Step, candidates: list[str], *, is_begun: bool) -> Attribution:
    what = stage_rules.WORKFLOWS[step.trigger].is_open
    if len(candidates) == 1:
        how = f"its transaction knows one VM {what}" if is_begun else "it is the only VM of its group"
        return Attribution(step, candidates[0], how)
    if not candidates:
        return Attribution(step, None, f"its transaction knows no VM {what}")
    names = ", ".join(candidates[:NAMED_MAX]) + (" and others" if len(candidates) > NAMED_MAX else "")
    return Attribution(step, None, f"it may be any of those {what}: {names}")


def settled(vm: Vm, key: str | None, steps: Iterable[Step]) -> Vm:
    """The VM, from which nothing is taken back any more but these steps of this operation: not what other operations
    found, nor what came of steps that are no longer remembered."""
    attributed = _attributed(vm)
    if not any(one["undo"] for one in attributed.values()):
        return vm
    remembered = {step.fingerprint for step in steps}
    kept = {
        other: one if other == key and remembered.issuperset(one["steps"]) else {**one, "undo": None}
        for other, one in attributed.items()
    }
    return vm._replace(memory={**vm.memory, "attributed": kept})


def taken_back(vm: Vm, key: str) -> Vm:
    """The VM as the messages that name it have made it."""
    undo = _attributed(vm).get(key, {}).get("undo")
    if undo is None:
        return vm
    memory = {name: value for name, value in vm.memory.items() if name not in _FORGOTTEN}
    memory |= undo["memory"]
    tracks = {other: marks for other, marks in vm.memory["tracks"].items() if other != key}
    memory["tracks"] = tracks | ({key: undo["track"]} if undo["track"] else {})
    if others := {other: one for other, one in _attributed(vm).items() if other != key}:
        memory["attributed"] = others
    ended_at = vm.ended_at if undo["columns"].get("state", vm.state) == VmState.UNDEPLOYED else None
    return vm._replace(**undo["columns"], ended_at=ended_at, memory=memory)


def given(before: Vm, after: Vm, steps: list[Step], key: str) -> Vm:
    """`after` these steps, remembering how it stood `before` them."""
    columns = {name: old for name in _COLUMNS if (old := getattr(before, name)) != getattr(after, name)}
    memory = {name: before.memory[name] for name in _REMEMBERED if name in before.memory}
    undo = {"columns": columns, "memory": memory, "track": before.memory.get("tracks", {}).get(key)}
    kept = {other: one for other, one in _attributed(after).items() if other in after.memory["tracks"]}
    mine = {"steps": [step.fingerprint for step in steps], "undo": undo}
    return after._replace(memory={**after.memory, "attributed": {**kept, key: mine}})


def note_workflow(memory: dict[str, Any], trigger: str, key: str) -> None:
    """Remember that a message of a workflow named the VM, and whether it has ended it."""
    workflow, stored = stage_rules.WORKFLOWS[trigger], memory.get("workflows", {})
    mine = stored.get(key, {})
    kept = {other: said for other, said in stored.items() if other in memory.get("tracks", {})}
    memory["workflows"] = {**kept, key: {**mine, workflow.name: workflow.ends or mine.get(workflow.name, False)}}


def _by_instance(vms: Mapping[str, Vm], step: Step) -> str | None:
    """The VM whose instance it names, if it names one that is known."""
    sides = {"source": [step.vm], "target": [step.target], "either": [step.vm, step.target]}
    uuids = {side.uuid for side in sides[stage_rules.WORKFLOWS[step.trigger].shown_by] if side.uuid}
    found = [name for name, vm in vms.items() if vm.vm_uuid in uuids]
    if not found and step.vm.uuid in uuids:
        found = [name for name, vm in vms.items() if step.vm.uuid in vm.memory.get("uuids", {})]
    return found[0] if len(found) == 1 else None


def _workflows(vm: Vm, key: str) -> Mapping[str, bool]:
    said: Mapping[str, bool] = vm.memory.get("workflows", {}).get(key, NOTHING)
    return said


def _is_open(vm: Vm, workflow: str, key: str) -> bool:
    if _workflows(vm, key)[workflow]:
        return False
    return workflow != "recovery" or vm.recovery_open or vm.needs_manual_recovery


def _is_live(vm: Vm) -> bool:
    return vm.state not in (VmState.UNSEEN, VmState.UNDEPLOYED)


def _attributed(vm: Vm) -> Mapping[str, Any]:
    said: Mapping[str, Any] = vm.memory.get("attributed", NOTHING)
    return said


def _report_as_json(report: VmReport) -> dict[str, Any]:
    said = {name: value for name in _WITHOUT_A_NAME if (value := getattr(report, name))}
    return said | ({"interfaces": [dict(nic) for nic in report.interfaces]} if report.interfaces else {})


def _load(fingerprint: str, said: Mapping[str, Any]) -> Step:
    vm, target = (
        VmReport(**{**said[side], "interfaces": tuple(said[side].get("interfaces", ()))}) for side in ("vm", "target")
    )
    return Step(fingerprint, said["trigger"], said["failed"], said["at"], vm, target, said["of"])
