"""The order of deliveries, on whatever course of failures and repeats."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.config.settings import Settings
from receiver.webhooks.backoff import asked_pause_s, pause_s
from receiver.webhooks.lanes import Lanes


class Event(NamedTuple):
    """What stands in a lane."""

    sequence: int
    entity: str


def started(lanes: Lanes[Event], now_s: float = 0.0, most: int = 8) -> list[int]:
    """The sequences that may be sent."""
    return [held.event.sequence for held in lanes.startable(now_s, most)]


def test_an_event_that_waits_keeps_those_behind_it_and_no_others() -> None:
    """Only of its entity."""
    lanes: Lanes[Event] = Lanes()
    for sequence, entity in enumerate("abab", 1):
        lanes.add(Event(sequence, entity))
    first, second = lanes.startable(0.0, 8)
    assert (first.event, second.event) == (Event(1, "a"), Event(2, "b"))
    lanes.failed(first, 0.0, 10.0)
    lanes.delivered(second)
    assert started(lanes) == [4]
    assert lanes.next_due_s() == 10.0
    assert started(lanes, 10.0) == [1]


def test_nothing_is_sent_while_something_may_come_again_that_belongs_before() -> None:
    """What was given to somebody else before comes again in any order."""
    lanes: Lanes[Event] = Lanes()
    lanes.is_gathering = True
    lanes.add(Event(3, "a"))
    lanes.add(Event(2, "b"))
    assert started(lanes) == []
    lanes.add(Event(1, "a"))
    lanes.is_gathering = False
    assert started(lanes) == [1, 2]


def test_a_webhook_that_asks_for_a_rest_has_it() -> None:
    """For all its events."""
    lanes: Lanes[Event] = Lanes()
    lanes.add(Event(1, "a"))
    lanes.paused_until_s = 5.0
    assert (started(lanes, 4.9), lanes.next_due_s(), started(lanes, 5.0)) == ([], 5.0, [1])


@given(st.lists(st.sampled_from("abcd"), max_size=40), st.integers(0, 2**32))
def test_each_entity_s_events_are_taken_in_order_once_each(entities: str, seed: int) -> None:
    """Whatever order they come in again, however often they come, fail and end in another order."""
    lanes: Lanes[Event] = Lanes()
    chance = Random(seed)
    events = [Event(sequence, entity) for sequence, entity in enumerate(entities, 1)]
    before = chance.randint(0, len(events))  # were given to somebody else: they come in any order
    lanes.is_gathering = before > 0
    coming = chance.sample(events[:before], before) + events[before:]
    taken: dict[str, list[int]] = defaultdict(list)
    under_way, now_s = [], 0.0
    while coming or len(lanes):
        for event in coming[: chance.randint(0, 3)]:
            lanes.add(coming.pop(0))
            if chance.random() < 0.2:
                lanes.add(event)
        if sum(held.event.sequence <= before for held in lanes) == before:
            lanes.is_gathering = False
        under_way += lanes.startable(now_s, chance.randint(0, 4))
        assert len({held.event.entity for held in under_way}) == len(under_way)
        for held in chance.sample(under_way, chance.randint(0, len(under_way))):
            under_way.remove(held)
            if chance.random() < 0.3:
                lanes.failed(held, now_s, chance.random())
            else:
                taken[held.event.entity].append(held.event.sequence)
                lanes.delivered(held)
        now_s += 0.5
    assert taken == {entity: [event.sequence for event in events if event.entity == entity] for entity in set(entities)}
    assert lanes.next_due_s() is None


def test_pauses_double_up_to_the_longest_and_are_spread() -> None:
    """Between half of it and all."""
    settings, chance = Settings(webhook_retry_first_s=2, webhook_retry_max_s=100), Random(7)
    for failures, whole in ((1, 2), (2, 4), (3, 8), (7, 100), (10_000, 100)):
        drawn = [pause_s(failures, settings, chance) for _ in range(50)]
        assert whole / 2 <= min(drawn) < max(drawn) <= whole


NOW = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "wanted_s"),
    [
        ("7", 7), ("0", 0), ("Mon, 30 Nov 2026 12:01:00 GMT", 60), ("Mon, 30 Nov 2026 11:00:00 GMT", 0),
        ("99999999999999999999", 600), ("soon", 0), ("", 0), (None, 0), ("-5", 0), ("\u0667", 0),
        ("Mon, 30 Nov 2026 12:01:00", 0),
    ],
)  # fmt: skip
def test_retry_after_is_understood_in_both_forms(said: str | None, wanted_s: float) -> None:
    """And never for longer than is allowed."""
    assert asked_pause_s(said, NOW, 600) == wanted_s
