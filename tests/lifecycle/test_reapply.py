"""A callback judged again does only what it has not done before: nothing, as long as it reads as it did."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from hypothesis import example, given, settings
from hypothesis import strategies as st

from receiver.lifecycle.reapply import EarlierResult, Entry, decide_again, has_news
from receiver.model.entities import Decision
from receiver.model.entity_ids import replay_transition_id
from receiver.model.notification import Family, Notification, Outcome
from tests.lifecycle.test_order import Said, messages
from tests.support.lifecycle import EPOCH, World, notification

NOW = EPOCH + timedelta(days=10)
GAPS_S = st.sampled_from([0.5, 2.0, 100.0, 299.0, 400.0, 5_000.0])
TRANSACTIONS = st.sampled_from(["t1", "t2", "t3", None])


def told(history: list[tuple[Said, str | None, float]]) -> list[Notification]:
    """The messages, each so long after the one before."""
    at_s, heard = 0.0, []
    for place, (said, txn, gap_s) in enumerate(history):
        at_s += gap_s
        heard.append(replace(notification(**{**said, "txn": txn}, at_s=at_s), receipt=UUID(int=place + 1)))
    return heard


def done_by(world: World) -> defaultdict[UUID | None, set[Entry]]:
    """What the ledger says of each callback."""
    entries: defaultdict[UUID | None, set[Entry]] = defaultdict(set)
    for entry in world.ledger:
        entries[entry.receipt].add((entry.entity_id, entry.change, entry.rule))
    return entries


def again(world: World, n: Notification, done: EarlierResult) -> Decision:
    """Judged once more, ten days later."""
    return decide_again(world.current(n), n, world.windows, done, NOW)


def about_b(trigger: str, uuid: str, *, failed: bool = False) -> Said:
    """The words of a message about the VM b."""
    return {"trigger": trigger, "failed": failed, "vm": "b", "uuid": uuid}


UNSEEN_THOUGH_SPOKEN_OF = [
    (about_b("VM_SCALE_IN_INIT", "u2"), "t2", 0.5),
    (about_b("VM_ALIVE", "u1", failed=True), "t1", 0.5),
    (about_b("VM_ALIVE", "u2"), "t2", 0.5),
    (about_b("VM_SCALE_IN_INIT", "u2"), "t1", 0.5),
]
"""Facts of the VM are learned, but nothing moves it: it has no time of its last move to compare with."""


@settings(max_examples=400)
@example(history=UNSEEN_THOUGH_SPOKEN_OF)
@given(history=st.lists(st.tuples(messages(), TRANSACTIONS, GAPS_S), min_size=1, max_size=14))
def test_what_was_applied_has_nothing_new_to_do(history: list[tuple[Said, str | None, float]]) -> None:
    """Whatever came before and after it, however late, with one id or another or none."""
    world, heard = World(), told(history)
    for n in heard:
        world.hear(n)
    entries = done_by(world)
    for n, outcome in zip(heard, world.outcomes, strict=True):
        if outcome in (Outcome.APPLIED, Outcome.LATE):
            done = EarlierResult(entries[n.receipt], reads_alike=True)
            assert not has_news(again(world, n, done), done), n


def test_what_was_late_then_is_late_though_it_would_not_be_today() -> None:
    """An instance that was replaced shows up again: what told of it in between has nothing to do (found above)."""
    world, stray = World(), notification("VM_ALIVE", vm="a", uuid="u1", txn="t3", at_s=3)
    world.hear(notification("VM_ALIVE", vm="a", uuid="u1", txn="t1", at_s=1))
    world.hear(notification("VM_RECOVERY_DEPLOYED", vm="a", uuid="u2", txn="t2", at_s=2, family=Family.VM_EVENT))
    world.hear(stray, notification("VM_ALIVE", vm="a", uuid="u1", txn="t2", at_s=4))
    done = EarlierResult(done_by(world)[stray.receipt], reads_alike=True)
    assert not has_news(again(world, stray, done), done)


def test_what_reads_otherwise_is_appended_as_a_replay() -> None:
    """With ids of its own, at the time of the replay; what it did before is not done again."""
    world, meant = World(), notification("VM_ALIVE", vm="a", service="INERT", at_s=1)
    world.hear(notification("VM_DEPLOYED", vm="a"), replace(meant, vm=None))
    assert world.vm().state == "INERT"
    done = EarlierResult(done_by(world)[meant.receipt])
    decision = again(world, meant, done)
    ((entry, vm),) = decision.transitions
    assert (entry.from_state, entry.to_state, entry.rule) == ("INERT", "ALIVE", "vm-alive")
    assert (entry.trigger, entry.at, entry.receipt, entry.sequence) == ("replay", NOW, meant.receipt, vm.sequence)
    assert entry.id == replay_transition_id(meant.receipt, vm.id, vm.sequence)
    assert has_news(decision, done)


def test_what_was_never_applied_is_judged_by_its_arrival() -> None:
    """As if it had been spooled until now."""
    world = World()
    world.hear(notification("VM_ALIVE", vm="a"), notification("VM_STOPPED", vm="b", txn="t2", at_s=100))
    world.hear(notification("VM_ALIVE", vm="b", txn="t3", at_s=200))
    stopped = again(world, notification("VM_STOPPED", vm="a", txn="t4", at_s=50), EarlierResult())
    assert stopped.transitions[0][0].to_state == "STOPPED"
    late = again(world, notification("VM_STOPPED", vm="b", txn="t5", at_s=150), EarlierResult())
    assert late.outcome is Outcome.LATE
    assert {entry.entity for entry, _ in late.transitions} == {"operation"}


def test_entities_it_has_moved_are_left_alone_while_another_is_moved() -> None:
    """The deployment was moved by it, and by others since; the VM it names was not understood then."""
    world = World()
    meant = notification("VM_ALIVE", vm="a", service="INERT", at_s=1)
    world.hear(replace(meant, vm=None))
    before = world.deployment()
    assert before.state == "INERT"
    decision = again(world, meant, EarlierResult(done_by(world)[meant.receipt]))
    assert {t.entity for t, _ in decision.transitions} == {"vm"}


def test_what_was_told_is_not_told_again() -> None:
    """Another message has since left a fact untold; judged again, the first one does not fill it in."""
    world = World()
    world.hear(notification("VM_ALIVE", vm="b", uuid="u1", at_s=0))
    first = notification("VM_RECOVERY_CANCELLED", vm="b", uuid="u2", state="INERT", txn="t2", at_s=1)
    world.hear(first, notification("VM_RECOVERY_CANCELLED", vm="b", uuid="u1", txn="t1", at_s=2))
    done = EarlierResult(done_by(world)[first.receipt], reads_alike=True)
    assert again(world, first, done).transitions == ()
