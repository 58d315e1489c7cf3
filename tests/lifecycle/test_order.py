"""Any order and any repetition of one operation's messages ends in the same state (docs/promises.md#promise-6)."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from receiver.lifecycle import stage_rules
from receiver.model.entities import DeploymentState, Vm
from receiver.model.notification import Notification
from tests.support.lifecycle import World, notification

STATES = st.sampled_from([None, "INERT", "ALIVE", "STOPPED", "ERROR", "STARTING"])
SERVICES = st.sampled_from([None, *DeploymentState])
NAMES = st.sampled_from(["a", "b"])
GROUPS = {"a": "g", "b": "g", "c": "h"}
UUIDS = st.sampled_from(["u1", "u2", "u3", None])
VM_TRIGGERS = sorted({trigger for trigger, _ in stage_rules.VM})
SERVICE_TRIGGERS = sorted({t for t, _ in stage_rules.DEPLOYMENT if t.startswith("SERVICE")})


Said = dict[str, Any]


@st.composite
def messages(draw: Any) -> Said:
    """The words of one message, as `notification` takes them."""
    trigger = draw(st.sampled_from(VM_TRIGGERS + SERVICE_TRIGGERS * 2))
    said = {
        "trigger": trigger,
        "failed": draw(st.booleans()),
        "service": draw(SERVICES),
        "number": draw(st.integers(0, 2)),
    }
    said["external"] = draw(st.sampled_from(["e1", "e1", "e1", "e2"]))
    if not trigger.startswith("SERVICE") and draw(st.integers(0, 9)):
        said |= {"vm": draw(NAMES), "uuid": draw(UUIDS), "state": draw(STATES)}
        said |= {"target": draw(UUIDS), "target_name": draw(NAMES)} if draw(st.booleans()) else {}
    return said


@st.composite
def workflow_messages(draw: Any) -> Said:
    """Those of recovery and scaling, and what else may be said meanwhile: many do not say which VM they are about."""
    trigger = draw(st.sampled_from([*sorted(stage_rules.WORKFLOWS), "VM_ALIVE", "VM_UNDEPLOYED", "VM_MONITOR_UNSET"]))
    said: Said = {"trigger": trigger, "failed": draw(st.booleans()), "number": draw(st.integers(0, 1))}
    match draw(st.sampled_from(["named", "named", "group", "target", "nothing", "service"])):
        case "named":
            name = draw(st.sampled_from(sorted(GROUPS)))
            said |= {"vm": name, "uuid": draw(UUIDS), "group": GROUPS[name]}
            said |= {"target": draw(UUIDS), "target_name": name} if draw(st.booleans()) else {}
        case "group":
            said |= {"group": draw(st.sampled_from(["g", "h"]))}
        case "target" if trigger in stage_rules.WORKFLOWS and trigger != "VM_SCALE_OUT_DEPLOYED":
            said |= {"target": draw(st.sampled_from(["u1", "u2", "u4", "u5"])), "group": draw(st.sampled_from("gh"))}
        case "service":
            said |= {"trigger": draw(st.sampled_from(SERVICE_TRIGGERS))}
    return said


def heard(said: list[Said], txn: str, start_s: float = 0.0) -> list[Notification]:
    """The messages, received in this order, one a second."""
    return [notification(**{"txn": txn, **words}, at_s=start_s + i) for i, words in enumerate(said)]


def shuffled(said: list[Said], seed: int) -> list[Said]:
    """In another order, and some of them twice."""
    rng = random.Random(seed)
    again = [n for n in said if rng.random() < 0.3]
    return rng.sample(said + again, len(said) + len(again))


def recovered(source: str, target: str) -> Said:
    """A recovery's end, by which one instance takes the place of another."""
    words = {"trigger": "VM_RECOVERY_COMPLETE", "failed": False, "service": None, "number": 0, "external": "e1"}
    return words | {"vm": "a", "uuid": source, "state": None, "target": target, "target_name": "b"}


@settings(max_examples=400, deadline=None)
@given(
    before=st.lists(messages(), max_size=4),
    said=st.lists(messages(), min_size=2, max_size=7),
    seed=st.integers(0, 2**32),
)
@example(before=[], said=[recovered("u1", "u3"), recovered("u3", "u2")], seed=3)
def test_any_order_and_repetition_of_an_operation_ends_the_same(
    before: list[Said], said: list[Said], seed: int
) -> None:
    """Whatever was before it, one operation's messages in any order, some twice, agree on states, flags and ids."""
    assert_order_makes_no_difference(before, said, seed)


@settings(max_examples=600, deadline=None)
@given(
    before=st.lists(workflow_messages(), max_size=4),
    said=st.lists(workflow_messages(), min_size=2, max_size=7),
    seed=st.integers(0, 2**32),
)
def test_any_order_of_steps_that_name_no_vm_ends_the_same(before: list[Said], said: list[Said], seed: int) -> None:
    """Whichever VM such a step is about: that is found out from all that is said, in whatever order."""
    living = [
        {"trigger": "VM_ALIVE", "vm": name, "uuid": f"u-{name}", "group": group} for name, group in GROUPS.items()
    ]
    assert_order_makes_no_difference([*living, *before], said, seed)


@settings(max_examples=400, deadline=None)
@given(
    before=st.lists(st.one_of(messages(), workflow_messages()), max_size=4),
    said=st.lists(st.one_of(messages(), workflow_messages()), min_size=1, max_size=6),
)
@example(
    before=[{"trigger": "VM_ALIVE", "vm": "a", "uuid": "u1"}],
    said=[{"trigger": "VM_RECOVERY_INIT", "vm": "a", "uuid": "u1"}, recovered("u1", "u2")],
)
def test_the_last_operation_is_the_one_that_moved_the_vm(before: list[Said], said: list[Said]) -> None:
    """Whenever a message about it does, a recovery's too. What went with its deployment had no message of its own."""
    world = World()
    for n in heard(before, "t0") + heard(said, "t1", 10):
        for transition, entity in world.hear(n).transitions:
            moved = transition.from_state != transition.to_state
            if isinstance(entity, Vm) and moved and transition.rule != "deployment-gone":
                assert entity.last_operation, transition
                assert entity.last_operation["transaction_id"] == n.transaction_id, transition


def assert_order_makes_no_difference(before: list[Said], said: list[Said], seed: int) -> None:
    """The messages in one order, and in another with some of them twice, from the same beginning."""
    base = World()
    for n in heard(before, "t0"):
        base.hear(n)
    straight, shaken = base.fork(), base.fork()
    for n in heard(said, "t1", 10):
        straight.hear(n)
    for n in heard(shuffled(said, seed), "t1", 10):
        shaken.hear(n)
    assert shaken.end() == straight.end()
