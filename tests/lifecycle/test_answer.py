"""What one answer of ESC does: by which rule, in which words, and what it leaves alone. Messages are the emulator's."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from esc_lab.simulator.esc_messages import Message
from receiver.lifecycle import DelayedContext
from receiver.lifecycle.answer_tables import GONE, VERDICTS, verdict
from receiver.lifecycle.overdue import KINDS, Limits, decide_overdue
from receiver.model.entities import Deployment, DeploymentState, Operation, Transition
from tests.support.asked_esc import Asking
from tests.support.lifecycle import EPOCH

LONG = 1_000.0


def asking(*lost: int) -> tuple[Asking, list[Message]]:
    """A deploy of which these messages are lost, a long time ago; all its messages, the last one SERVICE_ALIVE."""
    found = Asking()
    made = found.finish("deploy", "d1", lambda n: n not in {one % 6 for one in lost})
    assert len(made) == 6
    found.now_s += LONG
    return found, made


def entries(found: Asking) -> list[tuple[str, str, str]]:
    """What asking has written: entity, change, rule."""
    return [(t.entity, t.change, t.rule) for t in found.world.ledger if t.trigger == "reconcile"]


def last(found: Asking, entity: str) -> Transition:
    """Its newest entry."""
    entry: Transition = next(t for t in reversed(found.world.ledger) if t.entity == entity)
    return entry


def the_operation(found: Asking) -> Operation:
    """The only one."""
    (operation,) = found.world.all(Operation)
    assert isinstance(operation, Operation)
    return operation


def test_a_deploy_whose_end_was_lost_ends_as_its_state_shows() -> None:
    """The deployment is active, the operation has succeeded, and both say how that is known."""
    found, _ = asking(5)
    found.sweep()
    assert entries(found) == [
        ("deployment", "active", "reconcile-state"), ("operation", "succeeded", "reconcile-succeeded"),
    ]  # fmt: skip
    assert last(found, "deployment").reason == "ESC says ACTIVE; its SERVICE_ALIVE never came"
    assert last(found, "operation").reason == "ESC says ACTIVE; how deploy ended was never told"
    assert the_operation(found).memory["inferred"] == "SUCCEEDED"
    assert found.differences() == []


def test_the_message_that_was_on_its_way_after_all_confirms_it() -> None:
    """Nothing is left of the inference, and nothing is revised."""
    found, made = asking(5)
    found.sweep()
    found.hear(made[-1])
    operation = the_operation(found)
    assert (operation.state, operation.revised, "inferred" in operation.memory) == ("SUCCEEDED", False, False)
    assert found.world.deployment().state == DeploymentState.ACTIVE


def test_a_message_that_says_otherwise_outranks_what_was_inferred() -> None:
    """The operation has failed, and is marked as revised; the deployment too is what the message says."""
    found, made = asking(5)
    found.sweep()
    failed = replace(made[-1], headers={**made[-1].headers, "ESC-Status-Code": "500"})
    found.hear(failed)
    operation = the_operation(found)
    assert (operation.state, operation.revised) == ("FAILED", True)
    found.hear(made[0])
    assert the_operation(found).revised


def test_a_message_that_ends_nothing_leaves_the_inferred_end() -> None:
    """VM_ALIVE of the same operation comes late."""
    found, made = asking(4, 5)
    found.sweep()
    found.hear(made[4])
    assert the_operation(found).state == "SUCCEEDED"


def test_what_was_heard_of_lately_is_left_alone() -> None:
    """Within the reorder window a callback may still come."""
    found, _ = asking(5)
    found.now_s -= LONG - 299
    (decision,) = found.sweep()
    assert (decision.rule, entries(found)) == ("reconcile-not-silent", [])


def test_an_answer_is_older_than_a_callback_that_came_while_it_travelled() -> None:
    """ESC was asked before it was stopped."""
    found, _ = asking()
    body, asked_s = found.asked.answer(), found.now_s
    assert body is not None
    found.finish("stop", "d1")
    (decision,) = found.judge_list(body, asked_s)
    assert (decision.rule, found.world.deployment().state) == ("reconcile-not-silent", "STOPPED")


def test_an_answer_is_older_than_one_that_was_judged_before() -> None:
    """Two questions, and the first answer comes last."""
    found, _ = asking()
    body, asked_s = found.asked.answer(), found.now_s
    assert body is not None
    found.finish("stop", "d1", lambda _: False)
    found.now_s += LONG
    found.sweep()
    (decision,) = found.judge_list(body, asked_s)
    assert (decision.rule, found.world.deployment().state) == ("reconcile-stale", "STOPPED")


def test_what_waited_in_the_spool_is_older_than_the_answer() -> None:
    """The reboot had ended before ESC was asked; its messages come from another receiver's disk."""
    found, _ = asking()
    assert found.asked.request("reboot", "d1")
    waiting = []
    while step := found.asked.step("d1"):
        waiting.append(found.read(step[1]))
    found.now_s += LONG
    found.finish("stop", "d1", lambda _: False)
    found.now_s += LONG
    found.sweep()
    for n in waiting:
        found.world.hear(n, delayed=DelayedContext())
    assert found.world.deployment().state == DeploymentState.STOPPED


def test_an_undeploy_that_was_never_told_ends_with_its_deployment() -> None:
    """All of its callbacks but the first are lost."""
    found, _ = asking()
    found.finish("undeploy", "d1", lambda n: n == 0)
    found.now_s += LONG
    found.sweep()
    assert {entry[:2] for entry in entries(found)} == {
        ("deployment", "undeployed"), ("vm", "undeployed"), ("operation", "succeeded"),
    }  # fmt: skip
    assert found.differences() == []


def test_a_deployment_that_was_only_forgotten_lives_again_by_a_callback_or_by_an_answer() -> None:
    """The same incarnation, the same VMs; its removal's own messages do not wake it."""
    found, made = asking()
    found.judge_list(b"<deployments/>", found.now_s)
    gone = found.world.deployment()
    assert gone.state == DeploymentState.UNDEPLOYED
    by_answer = found.world.fork()
    found.hear(made[-1])
    assert (found.world.deployment().id, found.world.deployment().state) == (gone.id, "ACTIVE")
    found.world = by_answer
    found.now_s += LONG
    found.sweep()
    assert (found.world.deployment().id, found.differences()) == (gone.id, [])


def test_the_end_of_its_undeploy_that_comes_late_leaves_it_gone() -> None:
    """Also one that suspects a leak in the VIM, which only a callback can tell."""
    found, _ = asking()
    found.asked.esc.faults.armed = {"work-fails": 1}
    lost = found.finish("undeploy", "d1", lambda _: False)
    found.now_s += LONG
    found.sweep()
    for message in lost:
        found.hear(message)
        assert found.world.deployment().state == DeploymentState.UNDEPLOYED
    assert found.world.deployment().vim_leak_suspected


def test_a_deployment_made_anew_is_another_incarnation() -> None:
    """Neither the undeploy nor the deploy was ever told."""
    found, _ = asking()
    found.finish("undeploy", "d1", lambda _: False)
    found.finish("deploy", "d1", lambda _: False)
    found.now_s += LONG
    found.sweep()
    assert [(d.incarnation, d.current, d.state) for d in found.world.all(Deployment)] == [
        (1, False, "UNDEPLOYED"), (2, True, "ACTIVE"),
    ]  # fmt: skip
    assert found.differences() == []


def test_an_undeploy_of_an_earlier_incarnation_has_succeeded() -> None:
    """Its end was lost; callbacks have told since that the deployment was made anew, twice."""
    found, _ = asking()
    found.finish("undeploy", "d1", lambda n: n == 0)
    found.finish("deploy", "d1")
    found.finish("undeploy", "d1")
    found.finish("deploy", "d1")
    found.now_s += LONG
    found.sweep()
    assert entries(found) == [("operation", "succeeded", "reconcile-succeeded")]
    reason = "ESC has another deployment of the same id; how undeploy ended was never told"
    assert last(found, "operation").reason == reason
    assert {one.state for one in found.world.all(Operation)} == {"SUCCEEDED"}
    assert found.sweep()[0].transitions == ()


def test_a_deployment_nobody_has_named_is_learned() -> None:
    """With its VMs; when its callbacks come after all, they are those of its deploy."""
    found, made = asking(0, 1, 2, 3, 4, 5)
    found.sweep()
    learned = last(found, "vm")
    assert (learned.rule, learned.from_state) == ("reconcile-vm-learned", "UNSEEN")
    assert found.differences() == []
    found.hear(*made[:1])
    for message in made[1:]:
        found.hear(message)
    assert (the_operation(found).kind, the_operation(found).state) == ("deploy", "SUCCEEDED")


def test_a_deployment_of_another_tenant_is_not_ours() -> None:
    """The same id, and another tenant: nothing moves."""
    found, _ = asking(5)
    body = found.asked.answer()
    assert body is not None
    (decision,) = found.judge_list(body.replace(b">acme<", b">other<"), found.now_s)
    assert (decision.rule, entries(found)) == ("reconcile-another-tenant", [])


def test_an_overdue_operation_of_which_the_state_tells_nothing_says_what_esc_says_once() -> None:
    """A reboot may have failed for one VM, or have succeeded."""
    found, _ = asking()
    found.finish("reboot", "d1", lambda n: n == 0)
    found.now_s += LONG
    operation = next(o for o in found.world.all(Operation) if o.kind == "reboot")
    overdue = decide_overdue(operation, (), EPOCH + timedelta(seconds=found.now_s), Limits({"default": 5.0}))
    assert overdue
    found.world.rows[operation.id] = overdue.entities[0]
    found.sweep()
    found.sweep()
    noted = [t for t in found.world.ledger if t.entity == "operation" and t.change == "asked"]
    assert [(t.rule, t.reason) for t in noted] == [
        ("reconcile-undecided", "ESC says ACTIVE; that does not tell how reboot ended")
    ]


def test_a_vm_that_was_replaced_unseen_is_known_by_its_new_instance() -> None:
    """All of the recovery is lost; the old instance stays among its aliases."""
    found, _ = asking()
    before = {vm.vm_name: vm.vm_uuid for vm in found.world.vms()}
    found.finish("die-redeploy", "d1", lambda _: False)
    found.now_s += LONG
    found.sweep()
    changed = [vm for vm in found.world.vms() if vm.vm_uuid != before[vm.vm_name]]
    assert (len(changed), found.differences()) == (1, [])
    aliases = {(alias.vm_uuid, alias.valid_to is None) for alias in found.world.aliases if alias.vm_id == changed[0].id}
    assert {(before[changed[0].vm_name], False), (changed[0].vm_uuid, True)} <= aliases


def test_an_answer_without_any_vm_says_nothing_of_vms() -> None:
    """A list may leave them out: nobody has printed one."""
    found, _ = asking()
    body = found.asked.answer()
    assert body is not None
    start, end = body.index(b"<deployment_details>"), body.rindex(b"</deployment_details>")
    found.judge_list(body[:start] + body[end + len(b"</deployment_details>") :], found.now_s)
    assert entries(found) == []


def test_a_service_is_not_stopped_while_its_vms_are_being_stopped() -> None:
    """ESC reports it ahead of time."""
    found, _ = asking()
    assert found.asked.request("stop", "d1")
    step = found.asked.step("d1")
    assert step
    found.hear(step[1])
    found.now_s += LONG
    found.sweep()
    assert (found.world.deployment().state, entries(found)) == ("ACTIVE", [])


@pytest.mark.parametrize("case", sorted(VERDICTS))
def test_verdicts_are_about_what_there_is(case: tuple[str, str]) -> None:
    """Kinds that operations have, states that deployments have; one that was followed by another decides less."""
    kind, state = case
    assert kind in KINDS
    assert state == GONE or state in set(DeploymentState)
    assert verdict(kind, state, is_last=True) == VERDICTS[case]
    assert verdict(kind, state, is_last=False) == (
        VERDICTS[case] if case in {("deploy", "ACTIVE"), ("undeploy", GONE)} else None
    )
