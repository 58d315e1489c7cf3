"""Steps of recovery and scaling that do not say which VM they are about (docs/esc-callbacks.md#10).

What a public simulator of ESC sends: a recovery that names its VM at its beginning only.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from receiver.model.notification import Outcome
from tests.support.auditor import Connection, assert_ledger_is_whole
from tests.support.field import Post, dep, ev, living, notifications, source, stored, target, world
from tests.support.lifecycle import World

INIT_A = ev("r", "VM_RECOVERY_INIT", source("a"))
INIT_B = ev("r", "VM_RECOVERY_INIT", source("b"))
UNDEPLOYED = ev("r", "VM_RECOVERY_UNDEPLOYED", source(group="g1"))
COMPLETE = ev("r", "VM_RECOVERY_COMPLETE", "<vm_source/>" + target("u-new", "h2", "g1"))
OTHER_COMPLETE = ev("r", "VM_RECOVERY_COMPLETE", "<vm_source/>" + target("u-other", "h3", "g1"))
FAILED = ev("r", "VM_RECOVERY_COMPLETE", code=500)
G1 = {"a": "g1", "b": "g1"}


def service(*names: str, groups: dict[str, str] | None = None) -> list[Post]:
    """A service that is up, with VMs of these groups: all of g1 unless said otherwise."""
    return [
        Post(post.path, post.body.replace(f"g-{name}<", f"{(groups or G1)[name]}<"), post.headers)
        for post in living(*names)
        for name in [next((one for one in names if f"g-{one}<" in post.body), names[0])]
    ]


def states(known: World) -> dict[str, tuple[str, str | None]]:
    """States and instances by VM."""
    return {vm.vm_name: (vm.state, vm.vm_uuid) for vm in known.vms()}


async def test_the_transaction_tells_which_vm_recovered(postgres_dsn: str, connection: Connection) -> None:
    """INIT names it, nothing after it does."""
    await stored(postgres_dsn, [*service("a"), INIT_A, UNDEPLOYED, COMPLETE])
    vms = await connection.fetch("SELECT state, vm_uuid, host_name, recovery_open FROM vms")
    assert [tuple(row) for row in vms] == [("ALIVE", "u-new", "h2", False)]
    aliases = await connection.fetch("SELECT vm_uuid, valid_to IS NULL FROM vm_aliases ORDER BY vm_uuid")
    assert [tuple(row) for row in aliases] == [("u-a", False), ("u-new", True)]
    last = await connection.fetchrow("SELECT * FROM transitions WHERE entity = 'vm' ORDER BY sequence DESC LIMIT 1")
    assert last is not None
    assert (last["rule"], last["trigger"]) == ("vm-recovered", "VM_RECOVERY_COMPLETE")
    assert "its transaction knows one VM that is recovering" in last["reason"]
    operations = await connection.fetch("SELECT state, vms_alive FROM operations WHERE transaction_id = 'r'")
    assert [tuple(row) for row in operations] == [("SUCCEEDED", 1)]
    await assert_ledger_is_whole(connection)


@pytest.mark.parametrize("together", [1, 100])
async def test_a_recovery_that_failed_without_naming_its_vm(
    postgres_dsn: str, connection: Connection, together: int
) -> None:
    """The VM is in ERROR, and so is its deployment: undeploy and deploy again (docs/esc-callbacks.md#A52)."""
    await stored(postgres_dsn, [*service("a", "b"), INIT_A, FAILED], together)
    vms = await connection.fetch("SELECT vm_name, state, recovery_open FROM vms ORDER BY vm_name")
    assert [tuple(row) for row in vms] == [("a", "ERROR", False), ("b", "ALIVE", False)]
    assert await connection.fetchval("SELECT state FROM deployments") == "ERROR"
    assert await connection.fetchval("SELECT state FROM operations WHERE transaction_id = 'r'") == "FAILED"
    await assert_ledger_is_whole(connection)


async def test_of_two_vms_neither_is_guessed(postgres_dsn: str, connection: Connection) -> None:
    """Both stay as they are, and callback and deployment say so."""
    decided = await stored(postgres_dsn, [*service("a", "b"), INIT_A, INIT_B, COMPLETE])
    assert [(vm, state) for vm, state in await connection.fetch("SELECT vm_name, state FROM vms ORDER BY 1")] == [
        ("a", "RECOVERING"),
        ("b", "RECOVERING"),
    ]
    assert decided[-1].rule == "step-unattributed"
    assert "it may be any of those that is recovering: a, b" in decided[-1].reason
    assert (
        await connection.fetchval("SELECT change FROM transitions WHERE rule = 'step-unattributed'") == "unattributed"
    )


def test_steps_without_a_vm_end_the_same_in_any_order() -> None:
    """With one candidate it is that one, with two none; also when the second turns up last."""
    one = [world(*service("a", "b"), *order) for order in permutations([INIT_A, UNDEPLOYED, COMPLETE])]
    assert {tuple(states(known).items()) for known in one} == {(("a", ("ALIVE", "u-new")), ("b", ("ALIVE", "u-b")))}
    two = [world(*service("a", "b"), *order) for order in permutations([INIT_A, INIT_B, COMPLETE, COMPLETE])]
    assert {tuple(states(known).items()) for known in two} == {
        (("a", ("RECOVERING", "u-a")), ("b", ("RECOVERING", "u-b")))
    }
    assert all(known.end() == two[0].end() for known in two)


def test_what_was_taken_back_stands_in_the_ledger() -> None:
    """A second VM turns up: the end that was taken for the first one's may be its."""
    known = world(*service("a", "b"), INIT_A, COMPLETE, INIT_B)
    moves = [(t.change, t.rule) for t in known.ledger if t.name == "a"][-3:]
    assert moves == [
        ("recovering", "vm-recovery-started"),
        ("alive", "vm-recovered"),
        ("recovering", "step-taken-back"),
    ]
    assert [t.sequence for t in known.ledger if t.name == "a"] == list(range(1, 6))
    ends = {alias.vm_uuid: alias.valid_to for alias in known.aliases}
    assert (ends["u-a"], ends["u-new"] is None) == (None, False)


def test_as_many_ends_as_vms_end_them_all() -> None:
    """Which instance is whose stays unknown."""
    for order in permutations([INIT_A, INIT_B, COMPLETE, OTHER_COMPLETE]):
        assert states(world(*service("a", "b"), *order)) == {"a": ("ALIVE", "u-a"), "b": ("ALIVE", "u-b")}


def test_a_vm_that_a_step_names_is_out_of_the_question() -> None:
    """Its recovery has ended by name: what names none is the other's."""
    named = ev("r", "VM_RECOVERY_COMPLETE", source("b", "u-b") + target("u-b2", name="b"))
    for order in permutations([INIT_A, INIT_B, named, COMPLETE]):
        assert states(world(*service("a", "b"), *order)) == {"a": ("ALIVE", "u-new"), "b": ("ALIVE", "u-b2")}


def test_the_group_tells_two_candidates_apart() -> None:
    """As does an instance that is known."""
    base = service("a", "b", groups={"a": "g1", "b": "g2"})
    known = world(*base, INIT_A, INIT_B, COMPLETE)
    assert states(known) == {"a": ("ALIVE", "u-new"), "b": ("RECOVERING", "u-b")}
    rebooted = ev("r", "VM_RECOVERY_COMPLETE", "<vm_source/>" + target("u-b", "h1", "g1"))
    known = world(*service("a", "b"), INIT_A, INIT_B, rebooted)
    assert states(known) == {"a": ("RECOVERING", "u-a"), "b": ("ALIVE", "u-b")}


def test_a_group_of_one_tells_which_when_nothing_else_does() -> None:
    """The message that named it was lost; of a larger group, or without one, nothing is assumed."""
    failed = ev("r", "VM_RECOVERY_COMPLETE", source(group="g1"), 500)
    alone = service("a", "b", groups={"a": "g1", "b": "g2"})
    for first, vms in ((alone, {"a": "ERROR", "b": "ALIVE"}), (service("a", "b"), {"a": "ALIVE", "b": "ALIVE"})):
        known = world(*first, failed)
        assert {vm.vm_name: vm.state for vm in known.vms()} == vms
        assert known.deployment().state == "ERROR"
    assert world(*alone, FAILED).vm("a").state == "ALIVE"
    assert world(*alone, INIT_B, failed).vm("a").state == "ALIVE"  # b recovers, and it is of another group


def test_after_the_reorder_window_what_was_done_stays() -> None:
    """Another VM that recovers long after it under the same id has an end of its own."""
    known = World()
    known.hear(*notifications([*service("a", "b"), INIT_A, COMPLETE]))
    for post, at_s in ((INIT_B, 1_000), (OTHER_COMPLETE, 1_001)):
        (n,) = (callback for callback in notifications_at(post, at_s))
        known.hear(n)
    assert states(known) == {"a": ("ALIVE", "u-new"), "b": ("ALIVE", "u-other")}


def test_another_operation_settles_what_was_done() -> None:
    """What it finds stays as it found it."""
    stop = ev("s", "VM_STOP_COMPLETE", source("a", "u-new"))
    known = world(*service("a", "b"), INIT_A, COMPLETE, stop, INIT_B)
    assert states(known) == {"a": ("STOPPED", "u-new"), "b": ("RECOVERING", "u-b")}


def test_without_a_transaction_the_one_that_recovers_is_meant() -> None:
    """Two are not told apart."""

    def without_id(post: Post) -> Post:
        return Post(post.path, post.body, {"ESC-Status-Code": post.headers["ESC-Status-Code"]})

    init_a, init_b, complete, failed = (without_id(post) for post in (INIT_A, INIT_B, COMPLETE, FAILED))
    assert states(world(*service("a", "b"), init_a, complete))["a"] == ("ALIVE", "u-new")
    assert states(world(*service("a", "b"), init_a, failed))["a"] == ("ERROR", "u-a")
    assert states(world(*service("a", "b"), init_a, init_b, complete))["a"] == ("RECOVERING", "u-a")


@pytest.mark.parametrize(("code", "state"), [(200, "ALIVE"), (500, "ERROR")])
@pytest.mark.parametrize("inner", ["", "<vm_source/><vm_target/>", source("a", "u-a")])
def test_scaling_out_ends_without_naming_the_new_vm(code: int, state: str, inner: str) -> None:
    """It is the one that this operation has created, in any order; else the failure is noted."""
    created = ev("o", "VM_SCALE_OUT_DEPLOYED", source("a", "u-a") + target("u-c", name="c"))
    complete = ev("o", "VM_SCALE_OUT_COMPLETE", inner, code)
    for order in permutations([created, complete]):
        assert states(world(*service("a"), *order)) == {"a": ("ALIVE", "u-a"), "c": (state, "u-c")}
    known = world(*service("a"), complete)
    assert states(known) == {"a": ("ALIVE", "u-a")}
    assert known.operation("o").vms_failed == (code == 500)
    noted = [t.change for t in known.ledger if t.entity == "deployment" and t.operation == "o"]
    assert noted == ["operation_failed" if code == 500 else "unattributed"]


@pytest.mark.parametrize(("code", "state"), [(200, "UNDEPLOYED"), (500, "ALIVE")])
def test_scaling_in_ends_without_naming_the_vm(code: int, state: str) -> None:
    """It is the one that INIT has chosen."""
    said = [ev("i", "VM_SCALE_IN_INIT", source("b")), ev("i", "VM_SCALE_IN_COMPLETE", code=code)]
    for order in permutations(said):
        known = world(*service("a", "b"), *order)
        assert {vm.vm_name: vm.state for vm in known.vms()} == {"a": "ALIVE", "b": state}


def test_a_failed_undeploy_of_a_nameless_vm_is_noted_and_counted() -> None:
    """ESC names neither VM nor group, and nothing before it did; what comes of it the service's own stage says."""
    failed = dep("u", "VM_UNDEPLOYED", "SERVICE_UNDEPLOYING_STATE", code=500)
    known = world(*service("a", "b"), failed)
    assert known.operation("u").vms_failed == 1
    assert [t.rule for t in known.ledger if t.entity == "deployment"][-1] == "nameless-failure"
    known.hear(*notifications([dep("u", "SERVICE_UNDEPLOYED", "", code=500)], 20))
    assert {vm.state for vm in known.vms()} == {"UNDEPLOYED"}
    assert known.deployment().vim_leak_suspected


def test_a_failed_step_that_names_no_vm_fails_no_vm() -> None:
    """A recovery goes on with the next step: nothing is counted until it is given up."""
    reboot = ev("r", "VM_RECOVERY_REBOOT", code=500)
    known = world(*service("a", "b"), INIT_A, reboot)
    assert (known.operation("r").vms_failed, known.vm("a").state) == (0, "RECOVERING")
    known = world(*service("a", "b"), INIT_A, reboot, FAILED, FAILED)
    assert (known.operation("r").vms_failed, known.vm("a").state) == (1, "ERROR")
    assert known.outcomes[-1] == Outcome.DUPLICATE


def notifications_at(post: Post, at_s: float) -> list[Any]:
    """One message, received so late."""
    (n,) = notifications([post], int(at_s))
    return [n]
