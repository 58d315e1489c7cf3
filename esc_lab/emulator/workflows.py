"""Whole operations on deployments and VMs: the simulator's scripts, at the pace that the data model sets.

When a VM answers follows from `bootup_time`, `reboot_time` and `recovery_wait_time`; each VM has its own times, so the
messages of one deployment interleave. This file must not know requests, nor how callbacks are sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any

from esc_lab.emulator.datamodel import Group
from esc_lab.emulator.esc import Esc
from esc_lab.emulator.placement import choose_host
from esc_lab.emulator.work_items import Work
from esc_lab.emulator.world import DeploymentRecord, Urls
from esc_lab.simulator.esc_messages import REPORTED_VM_STATES, Message, headers_of, render
from esc_lab.simulator.fleet import redeployed, uuid_of
from esc_lab.simulator.lives import SCRIPTS
from esc_lab.simulator.resource_scripts import Resource
from esc_lab.simulator.script_model import PACE_OTHERS_S, PACE_S, RESOURCE_PACE_S, Script
from esc_lab.simulator.script_runner import Operation, PlannedStep, Roles, apply_ends, plan_script
from esc_lab.simulator.vm_scripts import UNPUBLISHED_SCRIPTS

ALL_SCRIPTS: Mapping[str, Script] = {**SCRIPTS, **UNPUBLISHED_SCRIPTS}
ANSWERS_WITHIN = 0.2, 0.8
"""When a VM answers, as shares of the time it may take, from and to."""
_AFTER_REBOOT = frozenset({"VM_REBOOTED", "VM_REBOOT_COMPLETE", "VM_RECOVERY_REBOOT"})


@dataclass(frozen=True, slots=True)
class Scenario:
    """A script, the VMs in its roles, and the networks (each before its subnets) that come and go with it."""

    script: str
    roles: Roles
    created: Sequence[Resource] = ()
    """With all their values; until then the world knows those that the client gave."""
    deleted: Sequence[Resource] = ()
    groups: Sequence[Group] = ()
    """Of the data model that it brings about; those of the present one are known."""
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
        scenario.created,
        scenario.deleted,
        style=esc.habits.header_style,
        rng=esc.rng,
        merge=partial(_in_time, {group.name: group for group in (*scenario.groups, *record.model.groups)}),
        redeploy=lambda vm, rng: redeployed(vm.instance, deployment.vim, choose_host(esc, deployment.vim), rng),
    )
    operation = plan.operation
    if scenario.waits:
        *others, last = operation.messages
        waited_s = max(group.bootup_time for group in record.model.groups)
        operation = replace(operation, messages=(*others, replace(last, pause_s=waited_s)))

    networks = {(one.kind, one.id): one for one in (*scenario.created, *scenario.deleted)}

    def apply(message: Message) -> None:
        record.apply(message)
        if (resource := networks.get(message.resource)) is not None:
            apply_to_network(esc, record, resource, created=resource in scenario.created)
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


def one_event(
    esc: Esc,
    key: str,
    *,
    kind: str,
    root: str,
    fields: Mapping[str, Any],
    texts: tuple[str, str],
    urls: Urls,
    afterwards: Callable[[], None],
) -> Work:
    """Work that no script describes and one event ends; `texts`: of success and of failure."""
    esc.claim(key)
    ok, event = not esc.fault("work-fails"), str(fields["event_type"])
    transaction = uuid_of(esc.rng)
    headers = headers_of(esc.habits.header_style, transaction, texts[not ok], ok=ok)
    pause_s = esc.rng.uniform(*RESOURCE_PACE_S)
    message = Message("events", root, event, ok, headers, render(root, fields), pause_s=pause_s)
    operation = Operation(kind, "", esc.source, transaction, (message,))
    return Work(key, operation, urls, finish=afterwards if ok else lambda: None)


def apply_to_network(esc: Esc, record: DeploymentRecord, resource: Resource, *, created: bool) -> None:
    """A network or subnet of a deployment is there, or gone."""
    if created:
        resource.state = "CREATED"
        esc.world.put(resource)
    else:
        esc.world.drop(resource)
        record.networks.remove((resource.kind, resource.id))


def _script(esc: Esc, name: str) -> Script:
    script = ALL_SCRIPTS[name]
    if name == "update" and esc.habits.updated_stage == "VM_ALIVE":
        # As printed, only the text says that a VM was changed (docs/esc-callbacks.md#trap-1).
        by_text = {role: script.lines[f"{role}_by_text"] for role in ("changed", "changed_watched")}
        ends = {"changed_watched": script.ends["changed_watched_by_text"]}
        return replace(script, lines={**script.lines, **by_text}, ends={**script.ends, **ends})
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
