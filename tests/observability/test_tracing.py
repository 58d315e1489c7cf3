"""Traces: off by default, by OpenTelemetry's own variables, and carried on with what is published."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from receiver.config.settings import Settings
from receiver.http.ingress import Ingress
from receiver.http.server import make_app, start_site
from receiver.observability.metrics import Metrics
from receiver.observability.tracing import Traces, traces
from receiver.parsing.body_readers import BodyReaders
from tests.support.batches import letter
from tests.support.ingress import Serving, Shelf
from tests.support.query_api import store
from tests.support.samples import SAMPLES

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_SERVICE_NAME": "x"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_without_an_endpoint_there_are_no_traces(environ: dict[str, str]) -> None:
    """Nothing is imported, nothing is sent."""
    assert traces(environ) is None


def test_an_endpoint_switches_them_on() -> None:
    """And nothing is said of it."""
    with structlog.testing.capture_logs() as said:
        found = traces({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})
    assert found is not None
    found.close()
    assert said == []


async def test_a_callback_is_a_span_between_its_sender_and_what_comes_of_it() -> None:
    """Child of the sender's; what is published is told to be a child of it."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    settings, metrics = Settings(port=0), Metrics()
    shelf = Shelf(metrics)
    app = make_app([Ingress(shelf, settings, metrics, BodyReaders(settings), Traces(provider))], settings)
    runner = await start_site(app, settings, metrics)
    host, port = runner.addresses[0][:2]
    sender = [("traceparent", f"00-{TRACE}-{PARENT}-01"), ("ESC-Transaction-Id", "tx-1")]
    assert (await Serving(host, port, metrics, shelf).request("POST", "/", b"<x/>", sender)).status == 200
    await runner.cleanup()
    (span,) = exporter.get_finished_spans()
    assert span.context is not None
    assert span.parent is not None
    assert (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)
    assert span.attributes is not None
    assert span.attributes["esc.transaction_id"] == "tx-1"
    (envelope,) = shelf.envelopes
    assert envelope.traceparent == f"00-{TRACE}-{span.context.span_id:016x}-01"


async def test_without_traces_the_senders_own_goes_on() -> None:
    """As it came."""
    settings, metrics = Settings(port=0), Metrics()
    shelf = Shelf(metrics)
    runner = await start_site(
        make_app([Ingress(shelf, settings, metrics, BodyReaders(settings))], settings), settings, metrics
    )
    host, port = runner.addresses[0][:2]
    sender = [("Traceparent", f"00-{TRACE}-{PARENT}-01")]
    await Serving(host, port, metrics, shelf).request("POST", "/", b"<x/>", sender)
    await runner.cleanup()
    assert shelf.envelopes[0].traceparent == f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize(("sample", "messages"), [("rec-deploy-01-vm-deployed", 3), ("guess-host-disable", 1)])
async def test_what_is_published_bears_the_trace(
    postgres_dsn: str, connection: Any, sample: str, messages: int
) -> None:
    """From the request through the outbox to the headers that the relay hands to NATS."""
    told = f"00-{TRACE}-{PARENT}-01"
    await store(postgres_dsn, [letter(SAMPLES[sample], traceparent=told)])
    rows = await connection.fetch("SELECT headers ->> 'traceparent' AS traceparent FROM outbox")
    assert [row["traceparent"] for row in rows] == [told] * messages


async def test_a_trace_that_is_none_is_not_published(postgres_dsn: str, connection: Any) -> None:
    """Whatever stands in the header: it is kept as it came, and goes no further."""
    await store(postgres_dsn, [letter(SAMPLES["rec-deploy-01-vm-deployed"], traceparent="00-x\r\nInjected: 1")])
    rows = await connection.fetch("SELECT headers ->> 'traceparent' AS traceparent FROM outbox")
    assert {row["traceparent"] for row in rows} == {None}
