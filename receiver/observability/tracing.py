"""Traces of callbacks, where OpenTelemetry is installed (extra `otel`) and its own variables ask for them.

Off by default: without `OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`) nothing is imported.
Everything else (headers, sampling, service name) is OpenTelemetry's own to read. Must not know HTTP or callbacks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

log = structlog.get_logger()


class Traced:
    """The span of one callback."""

    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        """This span in W3C form, the parent of what follows from the callback."""
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def set_attributes(self, facts: Mapping[str, object]) -> None:
        """Set texts and numbers among the facts as attributes `esc.…`."""
        for name, value in facts.items():
            if isinstance(value, str | int | float):
                self._span.set_attribute(f"esc.{name}", value)


class Traces:
    """Makes spans, and sends them in the background."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("esc-receiver")

    @contextmanager
    def callback(self, traceparent: str | None) -> Iterator[Traced]:
        """A span of a callback, a child of the sender's if there is one."""
        from opentelemetry.trace import SpanKind  # noqa: PLC0415 - an extra
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 - likewise

        parent = TraceContextTextMapPropagator().extract({"traceparent": traceparent or ""})
        with self._tracer.start_as_current_span("esc callback", parent, SpanKind.SERVER) as span:
            yield Traced(span)

    def close(self) -> None:
        """Send the spans that are left."""
        self._provider.shutdown()


def traces(environ: Mapping[str, str]) -> Traces | None:
    """Traces, when the environment asks for them and the extra is there."""
    off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none"
    if off or not any(environ.get(name) for name in ENDPOINTS):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - likewise
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - likewise
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - likewise
    except ImportError:
        log.warning("OTEL_… asks for traces, but they need the extra `otel`: pip install 'esc-receiver[otel]'")
        return None
    named = {} if environ.get("OTEL_SERVICE_NAME") else {"service.name": "esc-receiver"}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Traces(provider)
