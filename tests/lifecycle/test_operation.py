"""Operations: what kind they are, what ends them and how, and how far they got (docs/lifecycle.md#rulings)."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from receiver.lifecycle import operation_tables
from receiver.model.entities import EntityKind, Operation
from receiver.model.entities import OperationState as O
from receiver.model.notification import Family, Notification, ResourceReport
from tests.support.lifecycle import World, notification

Said = tuple[str, dict[str, Any]]


def said(*messages: Said | str, txn: str = "t1", start_s: float = 0.0) -> list[Notification]:
    """One operation's messages, a second apart."""
    pairs = [(m, {}) if isinstance(m, str) else m for m in messages]
    return [notification(trigger, txn=txn, at_s=start_s + n, **facts) for n, (trigger, facts) in enumerate(pairs)]


def operation(*messages: Said | str, before: list[Notification] | None = None) -> Operation:
    """The operation after these messages, which perhaps others came before."""
    world = World()
    for n in [*(before or []), *said(*messages, start_s=100)]:
        world.hear(n)
    return world.operation()


def up() -> list[Notification]:
    """A deployment that was deployed by an operation of its own."""
    return said(("VM_DEPLOYED", {"vm": "a"}), ("VM_ALIVE", {"vm": "a"}), "SERVICE_ALIVE", txn="t0")


A: dict[str, Any] = {"vm": "a"}
NETWORK: dict[str, Any] = {"resource": ResourceReport("network", "n1", internal_deployment_id="d1")}
TENANT: dict[str, Any] = {"resource": ResourceReport("tenant", "acme")}


# Kinds.


@pytest.mark.parametrize(
    ("kind", "messages", "was_up"),
    [
        ("deploy", [("VM_DEPLOYED", A), ("VM_ALIVE", A), "SERVICE_ALIVE"], False),
        ("deploy", [("CREATE_NETWORK", NETWORK), ("VM_DEPLOYED", A)], False),
        ("update", [("VM_DEPLOYED", {"vm": "b"}), ("VM_ALIVE", {"vm": "b"}), "SERVICE_UPDATED"], True),
        ("update", [("VM_DEPLOYED", {"vm": "b"})], True),
        ("update", [("VM_UPDATED", A)], True),
        ("update", [("VM_UNDEPLOYED", A), "SERVICE_UPDATED"], True),
        ("stop", [("VM_STOPPED", A), "SERVICE_STOPPED"], True),
        ("start", [("VM_STARTED", A), ("VM_ALIVE", A), "SERVICE_ALIVE"], True),
        ("reboot", [("VM_REBOOTED", A), ("VM_ALIVE", A), "SERVICE_ALIVE"], True),
        ("undeploy", [("VM_UNDEPLOYED", A), ("DELETE_NETWORK", NETWORK), "SERVICE_UNDEPLOYED"], True),
        ("enable_monitoring", [("VM_ALIVE", A), "SERVICE_ALIVE"], True),
        ("disable_monitoring", [("VM_MONITOR_UNSET", A)], True),
        ("stop_vm", [("VM_STOP_COMPLETE", A)], True),
        ("start_vm", [("VM_START_COMPLETE", A)], True),
        ("reboot_vm", [("VM_REBOOT_COMPLETE", A)], True),
        ("recovery", [("VM_RECOVERY_INIT", A), ("VM_RECOVERY_COMPLETE", A)], True),
        ("scale_out", [("VM_SCALE_OUT_INIT", A)], True),
        ("scale_in", [("VM_SCALE_IN_INIT", A), ("VM_SCALE_IN_COMPLETE", A)], True),
        ("create_tenant", [("CREATE_TENANT", TENANT)], False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_kind_is_told_by_what_is_heard(kind: str, messages: list[Said | str], was_up: bool) -> None:
    """Whatever the order; what a deployment was before tells a deploy from an update."""
    before = up() if was_up else []
    assert {operation(*order, before=before).kind for order in permutations(messages)} == {kind}


# What ends an operation, and how.


@pytest.mark.parametrize(
    "stage", sorted({trigger for trigger, _ in operation_tables.CLOSERS if trigger.startswith("SERVICE_")})
)
def test_a_services_stage_ends_its_operation_well_or_badly(stage: str) -> None:
    """The status code says which; the end has a time, and the duration is from the first message to it."""
    for failed, state in ((False, O.SUCCEEDED), (True, O.FAILED)):
        ended = operation(("VM_UPDATED", A), (stage, {"failed": failed}), before=up())
        assert (ended.state, ended.status_code, ended.revised) == (state, 500 if failed else 200, False)
        assert ended.ended_at is not None
        assert (ended.ended_at - ended.first_seen_at).total_seconds() == 1


@pytest.mark.parametrize(
    "event", sorted({trigger for trigger, _ in operation_tables.CLOSERS if trigger.startswith("VM_")})
)
def test_a_closing_event_ends_the_operation_of_a_vm_and_escs_own(event: str) -> None:
    """Cancelled only by VM_RECOVERY_CANCELLED, whatever its status."""
    for failed in (False, True):
        ended = operation((event, {**A, "failed": failed}), before=up())
        cancelled = event == "VM_RECOVERY_CANCELLED"
        assert ended.state == (O.CANCELLED if cancelled else O.FAILED if failed else O.SUCCEEDED)


def test_monitoring_ends_its_operation_as_an_event_and_not_as_a_stage() -> None:
    """As `esc_event` it is a VM's operation; as a deployment stage a service's, which has a closing stage."""
    world = World()
    for n in up():
        world.hear(n)
    world.hear(notification("VM_MONITOR_SET", vm="a", family=Family.VM_EVENT, txn="vm", at_s=10))
    world.hear(notification("VM_MONITOR_SET", vm="a", family=Family.DEPLOYMENT, txn="service", at_s=20))
    assert (world.operation("vm").state, world.operation("service").state) == (O.SUCCEEDED, O.OPEN)


def test_steps_end_nothing() -> None:
    """Networks and subnets inside a deployment's operation, and VM stages, are steps."""
    steps: list[Said] = [("CREATE_NETWORK", NETWORK), ("VM_DEPLOYED", A), ("VM_ALIVE", A), ("DELETE_NETWORK", NETWORK)]
    for n in range(1, len(steps) + 1):
        assert operation(*steps[:n]).state == O.OPEN


def test_a_network_of_its_own_is_an_operation_of_its_own() -> None:
    """One callback, which ends it (docs/esc-callbacks.md#5)."""
    alone = {"resource": ResourceReport("network", "n1")}
    assert operation(("CREATE_NETWORK", alone)).state == O.SUCCEEDED
    assert operation(("CREATE_NETWORK", alone | {"failed": True})).state == O.FAILED


def test_what_ended_by_a_borrowed_ending_is_open_again_and_says_so() -> None:
    """The ESC document prints a tenant's callback and a deploy's under one id."""
    world = World()
    world.hear(notification("CREATE_TENANT", **TENANT, family=Family.RESOURCE, txn="t1"))
    world.hear(notification("VM_DEPLOYED", vm="a", txn="t1", at_s=1))
    told = [(entry.rule, entry.to_state) for entry in world.ledger if entry.entity == "operation"]
    assert told == [("operation-opened", O.OPEN), ("operation-succeeded", O.SUCCEEDED), ("operation-reopened", O.OPEN)]


CLOSINGS: dict[str, tuple[list[Said | str], str]] = {
    "failed over succeeded": (["SERVICE_ALIVE", ("SERVICE_ALIVE", {"failed": True})], O.FAILED),
    "service over event": ([("VM_STOP_COMPLETE", A | {"failed": True}), "SERVICE_STOPPED"], O.SUCCEEDED),
    "succeeded over cancelled": ([("VM_RECOVERY_CANCELLED", A), ("VM_RECOVERY_COMPLETE", A)], O.SUCCEEDED),
    "failed over cancelled": ([("VM_RECOVERY_CANCELLED", A), ("VM_RECOVERY_COMPLETE", A | {"failed": True})], O.FAILED),
}


@pytest.mark.parametrize("name", CLOSINGS)
def test_closing_messages_have_a_fixed_precedence(name: str) -> None:
    """In any order; an ended operation whose outcome was contradicted says that it is revised."""
    messages, state = CLOSINGS[name]
    for order in permutations(messages):
        ended = operation(*order, before=up())
        assert (ended.state, ended.revised) == (state, True)


def test_an_end_that_is_revised_is_a_ledger_entry() -> None:
    """The feed's consumers hear that what succeeded has failed."""
    world = World()
    for n in said(("VM_DEPLOYED", A), "SERVICE_ALIVE", ("SERVICE_ALIVE", {"failed": True})):
        world.hear(n)
    entries = [(t.from_state, t.to_state) for t in world.ledger if t.entity == EntityKind.OPERATION]
    assert entries == [(O.UNSEEN, O.OPEN), (O.OPEN, O.SUCCEEDED), (O.SUCCEEDED, O.FAILED)]


def test_an_operation_that_one_message_opens_and_ends_has_both_entries() -> None:
    """The ledger has no jump from UNSEEN to the end."""
    world = World()
    decision = world.hear(notification("CREATE_TENANT", **TENANT))
    entries = [(t.change, t.sequence) for t, _ in decision.transitions if t.entity == EntityKind.OPERATION]
    assert entries == [("open", 1), ("succeeded", 2)]


def test_once_ended_it_stays_ended_and_later_messages_still_count_for_entities() -> None:
    """The document prints a deploy and an update under one id: both end, and all is ACTIVE."""
    world = World()
    for n in said(("VM_DEPLOYED", A), ("VM_ALIVE", A), "SERVICE_ALIVE"):
        world.hear(n)
    ended_at = world.operation().ended_at
    for n in said(("VM_DEPLOYED", {"vm": "b"}), ("VM_ALIVE", {"vm": "b"}), "SERVICE_UPDATED", start_s=10):
        world.hear(n)
    assert (world.vm("b").state, world.deployment().state) == ("ALIVE", "ACTIVE")
    assert (world.operation().state, world.operation().kind, world.operation().revised) == (
        O.SUCCEEDED,
        "update",
        False,
    )
    assert world.operation().ended_at == ended_at


def test_a_recovery_inside_a_deploy_does_not_end_the_deploy() -> None:
    """Its closing event is ESC's own workflow's; heard first, the end it seemed to be is taken back."""
    messages: list[Said | str] = [("VM_DEPLOYED", A), ("VM_RECOVERY_INIT", A), ("VM_RECOVERY_COMPLETE", A)]
    for order in permutations(messages):
        assert (operation(*order).state, operation(*order).ended_at) == (O.OPEN, None)
    assert operation(*messages, "SERVICE_ALIVE").state == O.SUCCEEDED


def test_the_status_shown_is_that_of_the_ending_and_until_then_of_the_failure() -> None:
    """An operator wants to read why, not the last good news."""
    failing = ("VM_DEPLOYED", {"vm": "b", "failed": True, "status_message": "no valid host"})
    open_one = operation(failing, ("VM_DEPLOYED", {**A, "status_message": "fine"}))
    assert (open_one.status_code, open_one.status_message) == (500, "no valid host")
    ended = operation(failing, ("SERVICE_ALIVE", {"failed": True, "status_message": "deployment failed"}))
    assert ended.status_message == "deployment failed"


# How far it got.


def test_progress_counts_each_vm_once() -> None:
    """Seen, deployed, alive, failed; repeats and further stages of the same VM add nothing."""
    got = operation(
        ("VM_DEPLOYED", A), ("VM_DEPLOYED", A), ("VM_ALIVE", A), ("VM_ALIVE", A | {"number": 1}),
        ("VM_DEPLOYED", {"vm": "b"}), ("VM_DEPLOYED", {"vm": "c", "failed": True}),
    )  # fmt: skip
    assert (got.vms_seen, got.vms_deployed, got.vms_alive, got.vms_failed) == (3, 2, 1, 1)


def test_failures_without_a_name_are_counted_and_their_repeats_are_not() -> None:
    """Two different messages are two VMs, as far as anybody can tell."""
    nameless = ("VM_DEPLOYED", {"failed": True})
    got = operation(nameless, nameless, ("VM_DEPLOYED", {"failed": True, "number": 1}))
    assert (got.vms_seen, got.vms_failed) == (0, 2)


def test_an_operation_knows_its_deployment_and_the_callers_reference() -> None:
    """`?ref=` of the callback URL is kept with it."""
    got = operation(("VM_DEPLOYED", A | {"ref": "order-17"}))
    assert (got.deployment, got.tenant, got.ref) == ("d1", "tenant", "order-17")


def test_a_vm_in_recovery_has_not_failed_until_it_is_given_up() -> None:
    """A step that fails leads on to the next; the end of the recovery tells."""
    failed = A | {"failed": True}
    steps: list[Said | str] = [
        ("VM_RECOVERY_INIT", failed),
        ("VM_RECOVERY_REBOOT", failed),
        ("VM_RECOVERY_DEPLOYED", A),
    ]
    recovering = operation(*steps, before=up())
    assert (recovering.vms_seen, recovering.vms_failed) == (1, 0)
    assert operation(*steps, ("VM_RECOVERY_COMPLETE", A), before=up()).vms_failed == 0
    assert operation(*steps, ("VM_RECOVERY_COMPLETE", failed), before=up()).vms_failed == 1
