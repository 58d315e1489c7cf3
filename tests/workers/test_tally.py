"""What is told of several workers adds up and never falls, whoever ended, and whoever found what another left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client.exposition import generate_latest

from receiver.config.settings import Settings
from receiver.model.notification import Channel, Family, Outcome
from receiver.observability.labels import Refused
from receiver.observability.metrics import Metrics
from receiver.workers.tally import Report, Tally, read_report, registry_of, report_of
from tests.support.crew import SERIES, adds_up
from tests.support.scrapes import figures


class Worker:
    """What one process counts, in one spool."""

    def __init__(self, taking: str, folder: str, found: int | None = 0) -> None:
        self.metrics = Metrics(settings=Settings())
        self.metrics.count_recovered(found or 0)
        self._taken = taking, folder, found

    def receive(self, stored: int = 0, spooled: int = 0, refused: int = 0, in_hand: int = 0) -> None:
        """So many, and what became of them."""
        for _ in range(stored + spooled + refused + in_hand):
            self.metrics.count_received("default", Channel.CALLBACK)
        for _ in range(stored):
            self.metrics.count_stored("default", Family.DEPLOYMENT, Outcome.APPLIED)
        for _ in range(refused):
            self.metrics.count_refused(Refused.CANNOT_KEEP)
        self.metrics.count_spooled(spooled)

    def report(self) -> Report:
        """As it comes over the line."""
        taking, folder, found = self._taken
        sums = self.metrics.sums()
        return report_of(self.metrics.registry, sums, {taking: (folder, found, sums["spooled"])})


def told(tally: Tally, *live: Worker) -> Mapping[str, int]:
    """The sums, which are those of /metrics."""
    sums = tally.sums(one.report() for one in live)
    shown = figures(generate_latest(registry_of(tally.families(one.report() for one in live))).decode())
    assert {name: shown[series] for name, series in SERIES.items()} == sums
    assert adds_up(sums)
    return sums


def test_what_workers_counted_is_added_up_and_stays_when_they_end() -> None:
    """Gauges are those of the living."""
    tally, one, two = Tally(), Worker("a", "spool-1"), Worker("b", "spool-2")
    one.receive(stored=3, refused=1)
    two.receive(stored=2, in_hand=4)
    assert told(tally, one, two)["received"] == 10
    tally.end(one.report())
    assert told(tally, two) == {
        "received": 10, "recovered": 0, "stored": 5, "spooled": 0, "refused": 1, "lost": 0, "in_flight": 4,
        "unaccounted": 0,
    }  # fmt: skip
    tally.end(two.report())
    assert (told(tally)["in_flight"], told(tally)["unaccounted"]) == (0, 4)


def test_what_one_left_and_another_finds_is_not_counted_twice() -> None:
    """It is in the spool all the time, and recovered only by a receiver that did not receive it."""
    tally, one = Tally(), Worker("a", "spool-1", found=5)
    one.receive(spooled=7)
    assert told(tally, one)["recovered"] == 5
    tally.end(one.report())
    between = told(tally, Worker("b", "spool-1", found=None))
    assert (between["spooled"], between["recovered"], between["received"]) == (12, 5, 7)
    after = told(tally, Worker("c", "spool-1", found=12))
    assert (after["spooled"], after["recovered"], after["unaccounted"]) == (12, 5, 0)


@pytest.mark.parametrize("heard", ["before", "after"])
def test_what_was_left_is_found_and_stored_whenever_the_end_is_heard_of(heard: str) -> None:
    """Nothing of it waits: another took and emptied the spool before, or after, its owner's end was heard of."""
    tally, one = Tally(), Worker("a", "spool-1")
    one.receive(spooled=7)
    two = Worker("b", "spool-1", found=7)
    for _ in range(7):
        two.metrics.count_drained("default", Family.DEPLOYMENT, Outcome.APPLIED)
    if heard == "before":
        tally.end(one.report())
        after = told(tally, two)
    else:
        tally.sums([two.report()])
        tally.end(one.report())
        after = told(tally, two)
    assert after == {
        "received": 7, "recovered": 0, "stored": 7, "spooled": 0, "refused": 0, "lost": 0, "in_flight": 0,
        "unaccounted": 0,
    }  # fmt: skip


def test_what_a_killed_worker_did_not_tell_is_found_or_unaccounted_for() -> None:
    """It had spooled two more than it told; another had emptied part of its spool."""
    more, less = Tally(), Tally()
    for tally in (more, less):
        one = Worker("a", "spool-1")
        one.receive(spooled=4)
        tally.end(one.report())
    assert told(more, Worker("b", "spool-1", found=6))["recovered"] == 2
    assert told(less, Worker("b", "spool-1", found=1))["unaccounted"] == 3


def test_each_gauge_is_merged_as_its_meaning_asks() -> None:
    """Sums, what all tell alike, the worst of all, and the earliest moment that is one."""
    one, two = Worker("a", "spool-1"), Worker("b", "spool-2")
    for worker, value in ((one, 0.0), (two, 7.0)):
        metrics = worker.metrics
        metrics.queue_callbacks.set(value)
        metrics.operations_overdue.set(value)
        metrics.postgres_up.set(value)
        metrics.spool_oldest_timestamp_seconds.set(value)
    one.metrics.queue_callbacks.set(2)
    shown = figures(
        generate_latest(registry_of(Tally().families([as_sent(one.report()), as_sent(two.report())]))).decode()
    )
    names = ("queue_callbacks", "operations_overdue", "postgres_up", "spool_oldest_timestamp_seconds")
    assert [shown[name] for name in names] == [9, 7, 0, 7]


def as_sent(report: Report) -> Report:
    """Named tuples become lists on the way."""
    content: Any = [[list(family) for family in report.families], dict(report.sums), dict(report.spools)]
    return read_report(content)
