"""Figures: known label sets start at zero, steps add up, and both formats can be scraped."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_prometheus

from receiver.http.health import Health
from receiver.model.entities import VmState
from receiver.model.notification import Family, Outcome
from receiver.observability.catalogue import BODY_BYTES, CATALOGUE
from receiver.observability.definition import Label, counter, exemplar, histogram, set_all, total
from receiver.observability.labels import UNKNOWN_SOURCE, Refused, Rejected
from receiver.observability.metrics import Metrics
from tests.support.figures import everything, run_with_input, samples
from tests.support.ingress import Answer, serving


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


class Defined:
    """A catalogue of two."""

    sizes = histogram("things", "X", BODY_BYTES)
    things = counter("things", "X", Label("a"))


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
            metrics.count_received("default", *how)
        elif metrics.sums()["in_flight"] and what == "kept":
            metrics.count_stored("default", *how)
        elif metrics.sums()["in_flight"]:
            metrics.count_refused(Refused(how[0]))
        sums = metrics.sums()
        assert sums["received"] == sums["stored"] + sums["refused"] + sums["in_flight"]
    totals = {
        name: sum(samples(metrics.registry, f"esc_receiver_{name}_total").values())
        for name in ("received", "stored", "refused")
    }
    assert totals | samples_in_flight(metrics) == metrics.sums()


def samples_in_flight(metrics: Metrics) -> dict[str, float]:
    """As a scrape shows it."""
    now = samples(metrics.registry, "esc_receiver_in_flight")[()]
    return {"recovered": 0, "spooled": 0, "lost": 0, "in_flight": now}


def test_both_formats_can_be_read() -> None:
    """By the client's own parsers."""
    metrics = Metrics()
    metrics.count_received("default", "callback")
    metrics.body_bytes.observe(1448)
    prometheus = {family.name for family in read_prometheus(generate_latest(metrics.registry).decode())}
    text = openmetrics.generate_latest(metrics.registry).decode()  # type: ignore[no-untyped-call]  # theirs has no types
    modern = {family.name for family in read_openmetrics(text)}  # type: ignore[no-untyped-call]  # likewise
    assert {"esc_receiver_received", "esc_receiver_body_bytes"} <= prometheus & modern


def test_nothing_that_names_one_thing_is_a_label() -> None:
    """No id of a VM, a deployment or a transaction: labels are few and known, or bounded by a setting."""
    labels = {label.name for measure in CATALOGUE for label in measure.labels}
    assert not {name for name in labels if "id" in name.split("_") or name in {"vm", "deployment", "operation"}}
    assert all(label.values or label.from_where for measure in CATALOGUE for label in measure.labels)


def test_the_catalogue_lists_what_a_scrape_shows() -> None:
    """Name, type, help and labels of every metric of ours, and nothing else; each once."""
    shown = {
        family.name: (family.type, family.documentation)
        for family in everything().collect()
        if family.name.startswith("esc_receiver_")
    }
    assert shown == {measure.family: (measure.kind, measure.help) for measure in CATALOGUE}
    labels = {measure.family: set(measure.label_names) for measure in CATALOGUE}
    for family in everything().collect():
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == labels.get(family.name, set(sample.labels) - {"le"})


def test_every_metric_begins_at_zero_where_its_labels_are_known() -> None:
    """Closed sets make their series beforehand, in every combination."""
    registry = everything(["default", "lab"])
    for measure in CATALOGUE:
        if not measure.lazy and all(label.values for label in measure.labels):
            suffix = {"counter": "_total", "gauge": "", "histogram": "_count"}[measure.kind]
            assert set(samples(registry, measure.family + suffix)) == set(measure.known({}))


async def test_names_and_units_are_as_prometheus_wants_them(promtool: Path) -> None:
    """`promtool check metrics` has nothing to say, in words or by its exit status."""
    text = generate_latest(everything())
    assert await run_with_input(promtool, text, "check", "metrics") == (0, "")


async def test_the_scrape_is_written_as_the_client_writes_it() -> None:
    """Byte for byte, in both formats, with exemplars and label values that must be escaped."""
    metrics = Metrics()
    for value in ('"', "\\", "\n", "ü", ""):
        metrics.tenant_operations.labels(value, "failed").inc(3)
    metrics.tenant_operations.labels("many", "failed").inc(12_345_678)
    for amount in (0, 3, 700.5, 1e9):
        metrics.body_bytes.observe(amount, exemplar('tx-"1\\'))
    metrics.body_bytes.observe(5000, exemplar("x" * 200))
    for accept in ("", "application/openmetrics-text; version=1.0.0"):
        written = choose_encoder(accept)[0](metrics.registry)
        assert _of_ours((await scrape(metrics, accept)).body) == _of_ours(written)


async def scrape(metrics: Metrics, accept: str) -> Answer:
    """What `/metrics` answers."""
    async with serving([Health((), metrics, 1)]) as server:
        return await server.request("GET", "/metrics", headers=[("Accept", accept)])


def _of_ours(text: bytes) -> list[bytes]:
    """The lines of our own metrics: those of the process change between two scrapes."""
    return [line for line in text.splitlines() if b"esc_receiver_" in line or line == b"# EOF"]


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/html", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
        ),
    ],
)
async def test_the_format_is_negotiated(accept: str, media_type: str) -> None:
    """Prometheus's own header gets OpenMetrics."""
    assert (await scrape(Metrics(), accept)).headers["content-type"] == media_type


def test_an_exemplar_that_is_too_long_is_none() -> None:
    """OpenMetrics allows 128 characters, name and value together; the observation counts all the same."""
    metrics = Metrics()
    metrics.request_seconds.observe(0.02, exemplar("x" * 114))
    metrics.request_seconds.observe(0.2, exemplar("x" * 115))
    shown = [sample.exemplar for family in metrics.registry.collect() for sample in family.samples if sample.exemplar]
    assert [one.labels for one in shown] == [{"transaction_id": "x" * 114}]
    assert samples(metrics.registry, "esc_receiver_request_seconds_count") == {(): 2}


@given(st.lists(st.floats(0, 2e6) | st.sampled_from(BODY_BYTES)))
def test_a_defined_histogram_counts_as_a_plain_one(observations: list[float]) -> None:
    """Its buckets, count and sum; the name has the prefix of all."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    defined = Defined.sizes.create(ours, {})
    plain = Histogram("esc_receiver_sizes", "X", buckets=BODY_BYTES, registry=theirs)
    for observation in observations:
        defined.observe(observation)
        plain.observe(observation)
    for name in ("esc_receiver_sizes_bucket", "esc_receiver_sizes_count", "esc_receiver_sizes_sum"):
        assert samples(ours, name) == pytest.approx(samples(theirs, name))


def test_a_defined_counter_counts_as_a_plain_one() -> None:
    """And can be summed up over its labels."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    defined = Defined.things.create(ours, {})
    plain = Counter("esc_receiver_things", "X", ["a"], registry=theirs)
    for each in (defined, plain):
        each.labels("1").inc()
        each.labels("2").inc(3)
    assert samples(ours, "esc_receiver_things_total") == samples(theirs, "esc_receiver_things_total")
    assert total(defined) == 4


def test_setting_all_sets_the_others_to_zero() -> None:
    """A label set that is no longer counted stays, at 0."""
    metrics = Metrics()
    set_all(metrics.vms, {("default", "ALIVE"): 3, ("default", "INERT"): 1})
    set_all(metrics.vms, {("default", "INERT"): 2})
    shown = samples(metrics.registry, "esc_receiver_vms")
    assert (shown["default", "ALIVE"], shown["default", "INERT"]) == (0, 2)
