"""What `make cluster` reckons with. The drill itself takes minutes and programs of its own, and is run by hand."""

from __future__ import annotations

import pytest

from chaos.availability.drill import drawn
from chaos.availability.strikes import STRIKES
from chaos.availability.watch import Pause, beyond, longest, pauses

WINDOW = Pause(10, 20)
TIMES = (8, 9.5, 10.5, 13, 13.1, 19, 23, 24)


def test_a_pause_counts_when_part_of_it_lies_in_the_window() -> None:
    """Also one that begins before, or ends after it; not what ends or begins just there."""
    assert pauses(TIMES, WINDOW) == [(9.5, 10.5), (10.5, 13), (13, 13.1), (13.1, 19), (19, 23)]
    assert pauses(TIMES, WINDOW, least_s=2) == [(10.5, 13), (13.1, 19), (19, 23)]
    assert longest(TIMES, WINDOW) == (13.1, 19)
    assert longest((), WINDOW).length_s == 0


@pytest.mark.parametrize(
    ("outages", "left_s"),
    [
        ([], 10),
        ([(0, 5)], 10),
        ([(8, 12)], 8),
        ([(12, 14), (15, 16)], 7),
        ([(15, 16), (12, 17), (13, 14)], 5),
        ([(18, 30)], 8),
        ([(0, 30), (12, 13)], 0),
    ],
)
def test_what_is_left_of_a_pause_without_the_engines_outages(outages: list[tuple[float, float]], left_s: float) -> None:
    """Each second of an outage counts once, and only within the pause."""
    assert beyond(WINDOW, [Pause(*one) for one in outages]) == pytest.approx(left_s)


def test_a_seed_gives_each_strike_and_the_same_pairs_at_different_programs() -> None:
    """So that a run can be tried again."""
    order = drawn(3, 6)
    assert order == drawn(3, 6) != drawn(4, 6)
    assert [names for names in order if len(names) == 1] == [(name,) for name in STRIKES]
    pairs = [names for names in order if len(names) == 2]
    assert len(pairs) == 6
    assert all(STRIKES[one].on != STRIKES[other].on for one, other in pairs)
