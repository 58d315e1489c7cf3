"""The rulings on the lifecycle (docs/lifecycle.md#rulings) and the traps of ESC's messages (docs/esc-callbacks.md#7),
one by one.

Pure: messages in, a world out. The tables are walked in `test_lifecycle_tables`, operations judged in
`test_lifecycle_operation`, and that order does not matter is a property in `test_lifecycle_order`.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from receiver.lifecycle import Windows
from receiver.model.entities import Decision, Deployment, EntityKind, Transition, Vm
from receiver.model.entities import DeploymentState as D
from receiver.model.entities import VmState as V
from receiver.model.notification import Family, Outcome, VmReport
from tests.support.lifecycle import World, notification, replace

WINDOW_S = Windows().reorder_window_s


def deployed(*names: str, txn: str = "t0") -> World:
    """An ACTIVE deployment whose VMs are ALIVE in instance `<name>-1`."""
    world = World()
    for name in names:
        world.hear(notification("VM_DEPLOYED", vm=name, uuid=f"{name}-1", service=D.DEPLOYING, txn=txn))
        world.hear(notification("VM_ALIVE", vm=name, uuid=f"{name}-1", service=D.INERT, txn=txn, at_s=1))
    world.hear(notification("SERVICE_ALIVE", service=D.ACTIVE, txn=txn, at_s=2))
    return world


def entries(decision: Decision, kind: EntityKind) -> list[Transition]:
    """What a message wrote into the ledger about one kind of entity."""
    return [transition for transition, _ in decision.transitions if transition.entity == kind]


# Late.


def test_late_is_judged_within_entity_and_operation() -> None:
    """What the operation has passed for this VM is late; a VM it has not mentioned yet never is."""
    world = World()
    world.hear(notification("VM_ALIVE", vm="a"), notification("SERVICE_ALIVE", at_s=1))
    late = world.hear(notification("VM_DEPLOYED", vm="a", at_s=2))
    assert (late.outcome, late.rule, world.vm("a").state) == (Outcome.LATE, "already-passed", V.ALIVE)
    first = world.hear(notification("VM_DEPLOYED", vm="b", at_s=3))
    assert (first.outcome, world.vm("b").state, world.deployment().state) == (Outcome.APPLIED, V.INERT, D.ACTIVE)


def test_an_older_operation_is_late_for_what_a_newer_one_moved_and_for_nothing_else() -> None:
    """First seen before the operation that last moved the entity: late for that entity only."""
    world = deployed("a", "b")
    world.hear(notification("VM_STOPPED", vm="b", txn="older", at_s=10))
    world.hear(notification("VM_STOP_COMPLETE", vm="a", txn="newer", at_s=20))
    late = world.hear(notification("VM_ALIVE", vm="a", txn="older", at_s=30))
    assert (late.outcome, late.rule, world.vm("a").state) == (Outcome.LATE, "newer-operation", V.STOPPED)
    other = world.hear(notification("VM_UPDATED", vm="b", txn="older", at_s=31))
    assert other.outcome is Outcome.APPLIED


def test_a_late_message_fills_in_what_nobody_has_told() -> None:
    """It moves nothing back, but its facts are taken where there were none."""
    world = World()
    world.hear(notification("VM_ALIVE", vm="a"))
    early = notification("VM_DEPLOYED", vm="a", at_s=1)
    world.hear(replace(early, vm=VmReport("a", host_name="compute-7")))
    assert (world.vm().state, world.vm().host_name) == (V.ALIVE, "compute-7")


@pytest.mark.parametrize("trigger", ["VM_RECOVERY_INIT", "VM_SCALE_IN_COMPLETE", "VM_SCALE_OUT_COMPLETE"])
def test_recovery_and_scaling_are_never_late_for_another_operation(trigger: str) -> None:
    """They interleave with requests (docs/esc-callbacks.md#U53)."""
    world = deployed("a")
    world.hear(notification("VM_SCALE_IN_INIT", vm="a", txn="workflow", at_s=10))
    world.hear(notification("VM_STOPPED", vm="a", txn="request", at_s=20))
    names: dict[str, Any] = {"target_name": "a", "target": "a-1"} if "OUT" in trigger else {"vm": "a", "uuid": "a-1"}
    decision = world.hear(notification(trigger, txn="workflow", at_s=30, **names))
    assert decision.outcome is Outcome.APPLIED
    assert world.vm().state != V.STOPPED


def test_a_vm_that_comes_alive_after_a_stop_is_late_only_within_the_stops_operation() -> None:
    """Same operation: the monitor's message was overtaken. Another one: the start was missed
    (docs/esc-callbacks.md#6.1)."""
    world = deployed("a")
    world.hear(notification("VM_STOPPED", vm="a", txn="stop", at_s=10))
    assert world.hear(notification("VM_ALIVE", vm="a", txn="stop", at_s=11)).outcome is Outcome.LATE
    assert world.vm().state == V.STOPPED
    world.hear(notification("VM_ALIVE", vm="a", txn="start", at_s=12))
    assert world.vm().state == V.ALIVE


# Without a transaction id.


def test_without_an_id_entities_move_and_there_is_no_operation() -> None:
    """The id may be lost to a proxy that drops underscored headers (docs/esc-callbacks.md#trap-6)."""
    world = World()
    said = ("VM_DEPLOYED", "VM_ALIVE")
    for n, trigger in enumerate(said):
        assert world.hear(notification(trigger, vm="a", txn=None, at_s=n)).outcome is Outcome.APPLIED
    world.hear(notification("SERVICE_ALIVE", txn=None, at_s=3))
    assert (world.vm().state, world.deployment().state) == (V.ALIVE, D.ACTIVE)
    assert [t for t in world.ledger if t.entity == EntityKind.OPERATION] == []


def test_without_an_id_rank_counts_for_a_while_and_arrival_afterwards() -> None:
    """Within the reorder window VM_DEPLOYED after VM_ALIVE was overtaken; later the VM is deployed anew."""
    world = World()
    world.hear(notification("VM_ALIVE", vm="a", txn=None))
    assert world.hear(notification("VM_DEPLOYED", vm="a", txn=None, at_s=WINDOW_S - 1)).outcome is Outcome.LATE
    assert world.vm().state == V.ALIVE
    world.hear(notification("VM_DEPLOYED", vm="a", txn=None, at_s=2 * WINDOW_S, number=1))
    assert world.vm().state == V.INERT


def test_without_an_id_a_stop_and_the_start_after_it_are_not_late_for_each_other() -> None:
    """They are different chains: arrival decides between them."""
    world = deployed("a", txn="t0")
    for n, (trigger, state) in enumerate(
        [("VM_STOPPED", V.STOPPED), ("VM_STARTED", V.INERT), ("VM_STOPPED", V.STOPPED)]
    ):
        world.hear(notification(trigger, vm="a", txn=None, at_s=10 + n, number=n))
        assert world.vm().state == state


# Repeats and unknowns.


def test_a_repeat_changes_nothing_and_is_a_duplicate() -> None:
    """No ledger entry, so nothing on the feed."""
    world = World()
    world.hear(notification("VM_DEPLOYED", vm="a"))
    written = len(world.ledger)
    again = world.hear(notification("VM_DEPLOYED", vm="a", at_s=5))
    assert (again.outcome, again.transitions, len(world.ledger)) == (Outcome.DUPLICATE, (), written)


def test_after_the_duplicate_window_a_repeat_is_news() -> None:
    """docs/esc-callbacks.md#S (chapter 06) prints two identical SERVICE_UPDATED: without timestamps a real second one
    looks like a repeat."""
    world = deployed("a")
    world.hear(notification("SERVICE_UPDATED", txn="u", at_s=10))
    soon = world.hear(notification("SERVICE_UPDATED", txn="u", at_s=20))
    later = world.hear(notification("SERVICE_UPDATED", txn="u", at_s=20 + Windows().duplicate_window_s + 1))
    assert (soon.outcome, later.outcome) == (Outcome.DUPLICATE, Outcome.APPLIED)
    assert [t.change for t in entries(later, EntityKind.DEPLOYMENT)] == ["updated"]


def test_what_is_unknown_is_unclassified_and_touches_nothing() -> None:
    """Kept by the store; no entity, no ledger entry."""
    because = "unknown stage VM_MIGRATED"
    decision = World().hear(notification(None, unclassified_because=because))
    assert (decision.outcome, decision.reason) == (Outcome.UNCLASSIFIED, because)
    assert (decision.entities, decision.transitions) == ((), ())


def test_a_message_without_deployment_belongs_to_that_of_its_operation() -> None:
    """And is unclassified when nothing is known of the transaction."""
    world = deployed("a", txn="t0")
    unknown = world.hear(notification("VM_STOP_COMPLETE", deployment=None, vm="a", txn="nobody", at_s=9))
    assert unknown.outcome is Outcome.UNCLASSIFIED
    world.hear(notification("VM_STOP_COMPLETE", deployment=None, vm="a", uuid="a-1", txn="t0", at_s=10))
    assert world.vm().state == V.STOPPED


def test_after_a_recovery_it_is_the_last_operation() -> None:
    """Under its own id and under that of the deploy; a step that fails on the way is no failure of it."""
    for txn in ("t1", "t2"):
        world = deployed("a", txn="t1")
        world.hear(
            notification("VM_RECOVERY_INIT", vm="a", uuid="a-1", txn=txn, at_s=10),
            notification("VM_RECOVERY_REBOOT", vm="a", uuid="a-1", txn=txn, failed=True, at_s=11),
            notification("VM_RECOVERY_COMPLETE", vm="a", uuid="a-1", target="a-2", txn=txn, at_s=12),
        )
        last = {"name": "VM_RECOVERY_COMPLETE", "transaction_id": txn, "outcome": "succeeded"}
        assert (world.vm().state, world.vm().last_operation) == (V.ALIVE, last)
    world.hear(
        notification("VM_RECOVERY_INIT", vm="a", uuid="a-2", txn="t2", at_s=1000),
        notification("VM_RECOVERY_COMPLETE", vm="a", uuid="a-2", txn="t2", failed=True, at_s=1001),
    )
    assert world.vm().last_operation == last | {"outcome": "failed"}, "a new round under the same id"


# Failures.


def test_the_status_counts_before_the_stage() -> None:
    """SERVICE_ALIVE with a failing code is a failure (docs/esc-callbacks.md#trap-4), of a first deploy an error."""
    world = World()
    world.hear(notification("VM_DEPLOYED", vm="a"), notification("VM_ALIVE", vm="a", failed=True, at_s=1))
    assert world.vm().state == V.INERT
    assert world.vm().last_operation == {"name": "VM_ALIVE", "transaction_id": "t1", "outcome": "failed"}
    world.hear(notification("SERVICE_ALIVE", failed=True, at_s=2))
    assert world.deployment().state == D.ERROR


def test_a_failure_that_names_no_vm_is_counted_by_its_operation_and_noted_on_the_deployment() -> None:
    """Failure payloads may lack VM, group and details (docs/esc-callbacks.md#trap-7); a repeat counts once."""
    world = deployed("a")
    failed = notification("VM_STOPPED", failed=True, txn="stop", at_s=10)
    decision = world.hear(failed)
    assert [(t.change, t.rule) for t in entries(decision, EntityKind.DEPLOYMENT)] == [
        ("operation_failed", "nameless-failure")
    ]
    assert world.hear(replace(failed, receipt=decision.transitions[0][0].id)).outcome is Outcome.DUPLICATE
    assert (world.operation("stop").vms_failed, world.vm().state, world.deployment().state) == (1, V.ALIVE, D.ACTIVE)


def test_a_failed_deploy_of_a_nameless_vm_makes_no_vm() -> None:
    """It is recorded on the deployment only (docs/esc-callbacks.md#6.1)."""
    world = World()
    world.hear(notification("VM_DEPLOYED", failed=True))
    assert (list(world.all(Vm)), world.deployment().state, world.operation().vms_failed) == ([], D.DEPLOYING, 1)


def test_a_recovery_that_failed_for_good_makes_the_deployment_unusable() -> None:
    """It must be undeployed and deployed again (docs/esc-callbacks.md#A52)."""
    world = deployed("a")
    world.hear(notification("VM_RECOVERY_INIT", vm="a", txn="r", at_s=10))
    world.hear(notification("VM_RECOVERY_COMPLETE", vm="a", failed=True, txn="r", at_s=20))
    assert (world.vm().state, world.vm().recovery_open, world.deployment().state) == (V.ERROR, False, D.ERROR)


# Traps.


def test_a_services_stage_may_show_a_vm() -> None:
    """SERVICE_STOPPED carries a VM's block (docs/esc-callbacks.md#trap-2): facts of a known VM, the reported state of
    one never seen."""
    world = deployed("a")
    block = VmReport("a", "g", "a-1", host_name="compute-9", state=V.INERT, raw_state="VM_INERT_STATE")
    world.hear(replace(notification("SERVICE_STOPPED", txn="s", at_s=10), vm=block))
    assert (world.vm("a").state, world.vm("a").host_name) == (V.ALIVE, "compute-9")
    seen = replace(block, name="b", uuid="b-1", state=V.STOPPED)
    world.hear(replace(notification("SERVICE_STOPPED", txn="s", at_s=11, number=1), vm=seen))
    assert world.vm("b").state == V.STOPPED


def test_a_vms_stage_that_reports_the_service_stopped_is_ahead_of_it() -> None:
    """The deployment keeps its state until SERVICE_STOPPED; the report is kept raw (docs/esc-callbacks.md#trap-3)."""
    world = deployed("a", "b")
    world.hear(notification("VM_STOPPED", vm="a", service=D.STOPPED, txn="s", at_s=10))
    assert (world.deployment().state, world.deployment().reported_state) == (D.ACTIVE, D.STOPPED)
    world.hear(notification("SERVICE_STOPPED", service=D.STOPPED, txn="s", at_s=11))
    assert world.deployment().state == D.STOPPED


def test_one_stop_by_either_name_is_the_same_stop() -> None:
    """REST says VM_STOP_COMPLETE for a VM and VM_STOPPED for a service's VM (docs/esc-callbacks.md#trap-5)."""
    told = {world.hear(notification(trigger, vm="a", txn="s", at_s=9)).rule
            for trigger in ("VM_STOPPED", "VM_STOP_COMPLETE") for world in [deployed("a")]}  # fmt: skip
    assert told == {"vm-stopped"}


def test_an_unmonitored_vm_rests_in_inert_under_an_active_service() -> None:
    """All VMs ALIVE is not what healthy means (docs/esc-callbacks.md#trap-9)."""
    world = World()
    world.hear(notification("VM_DEPLOYED", vm="a"), notification("SERVICE_ALIVE", at_s=1))
    assert (world.vm().state, world.deployment().state, world.deployment().degraded) == (V.INERT, D.ACTIVE, False)


@pytest.mark.parametrize("trigger", ["VM_STARTED", "VM_REBOOTED", "VM_START_COMPLETE", "VM_REBOOT_COMPLETE"])
def test_alive_outranks_started_in_either_order(trigger: str) -> None:
    """INERT → ALIVE; and what was overtaken does not take it back."""
    for order in permutations([(trigger, 0), ("VM_ALIVE", 1)]):
        world = deployed("a")
        world.hear(notification("VM_STOP_COMPLETE", vm="a", txn="stop", at_s=5))
        world.hear(*(notification(told, vm="a", txn="start", at_s=10 + n) for told, n in order))
        assert world.vm().state == V.ALIVE


def test_an_update_message_keeps_the_state_and_refreshes_what_is_known() -> None:
    """The feed says `updated`; on a VM never seen the reported state is taken, else ALIVE."""
    world = deployed("a")
    more = notification("VM_UPDATED", vm="a", txn="u", at_s=10)
    decision = world.hear(replace(more, vm=VmReport("a", uuid="a-1", interfaces=({"nic_id": "0"}, {"nic_id": "1"}))))
    assert [(t.change, t.from_state, t.to_state) for t in entries(decision, EntityKind.VM)] == [
        ("updated", V.ALIVE, V.ALIVE)
    ]
    assert len(world.vm().interfaces) == 2
    world.hear(
        notification("VM_UPDATED", vm="b", txn="u", at_s=11),
        notification("VM_UPDATED", vm="c", state=V.INERT, txn="u", at_s=12),
    )
    assert (world.vm("b").state, world.vm("c").state) == (V.ALIVE, V.INERT)


def test_monitoring_is_a_flag_and_noted_once() -> None:
    """VM_MONITOR_SET and UNSET leave the state."""
    world = deployed("a")
    off = world.hear(notification("VM_MONITOR_UNSET", vm="a", txn="m", at_s=10))
    assert (world.vm().monitored, world.vm().state) == (False, V.ALIVE)
    assert [t.change for t in entries(off, EntityKind.VM)] == ["unmonitored"]
    world.hear(notification("VM_MONITOR_SET", vm="a", txn="n", at_s=20))
    assert world.vm().monitored is True


# Recovery.


def test_a_recovery_by_redeploy_gives_the_vm_a_new_instance() -> None:
    """The name stays, `vm_uuid` changes; the old one is an alias with a from and a to, and still leads to the VM."""
    world = deployed("a")
    r: dict[str, Any] = {"vm": "a", "uuid": "a-1", "txn": "r"}
    world.hear(
        notification("VM_RECOVERY_INIT", **r, at_s=10), notification("VM_RECOVERY_REBOOT", failed=True, **r, at_s=20)
    )
    world.hear(notification("VM_RECOVERY_UNDEPLOYED", **r, at_s=30))
    assert (world.vm().state, world.vm().recovery_open, world.deployment().degraded) == (V.RECOVERING, True, True)
    replaced = world.hear(notification("VM_RECOVERY_DEPLOYED", target="a-2", **r, at_s=40))
    assert [t.change for t in entries(replaced, EntityKind.VM)] == ["redeployed"]
    done = world.hear(notification("VM_RECOVERY_COMPLETE", target="a-2", **r, at_s=50))
    assert (world.vm().state, world.vm().vm_uuid, world.vm().recovery_open) == (V.ALIVE, "a-2", False)
    assert [t.change for t in entries(done, EntityKind.DEPLOYMENT)] == ["restored"]
    ends = {alias.vm_uuid: alias.valid_to for alias in world.aliases}
    assert (ends["a-1"] is not None, ends["a-2"]) == (True, None)
    late = world.hear(notification("VM_STOP_COMPLETE", uuid="a-1", txn="s", at_s=60))
    assert (late.rule, world.vm().state) == ("operation-succeeded", V.ALIVE)


def test_a_vm_is_found_by_its_instance_when_its_name_is_missing() -> None:
    """An alias is enough."""
    world = deployed("a", "b")
    world.hear(notification("VM_STOP_COMPLETE", uuid="b-1", txn="s", at_s=10))
    assert (world.vm("a").state, world.vm("b").state) == (V.ALIVE, V.STOPPED)


def test_what_another_operation_says_of_a_replaced_instance_is_late() -> None:
    """The VM lives on in its new instance."""
    world = deployed("a")
    world.hear(notification("VM_RECOVERY_COMPLETE", vm="a", uuid="a-1", target="a-2", txn="r", at_s=10))
    late = world.hear(notification("VM_STOPPED", vm="a", uuid="a-1", txn="r2", at_s=20))
    assert (late.outcome, late.rule, world.vm().state) == (Outcome.LATE, "former-instance", V.ALIVE)


def test_a_cancelled_recovery_brings_any_live_vm_back() -> None:
    """Also when its beginning was missed."""
    for before in ("VM_UPDATED", "VM_RECOVERY_INIT"):
        world = deployed("a")
        world.hear(notification(before, vm="a", txn="r", at_s=10))
        world.hear(notification("VM_RECOVERY_CANCELLED", vm="a", txn="r", at_s=20))
        assert (world.vm().state, world.vm().recovery_open) == (V.ALIVE, False)


def test_a_manual_policy_waits_for_a_person() -> None:
    """The flag goes when recovery begins to move."""
    world = deployed("a")
    world.hear(notification("VM_MANUAL_RECOVERY_NEEDED", vm="a", txn="r", at_s=10))
    assert (world.vm().state, world.vm().needs_manual_recovery) == (V.ERROR, True)
    world.hear(notification("VM_RECOVERY_REBOOT", vm="a", txn="person", at_s=20))
    assert (world.vm().state, world.vm().needs_manual_recovery) == (V.RECOVERING, False)


def test_recovery_outranks_the_deploy_whose_id_it_shares() -> None:
    """No VM_ALIVE in time: ESC recovers inside the deploy (docs/esc-callbacks.md#N23, p. 80); the overtaken VM_ALIVE is
    late."""
    world = World()
    world.hear(notification("VM_DEPLOYED", vm="a"), notification("VM_RECOVERY_INIT", vm="a", at_s=1))
    assert world.hear(notification("VM_ALIVE", vm="a", at_s=2)).outcome is Outcome.LATE
    assert world.vm().state == V.RECOVERING


def test_an_init_long_after_the_close_opens_a_new_round() -> None:
    """Within the reorder window it was overtaken; beyond it the same id recovers once more."""
    world = deployed("a")
    world.hear(notification("VM_RECOVERY_INIT", vm="a", txn="r", at_s=10))
    world.hear(notification("VM_RECOVERY_COMPLETE", vm="a", txn="r", at_s=20))
    overtaken = notification("VM_RECOVERY_INIT", vm="a", txn="r", number=1, at_s=20 + WINDOW_S)
    assert (world.hear(overtaken).outcome, world.vm().state) == (Outcome.LATE, V.ALIVE)
    world.hear(notification("VM_RECOVERY_INIT", vm="a", txn="r", number=2, at_s=21 + WINDOW_S))
    assert (world.vm().state, world.vm().recovery_open) == (V.RECOVERING, True)
    world.hear(notification("VM_RECOVERY_COMPLETE", vm="a", txn="r", number=3, at_s=30 + WINDOW_S))
    assert world.vm().state == V.ALIVE


# Scaling.


def test_scaling_out_is_about_the_target_and_scaling_in_about_the_source() -> None:
    """INIT names a VM of the group, which keeps its state; the new one is the target."""
    world = deployed("a")
    world.hear(notification("VM_SCALE_OUT_INIT", vm="a", uuid="a-1", txn="out", at_s=10))
    new: dict[str, Any] = {"vm": "a", "uuid": "a-1", "target_name": "b", "target": "b-1", "txn": "out"}
    world.hear(notification("VM_SCALE_OUT_DEPLOYED", **new, at_s=11))
    assert (world.vm("a").state, world.vm("b").state, world.vm("b").vm_uuid) == (V.ALIVE, V.INERT, "b-1")
    world.hear(notification("VM_SCALE_OUT_COMPLETE", **new, at_s=12))
    assert world.vm("b").state == V.ALIVE
    world.hear(
        notification("VM_SCALE_IN_INIT", vm="b", txn="in", at_s=20),
        notification("VM_SCALE_IN_COMPLETE", vm="b", txn="in", at_s=21),
    )
    assert (world.vm("b").state, world.deployment().state) == (V.UNDEPLOYED, D.ACTIVE)


def test_a_failed_scale_out_without_a_target_leaves_all_as_it_was() -> None:
    """Its failure leaves the deployment functional (docs/esc-callbacks.md#A52)."""
    world = deployed("a")
    world.hear(notification("VM_SCALE_OUT_COMPLETE", vm="a", uuid="a-1", failed=True, txn="out", at_s=10))
    assert (world.vm("a").state, world.deployment().state, world.operation("out").state) == (
        V.ALIVE,
        D.ACTIVE,
        "FAILED",
    )


# Deployments: gone, again, two ids, degraded.


def test_an_undeploy_takes_every_vm_along() -> None:
    """Also those whose own VM_UNDEPLOYED never came; each has its ledger entry."""
    world = deployed("a", "b", "c")
    world.hear(notification("VM_UNDEPLOYED", vm="a", txn="u", at_s=10))
    decision = world.hear(notification("SERVICE_UNDEPLOYED", txn="u", at_s=11))
    assert [(t.name, t.rule) for t in entries(decision, EntityKind.VM)] == [
        ("b", "deployment-gone"),
        ("c", "deployment-gone"),
    ]
    assert world.deployment().vms == {V.UNDEPLOYED: 3}
    assert world.deployment().ended_at is not None


def test_a_failed_undeploy_is_an_undeploy_with_a_leak() -> None:
    """ESC has already cleaned its database; only the VIM may keep something (docs/esc-callbacks.md#A52)."""
    world = deployed("a")
    world.hear(notification("SERVICE_UNDEPLOYED", failed=True, txn="u", at_s=10))
    assert (world.deployment().state, world.deployment().vim_leak_suspected, world.vm().state) == (
        D.UNDEPLOYED,
        True,
        V.UNDEPLOYED,
    )


def test_what_tells_of_a_deployment_that_is_gone_is_late() -> None:
    """The same external id or none: an earlier time is told of, in whatever operation."""
    world = deployed("a")
    world.hear(notification("SERVICE_UNDEPLOYED", txn="u", at_s=10))
    for n, (external, txn) in enumerate([("e1", "t0"), (None, "t0"), ("e1", "x"), (None, "y")]):
        late = world.hear(
            notification("VM_ALIVE", vm="a", uuid="a-1", external=external, txn=txn, at_s=20 + n, number=n)
        )
        assert (late.outcome, world.deployment().state, world.vm().state) == (Outcome.LATE, D.UNDEPLOYED, V.UNDEPLOYED)


def test_a_new_external_id_after_the_undeploy_is_a_new_incarnation() -> None:
    """With VMs of its own, also of the same name; what still comes of the former one is late."""
    world = deployed("a")
    world.hear(notification("SERVICE_UNDEPLOYED", txn="u", at_s=10))
    world.hear(
        notification("VM_DEPLOYED", vm="a", uuid="a-9", external="e2", service=D.DEPLOYING, txn="again", at_s=20)
    )
    incarnations = {d.incarnation: (d.state, d.current) for d in world.all(Deployment)}
    assert incarnations == {1: (D.UNDEPLOYED, False), 2: (D.DEPLOYING, True)}
    assert sorted(vm.state for vm in world.all(Vm)) == [V.INERT, V.UNDEPLOYED]
    late = world.hear(notification("VM_ALIVE", vm="a", uuid="a-1", external="e1", txn="t0", at_s=30, number=7))
    assert (late.outcome, late.rule, world.deployment().state) == (Outcome.LATE, "former-incarnation", D.DEPLOYING)


def test_two_external_ids_within_one_life_are_noted_and_not_split() -> None:
    """S prints one digit differently in the middle of an update (docs/esc-callbacks.md#6.3)."""
    world = deployed("a")
    world.hear(notification("SERVICE_UPDATED", external="e2", txn="u", at_s=10))
    one = world.deployment()
    assert (one.incarnation, one.external_deployment_id, one.conflicting_external_id) == (1, "e1", "e2")
    assert len(list(world.all(Deployment))) == 1


def test_degraded_follows_the_vms_of_an_active_deployment() -> None:
    """Noted when it begins and when it ends; a deployment that is not ACTIVE is not degraded but worse."""
    world = deployed("a", "b")
    begun = world.hear(notification("VM_RECOVERY_INIT", vm="a", txn="r", at_s=10))
    second = world.hear(notification("VM_RECOVERY_INIT", vm="b", txn="r2", at_s=11))
    first_back = world.hear(notification("VM_RECOVERY_COMPLETE", vm="a", txn="r", at_s=12))
    ended = world.hear(notification("VM_RECOVERY_COMPLETE", vm="b", txn="r2", at_s=13))
    notes = [[t.change for t in entries(d, EntityKind.DEPLOYMENT)] for d in (begun, second, first_back, ended)]
    assert [[c for c in changes if c in ("degraded", "restored")] for changes in notes] == [
        ["degraded"],
        [],
        [],
        ["restored"],
    ]
    world.hear(
        notification("SERVICE_STOPPED", txn="s", at_s=20), notification("VM_RECOVERY_INIT", vm="a", txn="r3", at_s=21)
    )
    assert world.deployment().degraded is False


def test_a_deployment_counts_its_vms_by_state() -> None:
    """Without asking for all of them."""
    world = deployed("a", "b", "c")
    world.hear(notification("VM_STOP_COMPLETE", vm="a", txn="s", at_s=10))
    assert world.deployment().vms == {V.ALIVE: 2, V.STOPPED: 1}


# The ledger.


def test_the_ledger_of_every_entity_is_a_chain_without_a_gap() -> None:
    """1, 2, 3 …, and each entry begins where the one before ended."""
    world = deployed("a", "b")
    r: dict[str, Any] = {"vm": "a", "uuid": "a-1", "txn": "r"}
    world.hear(
        notification("VM_RECOVERY_INIT", **r, at_s=10), notification("VM_RECOVERY_DEPLOYED", target="a-2", **r, at_s=11)
    )
    world.hear(notification("VM_STOPPED", vm="b", txn="s", at_s=12), notification("SERVICE_STOPPED", txn="s", at_s=13))
    world.hear(notification("SERVICE_UNDEPLOYED", failed=True, txn="u", at_s=14))
    chains: dict[object, list[Transition]] = {}
    for transition in world.ledger:
        chains.setdefault(transition.entity_id, []).append(transition)
    for chain in chains.values():
        assert [t.sequence for t in chain] == list(range(1, len(chain) + 1))
        assert [t.from_state for t in chain] == ["UNSEEN", *(t.to_state for t in chain[:-1])]
    assert {row.sequence for row in world.rows.values()} == {len(chains[row.id]) for row in world.rows.values()}


def test_a_vm_events_family_does_not_move_the_service() -> None:
    """An `esc_event` carries no service state (docs/esc-callbacks.md#3.2)."""
    world = deployed("a")
    world.hear(notification("VM_STOP_COMPLETE", vm="a", service=D.STOPPING, family=Family.VM_EVENT, txn="s", at_s=10))
    assert world.deployment().state == D.ACTIVE
