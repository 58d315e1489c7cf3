"""Figures: known label sets start at zero, steps add up, and both formats can be scraped."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_prometheus

from receiver.entities import VmState
from receiver.metrics import BODY_BYTES, UNKNOWN_SOURCE, Metrics, Refused, Rejected
from receiver.notification import Family, Outcome
from receiver.tally import Spread, Tally


def samples(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    """All figures of one name, by their label values."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name
    }


def test_known_label_sets_start_at_zero() -> None:
    """So that a rate is right from the first event on."""
    registry = Metrics(["default", "lab"]).registry
    assert samples(registry, "esc_receiver_refused_total") == {(reason,): 0 for reason in Refused}
    assert samples(registry, "esc_receiver_rejected_before_routing_total") == {(reason,): 0 for reason in Rejected}
    assert samples(registry, "esc_receiver_stored_total") == dict.fromkeys(
        product(["default", "lab"], Family, Outcome), 0
    )
    assert samples(registry, "esc_receiver_received_total") == dict.fromkeys(
        product(["default", "lab", UNKNOWN_SOURCE], ["callback", "events", "root"]), 0
    )
    assert ("vm", VmState.ALIVE) in samples(registry, "esc_receiver_transitions_total")


steps = st.lists(
    st.tuples(st.just("kept"), st.sampled_from(Family), st.sampled_from(Outcome))
    | st.tuples(st.just("refused"), st.sampled_from(Refused))
    | st.tuples(st.just("arrived"), st.sampled_from(["callback", "events", "root"]))
)


@given(steps)
def test_the_counts_add_up_after_every_step(story: list[tuple[str, ...]]) -> None:
    """received = stored + refused + in flight, whatever happens."""
    metrics = Metrics()
    for what, *how in story:
        if what == "arrived":
            metrics.arrived("default", *how)
        elif metrics.sums()["in_flight"] and what == "kept":
            metrics.kept("default", *how)
        elif metrics.sums()["in_flight"]:
            metrics.refuse(Refused(how[0]))
        sums = metrics.sums()
        assert sums["received"] == sums["stored"] + sums["refused"] + sums["in_flight"]
    totals = {
        name: sum(samples(metrics.registry, f"esc_receiver_{name}_total").values())
        for name in ("received", "stored", "refused")
    }
    assert totals | samples_in_flight(metrics) == metrics.sums()


def samples_in_flight(metrics: Metrics) -> dict[str, float]:
    """As a scrape shows it."""
    return {"recovered": 0, "spooled": 0, "in_flight": samples(metrics.registry, "esc_receiver_in_flight")[()]}


def test_both_formats_can_be_read() -> None:
    """By the client's own parsers."""
    metrics = Metrics()
    metrics.arrived("default", "callback")
    metrics.body_bytes.observe(1448)
    prometheus = {family.name for family in read_prometheus(generate_latest(metrics.registry).decode())}
    text = openmetrics.generate_latest(metrics.registry).decode()  # type: ignore[no-untyped-call]  # theirs has no types
    modern = {family.name for family in read_openmetrics(text)}  # type: ignore[no-untyped-call]  # likewise
    assert {"esc_receiver_received", "esc_receiver_body_bytes"} <= prometheus & modern


def test_nothing_that_names_one_thing_is_a_label() -> None:
    """No id of a VM, a deployment or a transaction: labels are few and known."""
    labels = {
        label
        for family in Metrics().registry.collect()
        for sample in family.samples
        if sample.name.startswith("esc_receiver_")
        for label in sample.labels
    }
    assert labels == {
        "source",
        "channel",
        "family",
        "outcome",
        "reason",
        "entity",
        "to_state",
        "stream",
        "version",
        "python",
        "mode",
        "le",
    }


@given(st.lists(st.floats(0, 2e6) | st.sampled_from(BODY_BYTES)))
def test_our_histogram_counts_as_prometheus_does(observations: list[float]) -> None:
    """Only without locks."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    quick = Spread("x", "X", BODY_BYTES, ours)
    slow = Histogram("x", "X", buckets=BODY_BYTES, registry=theirs)
    for observation in observations:
        quick.observe(observation)
        slow.observe(observation)
    for name in ("x_bucket", "x_count", "x_sum"):
        assert samples(ours, name) == pytest.approx(samples(theirs, name))


def test_our_counter_counts_as_prometheus_does() -> None:
    """Only without locks."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    quick, slow = Tally("x", "X", ["a"], ours), Counter("x", "X", ["a"], registry=theirs)
    for counter in (quick, slow):
        counter.labels("1").inc()
        counter.labels("2").inc(3)
    assert samples(ours, "x_total") == samples(theirs, "x_total")
    assert quick.total == 4
