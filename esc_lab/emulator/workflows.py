"""Whole operations on deployments and VMs: the simulator's scripts, at the pace that the data model sets.

When a VM answers follows from `bootup_time`, `reboot_time` and `recovery_wait_time`; each VM has its own times, so the
messages of one deployment interleave. This file must not know requests, nor how callbacks are sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from esc_lab.emulator.datamodel import Group
from esc_lab.emulator.esc import Esc
from esc_lab.emulator.placement import choose_host
from esc_lab.emulator.work_items import Work
from esc_lab.emulator.world import DeploymentRecord, Urls
from esc_lab.simulator.esc_messages import REPORTED_VM_STATES, Message
from esc_lab.simulator.fleet import redeployed
from esc_lab.simulator.lives import SCRIPTS
from esc_lab.simulator.resource_scripts import Resource
from esc_lab.simulator.script_model import PACE_OTHERS_S, PACE_S, Script
from esc_lab.simulator.script_runner import PlannedStep, Roles, apply_ends, plan_script
from esc_lab.simulator.vm_scripts import UNPUBLISHED_SCRIPTS

ALL_SCRIPTS: Mapping[str, Script] = {**SCRIPTS, **UNPUBLISHED_SCRIPTS}
ANSWERS_WITHIN = 0.2, 0.8
"""When a VM answers, as shares of the time it may take, from and to."""
_AFTER_REBOOT = frozenset({"VM_REBOOTED", "VM_REBOOT_COMPLETE", "VM_RECOVERY_REBOOT"})


@dataclass(frozen=True, slots=True)
class Scenario:
    """A script, the VMs in its roles, and the network (before its subnet) that is created or deleted with it."""

    script: str
    roles: Roles
    network: Sequence[Resource] = ()
    waits: bool = False
    """A VM never answers: the last message is sent only when its `bootup_time` is over."""


def play(
    esc: Esc,
    record: DeploymentRecord,
    scenario: Scenario,
    urls: Urls,
    *,
    afterwards: Callable[[], None] | None = None,
    interrupts: bool = False,
) -> Work:
    """The work that plays a scenario on a deployment; `afterwards` is called when it has ended."""
    script, deployment = _script(esc, scenario.script), record.deployment
    plan = plan_script(
        script,
        deployment,
        scenario.roles,
        scenario.network,
        style=esc.habits.header_style,
        rng=esc.rng,
        merge=partial(_in_time, {group.name: group for group in record.model.groups}),
        redeploy=lambda vm, rng: redeployed(vm.instance, deployment.vim, choose_host(esc, deployment.vim), rng),
    )
    operation = plan.operation
    if scenario.waits:
        *others, last = operation.messages
        waited_s = max(group.bootup_time for group in record.model.groups)
        operation = replace(operation, messages=(*others, replace(last, pause_s=waited_s)))

    def apply(message: Message) -> None:
        record.apply(message)
        esc.world.touch(record)

    def finish() -> None:
        apply_ends(script, deployment, scenario.roles, plan.finals)
        # The last message of a VM may have reported no state.
        ended = {vm.name: REPORTED_VM_STATES[vm.state] for vm in deployment.vms if vm.state in REPORTED_VM_STATES}
        record.vm_states |= ended
        if deployment.state == "ERROR":  # an esc_event reports no state of the service
            record.reported = "SERVICE_ERROR_STATE"
        esc.world.touch(record)
        if afterwards is not None:
            afterwards()

    return Work(record.work_key, operation, urls, apply, finish, interrupts)


def _script(esc: Esc, name: str) -> Script:
    script = ALL_SCRIPTS[name]
    if name == "update" and esc.habits.updated_stage == "VM_ALIVE":
        # As printed, only the text says that a VM was changed (docs/esc-callbacks.md#trap-1).
        return replace(script, lines={**script.lines, "changed": script.lines["changed_by_text"]})
    return script


def _in_time(groups: Mapping[str, Group], lines: Sequence[Sequence[PlannedStep]], rng: Random) -> list[PlannedStep]:
    """The lines merged in the order of time: each VM has its own."""
    due: list[tuple[float, int, PlannedStep]] = []
    for number, line in enumerate(lines):
        at_s, before = 0.0, ""
        for planned in line:
            at_s += _pause_s(planned, before, groups, rng)
            before = planned.step.event
            due.append((at_s, number, planned))
    due.sort(key=lambda one: one[:2])
    pauses = [at_s - (due[position - 1][0] if position else 0.0) for position, (at_s, _, _) in enumerate(due)]
    return [replace(planned, pause_s=pause_s) for pause_s, (_, _, planned) in zip(pauses, due, strict=True)]


def _pause_s(planned: PlannedStep, before: str, groups: Mapping[str, Group], rng: Random) -> float:
    group = groups.get(planned.source.vm.group) if planned.source else None
    share, event = rng.uniform(*ANSWERS_WITHIN), planned.step.event
    if group is not None:
        if event == "VM_RECOVERY_INIT":
            return group.recovery_wait_time
        if event in {"VM_ALIVE", "VM_RECOVERY_COMPLETE"} and before:
            may_take_s = group.reboot_time if before in _AFTER_REBOOT else group.bootup_time
            return may_take_s * (share if planned.step.ok else 1.0)
        if event == "VM_RECOVERY_REBOOT":
            return group.reboot_time * (share if planned.step.ok else 1.0)
    return rng.uniform(*PACE_S.get(event, PACE_OTHERS_S))
