"""What the supervisor decides by itself; how it looks after real workers: `test_workers`."""

from __future__ import annotations

from receiver.workers.supervisor import restart_pause_s


def test_pauses_double_up_to_the_longest_however_often_a_worker_has_died() -> None:
    """Thousands of times, when its database is wrong for a night."""
    assert [restart_pause_s(deaths, 5) for deaths in (1, 2, 3, 4, 5, 6, 2_000)] == [0, 0.5, 1, 2, 4, 5, 5]
