"""Monitoring switched off and on for a whole service, and what is reported of a VM after the closing stage.

docs/esc-callbacks.md#10.
"""

from __future__ import annotations

from itertools import permutations

import pytest

from receiver.model.notification import Outcome
from tests.support.auditor import Connection
from tests.support.field import Post, dep, ev, living, source, stored, world

ACTIVE = "SERVICE_ACTIVE_STATE"
UNSET_A = dep("m", "VM_MONITOR_UNSET", ACTIVE, "a", "u-a", "VM_ALIVE_STATE")
UNSET = dep("m", "SERVICE_MONITOR_UNSET", ACTIVE)
UNSET_FAILED = dep("m", "SERVICE_MONITOR_UNSET", ACTIVE, code=500)


@pytest.mark.parametrize(
    ("posts", "ends", "monitored"),
    [
        ((UNSET_A, UNSET), "SUCCEEDED", False),
        ((UNSET,), "SUCCEEDED", False),
        ((UNSET_A, UNSET_FAILED), "FAILED", False),
        ((UNSET_FAILED,), "FAILED", True),
    ],
)
async def test_a_services_monitoring_is_switched_off(
    postgres_dsn: str, connection: Connection, posts: tuple[Post, ...], ends: str, monitored: bool
) -> None:
    """SERVICE_MONITOR_UNSET ends the operation, also as its only message; it is about every VM of the service."""
    decided = await stored(postgres_dsn, [*living(), *posts])
    assert {decision.outcome for decision in decided} == {Outcome.APPLIED}
    operations = await connection.fetch("SELECT state, kind FROM operations WHERE transaction_id = 'm'")
    assert [tuple(row) for row in operations] == [(ends, "disable_monitoring")]
    assert await connection.fetchval("SELECT state FROM deployments") == "ACTIVE"
    vms = await connection.fetch("SELECT state, monitored FROM vms")
    assert [tuple(row) for row in vms] == [("ALIVE", monitored)]


@pytest.mark.parametrize(("code", "ends"), [(200, "SUCCEEDED"), (500, "FAILED")])
def test_a_services_monitoring_is_switched_on(code: int, ends: str) -> None:
    """SERVICE_MONITOR_SET, by symmetry; each VM's own message says whether its monitor reached it."""
    known = world(*living(), UNSET, dep("n", "SERVICE_MONITOR_SET", ACTIVE, code=code))
    assert (known.operation("n").state, known.operation("n").kind) == (ends, "enable_monitoring")
    assert (known.vm("a").state, known.vm("a").monitored) == ("ALIVE", False)
    assert known.deployment().state == "ACTIVE"


def test_a_vm_that_its_monitor_reaches_is_monitored() -> None:
    """VM_ALIVE is what enabling a service's monitoring sends for each VM (docs/esc-callbacks.md#5)."""
    on = [dep("n", "VM_ALIVE", ACTIVE, "a", "u-a", "VM_ALIVE_STATE"), dep("n", "SERVICE_ALIVE", ACTIVE)]
    known = world(*living(), UNSET)
    assert known.vm("a").monitored is False
    known = world(*living(), UNSET, *on)
    assert known.vm("a").monitored is True
    assert known.operation("n").state == "SUCCEEDED"


def test_monitoring_of_a_stopped_service_leaves_it_stopped() -> None:
    """It says nothing of whether the service runs, unless it reports it."""
    stopped = dep("s", "SERVICE_STOPPED", "SERVICE_STOPPED_STATE")
    for stage in ("SERVICE_MONITOR_UNSET", "SERVICE_MONITOR_SET"):
        assert world(*living(), stopped, dep("m", stage, "")).deployment().state == "STOPPED"
        assert world(*living(), stopped, dep("m", stage, ACTIVE)).deployment().state == "ACTIVE"


def test_switching_off_is_about_vms_heard_of_later_too() -> None:
    """In any order of the operation's messages, every VM that is there ends without a monitor."""
    said = [UNSET, dep("m", "VM_MONITOR_UNSET", ACTIVE, "b", "u-b", "VM_ALIVE_STATE", code=500), UNSET_A]
    ends = [world(*living(), *order).end() for order in permutations(said)]
    assert ends[1:] == ends[:-1]
    assert {vm.vm_name: vm.monitored for vm in world(*living(), *said).vms()} == {"a": False, "b": False}


# A monitoring agent was moved: per VM, whether the new one took it, after the stage that closes the update.


async def test_the_new_agents_result_comes_after_the_closing_stage(postgres_dsn: str, connection: Connection) -> None:
    """200: monitored; 500: not, and the ledger says so. No state moves back, the update stays a success."""
    posts = [
        *living("a", "b"),
        dep("g", "SERVICE_UPDATED", ACTIVE),
        ev("g", "VM_SET_MONITOR_STATUS", source("a")),
        ev("g", "VM_SET_MONITOR_STATUS", source("b"), 500),
    ]
    decided = await stored(postgres_dsn, posts)
    assert [(d.outcome, d.rule) for d in decided[-2:]] == [
        (Outcome.APPLIED, "vm-monitor-taken-over"),
        (Outcome.APPLIED, "vm-monitor-lost"),
    ]
    rows = await connection.fetch("SELECT vm_name, state, monitored FROM vms ORDER BY vm_name")
    assert [tuple(row) for row in rows] == [("a", "ALIVE", True), ("b", "ALIVE", False)]
    operations = await connection.fetch("SELECT state, revised, kind FROM operations WHERE transaction_id = 'g'")
    assert [tuple(row) for row in operations] == [("SUCCEEDED", False, "update")]
    noted = await connection.fetch("SELECT name, change, reason FROM transitions WHERE change = 'unmonitored'")
    assert [(row["name"], "nobody recovers it" in row["reason"]) for row in noted] == [("b", True)]
    assert await connection.fetchval("SELECT count(*) FROM outbox WHERE subject LIKE 'esc.v1.vm.unmonitored.%.b'") == 1


def test_the_new_agents_result_is_not_late_for_an_operation_that_began_later() -> None:
    """It tells of now, whatever moved the VM meanwhile; as a stage it says the same."""
    recovery = [ev("r", "VM_RECOVERY_INIT", source("a")), ev("r", "VM_RECOVERY_COMPLETE", source("a", "u-a"))]
    updated = dep("g", "SERVICE_UPDATED", ACTIVE)
    for result in (
        ev("g", "VM_SET_MONITOR_STATUS", source("a"), 500),
        dep("g", "VM_SET_MONITOR_STATUS", ACTIVE, "a", "u-a", "VM_ALIVE_STATE", code=500),
    ):
        known = world(*living(), updated, *recovery, result)
        assert (known.vm("a").state, known.vm("a").monitored) == ("ALIVE", False)
        assert known.outcomes[-1] == Outcome.APPLIED


@pytest.mark.parametrize(("codes", "ends"), [((200, 200), "SUCCEEDED"), ((200, 500), "FAILED")])
def test_the_new_agents_results_alone_end_their_operation(codes: tuple[int, int], ends: str) -> None:
    """Where no stage of a service shares their id, nothing else would."""
    said = [ev("x", "VM_SET_MONITOR_STATUS", source(vm), code) for vm, code in zip("ab", codes, strict=True)]
    assert world(*living("a", "b"), *said).operation("x").state == ends


@pytest.mark.parametrize("event", ["VM_MONITOR_SET", "VM_SET_MONITOR_STATUS"])
def test_a_failed_monitor_after_the_closing_stage_does_not_revise_it(event: str) -> None:
    """What a service's operation ended with is its own stage; what is said of one VM is a step, in any order."""
    said = [dep("g", "SERVICE_UPDATED", ACTIVE), ev("g", event, source("a"), 500)]
    for order in permutations(said):
        operation = world(*living(), *order).operation("g")
        assert (operation.state, operation.revised) == ("SUCCEEDED", False)
