"""When an operation is overdue, what its entry says, and what ends it: pure, with the time handed in."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from receiver.config.overdue_after import OVERDUE_AFTER_S
from receiver.lifecycle import operation_tables
from receiver.lifecycle.overdue import KINDS, OTHERWISE, RESOURCE, Limits, decide_overdue
from receiver.model.entities import Operation, OperationState, Transition
from receiver.model.notification import Outcome, ResourceReport
from receiver.observability.catalogue import OPERATION_KINDS
from tests.support.lifecycle import EPOCH, World, notification

LIMITS = Limits(OVERDUE_AFTER_S)


def world(*triggers: str, **said: Any) -> World:
    """An operation with a VM `a`, one message a second."""
    heard = World()
    heard.hear(
        *(notification(trigger, vm="a", uuid="u1", at_s=second, **said) for second, trigger in enumerate(triggers))
    )
    return heard


def silent(heard: World, at_s: float, limits: Limits = LIMITS) -> Transition | None:
    """What the timer does at that second; applied to the world."""
    operation: Operation = heard.operation()
    decision = decide_overdue(operation, heard.vms(), EPOCH + timedelta(seconds=at_s), limits)
    if decision is None:
        return None
    ((transition, after),) = decision.transitions
    heard.rows[after.id] = after
    heard.ledger.append(transition)
    return transition


def test_an_operation_is_overdue_after_its_limit_and_not_before() -> None:
    """It has one entry, made by the timer, with no callback; its sequence goes on."""
    heard = world("VM_DEPLOYED")
    assert silent(heard, OVERDUE_AFTER_S["deploy"]) is None
    entry = silent(heard, OVERDUE_AFTER_S["deploy"] + 1)
    assert entry
    assert (entry.from_state, entry.to_state, entry.change) == ("OPEN", "OVERDUE", "overdue")
    assert (entry.trigger, entry.rule, entry.receipt) == ("timer", "operation-overdue", None)
    assert (entry.sequence, heard.operation().sequence, entry.operation) == (2, 2, "t1")
    assert entry.at == EPOCH + timedelta(seconds=OVERDUE_AFTER_S["deploy"] + 1)
    assert silent(heard, 10**6) is None


def test_deciding_again_gives_the_same_id() -> None:
    """A repeated attempt writes the same entry; the next time it is another."""
    first, again = world("VM_DEPLOYED"), world("VM_DEPLOYED")
    one, two = silent(first, 4000), silent(again, 5000)
    assert one
    assert two
    assert one.id == two.id
    first.hear(notification("VM_DEPLOYED", vm="b", at_s=6000))
    later = silent(first, 12000)
    assert later
    assert later.id != one.id


@pytest.mark.parametrize(
    ("trigger", "said", "kind"),
    [
        ("VM_DEPLOYED", {}, "deploy"),
        ("VM_RECOVERY_INIT", {}, "recovery"),
        ("VM_MONITOR_SET", {}, "enable_monitoring"),
        ("VM_STOPPED", {}, "stop"),
    ],
)
def test_each_kind_has_its_limit(trigger: str, said: dict[str, Any], kind: str) -> None:
    """Looked up by what the operation is known to be; the reason names it."""
    limits = Limits({"default": 10_000.0, kind: 50.0})
    heard = world(trigger, **said)
    assert silent(heard, 50, limits) is None
    entry = silent(heard, 51, limits)
    assert entry
    assert entry.reason.startswith(f"{kind}: nothing heard for 51 s (limit 50 s)")


def test_resources_share_a_limit() -> None:
    """What is a step of a deployment's operation does not end it, and its kind is the event's."""
    heard = World()
    report = ResourceReport("network", "n1", internal_deployment_id="d1")
    heard.hear(notification("CREATE_NETWORK", resource=report))
    assert heard.operation().kind == "create_network"
    assert silent(heard, 21, Limits({"default": 9.0, RESOURCE: 20.0}))


def test_no_limit_is_below_the_least() -> None:
    """Within the reorder window, silence says nothing."""
    assert silent(world("VM_DEPLOYED"), 250, Limits({"default": 1.0}, least_s=300.0)) is None


def test_every_kind_of_the_tables_has_a_default() -> None:
    """And no default is for a kind that there is not."""
    assert set(OVERDUE_AFTER_S) == KINDS - {"unknown"} | {RESOURCE, OTHERWISE}
    assert set(OPERATION_KINDS) == KINDS | {RESOURCE}


def test_the_reason_names_the_vms_left_between_states() -> None:
    """Those of this operation: not the ones that arrived, rest unmonitored, or belong to another."""
    heard = world("VM_DEPLOYED")
    heard.hear(notification("VM_DEPLOYED", vm="b"), notification("VM_ALIVE", vm="b"))
    heard.hear(notification("VM_DEPLOYED", vm="c"))
    heard.rows[heard.vm("c").id] = heard.vm("c")._replace(monitored=False)
    heard.hear(notification("VM_RECOVERY_INIT", vm="d", txn="t2"), notification("VM_DEPLOYED", vm="e"))
    entry = silent(heard, 3901)
    assert entry
    assert entry.reason == (
        "deploy: nothing heard for 1 h 5 min (limit 1 h); its closing message may be lost; "
        "left between states: a (INERT), e (INERT)"
    )


def test_the_reason_is_bounded() -> None:
    """However many VMs there are."""
    heard = World()
    heard.hear(*(notification("VM_DEPLOYED", vm=f"vm{n:03}") for n in range(50)))
    entry = silent(heard, 4000, Limits({"default": 5.0}, vms_named_max=2))
    assert entry
    assert entry.reason.endswith("left between states: vm000 (INERT), vm001 (INERT) and others")


@pytest.mark.parametrize("failed", [False, True])
def test_a_closing_message_ends_an_overdue_operation(failed: bool) -> None:
    """The state was left as it was, so nothing has to be undone."""
    heard = world("VM_DEPLOYED")
    silent(heard, 4000)
    decision = heard.hear(notification("SERVICE_ALIVE", service="ACTIVE", failed=failed, at_s=5000))
    assert decision.outcome is Outcome.APPLIED
    assert heard.operation().state == (OperationState.FAILED if failed else OperationState.SUCCEEDED)
    assert [t.sequence for t in heard.ledger if t.entity == "operation"] == [1, 2, 3]
    assert heard.ledger[-1].from_state == "OVERDUE"


def test_a_message_that_does_not_end_it_opens_it_again() -> None:
    """ESC is at work after all; the silence begins anew, and may be too long again."""
    heard = world("VM_DEPLOYED")
    silent(heard, 4000)
    heard.hear(notification("VM_ALIVE", vm="a", uuid="u1", at_s=5000))
    assert heard.operation().state == OperationState.OPEN
    assert (heard.ledger[-1].rule, heard.ledger[-1].change) == ("operation-resumed", "open")
    assert silent(heard, 8600) is None
    assert silent(heard, 8601)
    assert [t.sequence for t in heard.ledger if t.entity == "operation"] == [1, 2, 3, 4]


def test_a_message_that_arrived_before_the_silence_does_not_open_it() -> None:
    """It was held up on our side (spool, replay): ESC has not been heard of since."""
    heard = world("VM_DEPLOYED", "VM_MONITOR_SET")
    silent(heard, 4000)
    heard.hear(notification("VM_DEPLOYED", vm="b", at_s=0.5))
    assert heard.operation().state == OperationState.OVERDUE


@pytest.mark.parametrize("trigger", sorted({trigger for trigger, failed in operation_tables.CLOSERS if not failed}))
def test_an_ended_operation_is_never_overdue(trigger: str) -> None:
    """However long it has been silent."""
    heard = world(trigger, service="ACTIVE")
    assert heard.operation().ended_at
    assert silent(heard, 10**7) is None
