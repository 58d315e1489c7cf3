"""The tables, walked completely: every trigger from every state against docs/esc-callbacks.md#6.

The rows of that section stand here as data of their own. Where it says nothing about a pair, that is said too. In each
case the message belongs to a newer operation than the one that brought the entity into its state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import pytest

from receiver.lifecycle import stage_rules
from receiver.model.entities import DeploymentState as D
from receiver.model.entities import Resource, Vm
from receiver.model.entities import ResourceState as R
from receiver.model.entities import VmState as V
from receiver.model.notification import Notification, ResourceReport
from receiver.parsing.vocabulary import RESOURCE_EVENTS
from tests.support.lifecycle import World, notification

OK, FAILED = False, True
SAME = None
Case = tuple[str, bool]
Expected = Mapping[tuple[str, Case], str | None]
"""By state and message: the state after it; None: the same."""

LIVE = [state for state in V if state is not V.UNDEPLOYED]
"""The "any live" of docs/esc-callbacks.md#6: every state but UNDEPLOYED, UNSEEN included."""
VM_STAGES = (
    "VM_DEPLOYED", "VM_ALIVE", "VM_UPDATED", "VM_STARTED", "VM_REBOOTED", "VM_STOPPED", "VM_MONITOR_SET",
    "VM_MONITOR_UNSET", "VM_SET_MONITOR_STATUS", "VM_SOFTWARE_VERSION_UPDATED", "VM_UNDEPLOYED",
)  # fmt: skip
VM_COMPLETIONS = ("VM_STOP_COMPLETE", "VM_START_COMPLETE", "VM_REBOOT_COMPLETE")
VM_OPERATIONS = {*VM_STAGES, *VM_COMPLETIONS} - {"VM_DEPLOYED", "VM_UNDEPLOYED"}


def each(
    states: Iterable[str], triggers: Iterable[str], failed: bool, to: str | None
) -> dict[tuple[str, Case], str | None]:
    """One row of docs/esc-callbacks.md#6, spelled out."""
    return {(state, (trigger, failed)): to for state in states for trigger in triggers}


VM_REFERENCE: Expected = {
    **each((V.UNSEEN, V.DEPLOYING, V.ERROR), ["VM_DEPLOYED"], OK, V.INERT),
    **each((V.UNSEEN, V.DEPLOYING), ["VM_DEPLOYED"], FAILED, V.ERROR),
    **each(LIVE, ["VM_ALIVE"], OK, V.ALIVE),  # STOPPED too: another operation than the stop, so its start was missed
    **each(LIVE, ["VM_UPDATED"], OK, SAME),
    **each(LIVE, ["VM_STOPPED", "VM_STOP_COMPLETE"], OK, V.STOPPED),
    **each(LIVE, ["VM_STARTED", "VM_START_COMPLETE", "VM_REBOOTED", "VM_REBOOT_COMPLETE"], OK, V.INERT),
    **each(LIVE, VM_OPERATIONS, FAILED, SAME),
    **each(LIVE, ["VM_MONITOR_SET", "VM_MONITOR_UNSET", "VM_SET_MONITOR_STATUS"], OK, SAME),
    **each(LIVE, ["VM_RECOVERY_INIT"], OK, V.RECOVERING),
    **each(LIVE, ["VM_RECOVERY_REBOOT", "VM_RECOVERY_UNDEPLOYED"], OK, V.RECOVERING),
    **each(LIVE, ["VM_RECOVERY_REBOOT"], FAILED, V.RECOVERING),
    **each(LIVE, ["VM_RECOVERY_DEPLOYED"], OK, V.RECOVERING),
    **each(LIVE, ["VM_RECOVERY_COMPLETE"], OK, V.ALIVE),
    **each(LIVE, ["VM_RECOVERY_COMPLETE"], FAILED, V.ERROR),
    **each(LIVE, ["VM_RECOVERY_CANCELLED"], OK, V.ALIVE),  # any live: docs/lifecycle.md#rulings
    **each(LIVE, ["VM_MANUAL_RECOVERY_NEEDED"], OK, V.ERROR),
    **each(LIVE, ["VM_SCALE_OUT_DEPLOYED"], OK, V.INERT),
    **each(LIVE, ["VM_SCALE_OUT_COMPLETE"], OK, V.ALIVE),
    **each(LIVE, ["VM_SCALE_OUT_COMPLETE"], FAILED, V.ERROR),
    **each(LIVE, ["VM_SCALE_IN_COMPLETE", "VM_UNDEPLOYED"], OK, V.UNDEPLOYED),
    **each(LIVE, ["VM_UNDEPLOYED"], FAILED, V.ERROR),
    **each((V.UNDEPLOYED,), {trigger for trigger, _ in stage_rules.VM}, OK, SAME),
    **each((V.UNDEPLOYED,), {trigger for trigger, _ in stage_rules.VM}, FAILED, SAME),
}  # fmt: skip
VM_RULINGS: Expected = {
    # An update message on an unseen VM takes the reported state, else ALIVE (docs/lifecycle.md#rulings).
    **each((V.UNSEEN,), ["VM_UPDATED", "VM_SOFTWARE_VERSION_UPDATED"], OK, V.ALIVE),
}
VM_OPEN: Expected = {
    # docs/esc-callbacks.md#6 has no row: the trigger decides. A VM that is created once more has not been seen alive
    # yet.
    **each(set(LIVE) - {V.UNSEEN, V.DEPLOYING, V.ERROR}, ["VM_DEPLOYED"], OK, V.INERT),
    **each(set(LIVE) - {V.UNSEEN, V.DEPLOYING}, ["VM_DEPLOYED"], FAILED, V.ERROR),
    **each(set(LIVE) - {V.UNSEEN}, ["VM_SOFTWARE_VERSION_UPDATED"], OK, SAME),
    **each(LIVE, ["VM_SCALE_IN_INIT"], OK, SAME),
    **each(LIVE, ["VM_SCALE_IN_INIT", "VM_SCALE_IN_COMPLETE"], FAILED, SAME),
    **each(LIVE, ["VM_SCALE_OUT_DEPLOYED"], FAILED, V.ERROR),
    # What begins, steps or ends does so whatever its status says, unless COMPLETE: that one is the verdict.
    **each(LIVE, ["VM_RECOVERY_INIT", "VM_RECOVERY_UNDEPLOYED", "VM_RECOVERY_DEPLOYED"], FAILED, V.RECOVERING),
    **each(LIVE, ["VM_RECOVERY_CANCELLED"], FAILED, V.ALIVE),
    **each(LIVE, ["VM_MANUAL_RECOVERY_NEEDED"], FAILED, V.ERROR),
}
VM_CASCADE: Expected = {
    **each(set(LIVE) - {V.UNSEEN}, ["SERVICE_UNDEPLOYED"], OK, V.UNDEPLOYED),
    **each(set(LIVE) - {V.UNSEEN}, ["SERVICE_UNDEPLOYED"], FAILED, V.UNDEPLOYED),
}
VM_EXPECTED: Expected = {**VM_REFERENCE, **VM_RULINGS, **VM_OPEN, **VM_CASCADE}


def spelled(case: Case) -> str:
    """For the name of a test."""
    return f"{case[0]}-{'failed' if case[1] else 'ok'}"


def a_vm_in(state: str) -> World:
    """A world with an ACTIVE deployment whose VM `a` is in this state, by messages of operations t0."""
    world = World()
    world.hear(notification("SERVICE_ALIVE", txn="t0"))
    match state:
        case V.UNSEEN:
            pass
        case V.INERT:
            world.hear(notification("VM_DEPLOYED", vm="a", uuid="u1", txn="t0", at_s=1))
        case V.ALIVE:
            world.hear(notification("VM_ALIVE", vm="a", uuid="u1", txn="t0", at_s=1))
        case V.STOPPED:
            world.hear(notification("VM_STOP_COMPLETE", vm="a", uuid="u1", txn="t0", at_s=1))
        case V.RECOVERING:
            world.hear(notification("VM_RECOVERY_INIT", vm="a", uuid="u1", txn="t0", at_s=1))
        case V.ERROR:
            world.hear(notification("VM_UNDEPLOYED", vm="a", uuid="u1", failed=True, txn="t0", at_s=1))
        case V.UNDEPLOYED:
            world.hear(notification("VM_UNDEPLOYED", vm="a", uuid="u1", txn="t0", at_s=1))
        case _:  # entered only from a report
            world.hear(notification("VM_MONITOR_SET", vm="a", uuid="u1", state=state, txn="t0", at_s=1))
    assert state == V.UNSEEN or world.vm("a").state == state
    return world


def vm_state(world: World) -> str:
    """The state of VM `a`, known or not."""
    return next((vm.state for vm in world.all(Vm) if vm.vm_name == "a"), V.UNSEEN)


def message(case: Case, **facts: Any) -> Notification:
    """The message of a newer operation, about VM `a` in its known instance if it is about a VM."""
    trigger, failed = case
    about_target = case in stage_rules.VM and stage_rules.VM[case].about == "target"
    names = {"target_name": "a", "target": "u1"} if about_target else {"vm": "a", "uuid": "u1"}
    said = {"failed": failed, "txn": "t1", "at_s": 10, **({} if trigger.startswith("SERVICE") else names), **facts}
    return notification(trigger, **said)


def test_every_row_of_the_vm_table_is_expected_from_every_state() -> None:
    """The expectations below are whole: no row, and no state, is left out."""
    assert set(VM_EXPECTED) == {(state, case) for case in stage_rules.VM for state in V} | set(VM_CASCADE)


@pytest.mark.parametrize("case", sorted({case for _, case in VM_EXPECTED}), ids=spelled)
def test_a_vm_goes_where_the_reference_says(case: Case) -> None:
    """From every state, as a newer operation, about the instance that is known."""
    went, expected = {}, {}
    for state in (state for state, known in VM_EXPECTED if known == case):
        world = a_vm_in(state)
        decision = world.hear(message(case))
        went[state] = vm_state(world)
        expected[state] = VM_EXPECTED[state, case] or state
        assert state != V.UNDEPLOYED or "vm" not in {t.entity for t, _ in decision.transitions}
    assert went == expected


@pytest.mark.parametrize("trigger", ["VM_STARTED", "VM_START_COMPLETE", "VM_REBOOTED", "VM_REBOOT_COMPLETE"])
def test_a_start_may_report_that_the_vm_is_alive(trigger: str) -> None:
    """INERT, or ALIVE when the reported state says so; no other report counts."""
    for reported in V:
        world = a_vm_in(V.STOPPED)
        world.hear(message((trigger, OK), state=reported))
        assert vm_state(world) == (V.ALIVE if reported == V.ALIVE else V.INERT)


# Deployments.

NEVER_ACTIVE = (D.UNSEEN, D.DEPLOYING, D.INERT)
LIVE_SERVICES = [state for state in D if state is not D.UNDEPLOYED]
OTHER_VM_EVENTS = sorted(
    {(t, f) for t, f in stage_rules.VM if t.startswith(("VM_RECOVERY", "VM_SCALE", "VM_MANUAL"))}
    - {("VM_RECOVERY_COMPLETE", FAILED)}
)
DEPLOYMENT_REFERENCE: Expected = {
    **each(LIVE_SERVICES, ["SERVICE_ALIVE"], OK, D.ACTIVE),
    **each(NEVER_ACTIVE, ["SERVICE_ALIVE"], FAILED, D.ERROR),
    **each(set(LIVE_SERVICES) - set(NEVER_ACTIVE), ["SERVICE_ALIVE"], FAILED, SAME),
    **each(LIVE_SERVICES, ["SERVICE_UPDATED", "SERVICE_STARTED", "SERVICE_REBOOTED"], OK, D.ACTIVE),
    **each(LIVE_SERVICES, ["SERVICE_UPDATED", "SERVICE_STOPPED"], FAILED, SAME),
    **each(LIVE_SERVICES, ["SERVICE_STARTED", "SERVICE_REBOOTED"], FAILED, SAME),  # by analogy, no source tells
    **each(LIVE_SERVICES, ["SERVICE_MONITOR_SET", "SERVICE_MONITOR_UNSET"], OK, SAME),
    **each(LIVE_SERVICES, ["SERVICE_MONITOR_SET", "SERVICE_MONITOR_UNSET"], FAILED, SAME),
    **each(LIVE_SERVICES, ["SERVICE_STOPPED"], OK, D.STOPPED),
    **each(LIVE_SERVICES, ["VM_RECOVERY_COMPLETE"], FAILED, D.ERROR),
    **{(state, case): SAME for state in LIVE_SERVICES for case in OTHER_VM_EVENTS},
    **each(LIVE_SERVICES, ["SERVICE_UNDEPLOYED"], OK, D.UNDEPLOYED),
    **each(LIVE_SERVICES, ["SERVICE_UNDEPLOYED"], FAILED, D.UNDEPLOYED),
    **each((D.UNSEEN, D.DEPLOYING), ["VM_DEPLOYED", "VM_ALIVE"], OK, D.DEPLOYING),
    **each((D.UNSEEN, D.DEPLOYING), ["VM_DEPLOYED", "VM_ALIVE"], FAILED, D.DEPLOYING),
    **each(set(LIVE_SERVICES) - {D.UNSEEN, D.DEPLOYING}, ["VM_DEPLOYED", "VM_ALIVE"], OK, SAME),
    **each(set(LIVE_SERVICES) - {D.UNSEEN, D.DEPLOYING}, ["VM_DEPLOYED", "VM_ALIVE"], FAILED, SAME),
    **each(LIVE_SERVICES, {*VM_STAGES, *VM_COMPLETIONS} - {"VM_DEPLOYED", "VM_ALIVE"}, OK, SAME),
    **each(LIVE_SERVICES, {*VM_STAGES, *VM_COMPLETIONS} - {"VM_DEPLOYED", "VM_ALIVE"}, FAILED, SAME),
    **each((D.UNDEPLOYED,), {t for t, _ in [*stage_rules.VM, *stage_rules.DEPLOYMENT]}, OK, SAME),
    **each((D.UNDEPLOYED,), {t for t, _ in [*stage_rules.VM, *stage_rules.DEPLOYMENT]}, FAILED, SAME),
}  # fmt: skip


def a_deployment_in(state: str) -> World:
    """A world whose deployment is in this state, by messages of operation t0."""
    world = World()
    match state:
        case D.UNSEEN:
            return world
        case D.DEPLOYING:
            world.hear(notification("VM_DEPLOYED", vm="a", uuid="u1", service=D.DEPLOYING, txn="t0"))
        case D.INERT:
            world.hear(notification("VM_ALIVE", vm="a", uuid="u1", service=D.INERT, txn="t0"))
        case D.ACTIVE:
            world.hear(notification("SERVICE_ALIVE", txn="t0"))
        case D.STOPPED:
            world.hear(notification("SERVICE_STOPPED", txn="t0"))
        case D.ERROR:
            world.hear(notification("SERVICE_ALIVE", failed=True, txn="t0"))
        case D.UNDEPLOYED:
            world.hear(notification("SERVICE_UNDEPLOYED", txn="t0"))
        case _:  # entered only from a report
            world.hear(notification("SERVICE_ALIVE", txn="t0"))
            world.hear(notification("VM_STOPPED", vm="a", uuid="u1", service=state, txn="t0b", at_s=1))
    assert world.deployment().state == state
    return world


def test_every_message_is_expected_for_a_deployment_in_every_state() -> None:
    """The expectations are whole: what moves VMs or deployments, from every state."""
    cases = {*stage_rules.VM, *stage_rules.DEPLOYMENT}
    assert set(DEPLOYMENT_REFERENCE) == {(state, case) for case in cases for state in D}


@pytest.mark.parametrize("case", sorted({case for _, case in DEPLOYMENT_REFERENCE}), ids=spelled)
def test_a_deployment_goes_where_the_reference_says(case: Case) -> None:
    """From every state, as a newer operation, when the message reports no service state."""
    went, expected = {}, {}
    for state in D:
        world = a_deployment_in(state)
        world.hear(message(case))
        went[state] = world.deployment().state
        expected[state] = DEPLOYMENT_REFERENCE[state, case] or state
    assert went == expected
    assert world.deployment().incarnation == 1


@pytest.mark.parametrize("trigger", sorted(VM_STAGES))
def test_a_vms_stage_brings_the_service_state_it_reports(trigger: str) -> None:
    """Any state but those that a VM's stage reports ahead of time (docs/esc-callbacks.md#trap-3): they wait for the
    service's own stage."""
    for reported in D:
        world = a_deployment_in(D.ACTIVE)
        world.hear(message((trigger, OK), service=reported))
        ahead = reported in {D.UNSEEN, D.STOPPED, D.UNDEPLOYED}
        assert world.deployment().state == (D.ACTIVE if ahead else reported)
        assert world.deployment().reported_state == reported


@pytest.mark.parametrize(
    "trigger", ["SERVICE_ALIVE", "SERVICE_UPDATED", "SERVICE_STOPPED", "SERVICE_STARTED", "SERVICE_REBOOTED"]
)
def test_a_failed_stage_of_a_service_that_was_up_takes_the_reported_state(trigger: str) -> None:
    """The reported state, else the same; nothing but SERVICE_UNDEPLOYED removes a deployment."""
    for reported in set(D) - {D.UNSEEN, D.UNDEPLOYED}:
        world = a_deployment_in(D.STOPPED)
        world.hear(message((trigger, FAILED), service=reported))
        assert world.deployment().state == reported
    world = a_deployment_in(D.STOPPED)
    world.hear(message((trigger, FAILED), service=D.UNDEPLOYED))
    assert world.deployment().state == D.STOPPED


# Resources: one callback each (docs/esc-callbacks.md#5), states by docs/storage.md#states.

RESOURCE_EXPECTED = {"CREATE": R.CREATED, "UPDATE": R.UPDATED, "ATTACH": R.UPDATED, "DELETE": R.DELETED}


@pytest.mark.parametrize("kind", sorted(RESOURCE_EVENTS))
def test_a_resource_goes_where_its_event_says(kind: str) -> None:
    """From every state and for every event of its kind; a failure is an ERROR, and only DELETED ends it."""
    for before, event, failed in product(
        ["", "CREATE", "UPDATE", "DELETE"], sorted(RESOURCE_EVENTS[kind]), (OK, FAILED)
    ):
        world, report = World(), ResourceReport(kind, "r1")
        if before:
            world.hear(notification(f"{before}_{kind.upper()}", resource=report, txn="t0"))
        world.hear(notification(event, resource=report, failed=failed, txn="t1", at_s=10))
        resource = next(iter(world.all(Resource)))
        assert resource.state == (R.ERROR if failed else RESOURCE_EXPECTED[event.partition("_")[0]])
        assert (resource.ended_at is not None) == (resource.state == R.DELETED)
