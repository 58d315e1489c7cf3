"""The heart of asking: callbacks lost, late or in another order, ESC asked at any time, its answers judged at any; and
after one more sweep what is known is what ESC has. Where nothing is lost, asking changes nothing."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.lifecycle import DelayedContext
from receiver.model.entities import Operation
from tests.support.asked_esc import SERVICE_OPERATIONS, AskedEsc, Asking

WINDOW_S = 300.0
NAMES = ("d1", "d2")
REQUESTS = (
    "deploy", "deploy", "undeploy", "undeploy", "update", *SERVICE_OPERATIONS, "scale_out", "scale_in", "die-reboot",
    "die-redeploy", "die-never", "die-by-itself",
)  # fmt: skip
FAULTS = ("", "", "", "vm-fails", "vm-silent", "work-fails")

FATES = st.sampled_from(["kept", "kept", "lost", "late", "spooled"])

NOTHING = b"<deployments/>"
names, turns = st.sampled_from(NAMES), st.integers(1, 6)
operations = st.tuples(
    st.just("operate"), names, st.integers(0, len(REQUESTS) - 1), st.sampled_from(FAULTS),
    st.lists(FATES, min_size=1, max_size=12), st.booleans(),
)  # fmt: skip
steps = st.tuples(st.just("step"), names, FATES, turns)
questions = st.tuples(st.just("ask"), st.integers(0, 4))
silences = st.tuples(st.just("silence"), st.sampled_from([1.0, 60.0, WINDOW_S + 60, 5_000.0]))
failovers = st.tuples(st.just("fail_over"))
amnesias = st.tuples(st.just("forget"))
events = st.one_of(operations, operations, operations, steps, questions, silences, failovers, amnesias)
BEGIN = [("operate", name, 0, "", ["kept"], True) for name in NAMES]


class Story:
    """Events one after the other; what is on its way arrives when its time has come."""

    def __init__(self) -> None:
        self.asking = Asking(AskedEsc())
        self.on_its_way: list[tuple[int, Any]] = []
        self.turn = 0

    def play(self, said: list[Any]) -> Asking:
        """All of them, and then everything that is on its way."""
        for one in said:
            self.turn += 1
            self.asking.now_s += 1
            getattr(self, one[0])(*one[1:])
            self.arrive()
        self.turn += 100
        self.arrive()
        return self.asking

    def arrive(self) -> None:
        """What is due."""
        due = [what for turn, what in self.on_its_way if turn <= self.turn]
        self.on_its_way = [one for one in self.on_its_way if one[0] > self.turn]
        for what in due:
            what()

    def operate(self, name: str, first: int, fault: str, fates: list[str], to_the_end: bool) -> None:
        """The first of all operations, from this one on, that ESC takes; to its end, or one step for each fate."""
        esc = self.asking.asked
        for what in (*REQUESTS[first:], *REQUESTS[:first]):
            esc.esc.faults.armed = {fault: 1} if fault else {}
            if esc.request(what, name):
                break
        esc.esc.faults.armed = {}
        steps = itertools.cycle(fates) if to_the_end else iter(fates)
        while name in esc.under_way and (fate := next(steps, None)):
            self.asking.now_s += 1
            self.step(name, fate, 3)

    def step(self, name: str, fate: str, turns: int) -> None:
        """The next message."""
        if (found := self.asking.asked.step(name)) is None:
            return
        message = found[1]
        if fate == "kept":
            self.asking.hear(message)
        elif fate == "late":
            self.on_its_way.append((self.turn + turns, lambda: self.asking.hear(message)))
        elif fate == "spooled":
            n = self.asking.read(message)
            self.on_its_way.append((self.turn + turns, lambda: self.asking.world.hear(n, delayed=DelayedContext())))

    def ask(self, turns: int) -> None:
        """ESC answers now; the answer is judged later."""
        body, asked_s = self.asking.asked.answer(), self.asking.now_s
        assert body is not None
        self.on_its_way.append((self.turn + turns, lambda: self.asking.judge_list(body, asked_s)))

    def forget(self) -> None:
        """ESC has taken over from itself, knows nothing, and is believed."""
        self.asking.judge_list(NOTHING, self.asking.now_s)

    def silence(self, seconds: float) -> None:
        """Nothing happens."""
        self.asking.now_s += seconds

    def fail_over(self) -> None:
        """ESC loses what it does."""
        self.asking.asked.fail_over()


@settings(max_examples=200, deadline=None)
@given(said=st.lists(events, min_size=1, max_size=30))
def test_after_one_more_sweep_what_is_known_is_what_esc_has(said: list[Any]) -> None:
    """Deployments, VMs, their instances and counts; and the ledger of each entity goes on without a gap."""
    asking = Story().play([*BEGIN, *said])
    asking.now_s += WINDOW_S + 60
    asking.sweep()
    assert asking.differences() == []
    assert [decision.rule for decision in asking.sweep() if decision.transitions] == []
    assert_ledger_is_whole(asking)


@settings(max_examples=50, deadline=None)
@given(said=st.lists(st.tuples(names, st.integers(0, len(REQUESTS) - 1), st.sampled_from(FAULTS)), max_size=8))
def test_where_nothing_is_lost_asking_changes_nothing(said: list[Any]) -> None:
    """Whatever operations there are: what callbacks told is what ESC says, and it stays so."""
    story = Story()
    for name, first, fault in [("d1", 0, ""), ("d2", 0, ""), *said]:
        asking = story.play([("operate", name, first, fault, ["kept"], True)])
        asking.now_s += WINDOW_S + 60
        changes = [transition for decision in asking.sweep() for transition, _ in decision.transitions]
        assert changes == [], (name, first, fault)


def assert_ledger_is_whole(asking: Asking) -> None:
    """Numbers without a gap, each entry from where the one before led, the last to where the entity stands."""
    rows = asking.world.rows
    last: dict[Any, tuple[int, str]] = {}
    for entry in asking.world.ledger:
        number, state = last.get(entry.entity_id, (0, "UNSEEN"))
        assert (entry.sequence, entry.from_state) == (number + 1, state), entry
        last[entry.entity_id] = entry.sequence, entry.to_state
    for entity, (number, state) in last.items():
        assert (rows[entity].sequence, rows[entity].state) == (number, state), rows[entity]
    for one in asking.world.all(Operation):
        assert (one.ended_at is not None) == (one.state in ("SUCCEEDED", "FAILED", "CANCELLED")), one
