"""The callback paths: checks source, sender and limits, reads the body, hands an Envelope on, answers.

A callback counts as received when it reaches a callback path. Then whoever accepts it counts it as stored or spooled,
or it is counted here as refused. Must not know XML, the lifecycle or PostgreSQL.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Container
from typing import Any, Protocol

import structlog
from aiohttp import hdrs, web

from receiver.config.settings import Settings
from receiver.errors import (
    AddressError,
    BodyCutOffError,
    BodyReadersBusyError,
    BodyTooLargeError,
    BodyTooSlowError,
    CannotKeepError,
    CertificateError,
    CredentialsError,
    HeaderTooLargeError,
    QuotaError,
    ReceiverError,
    UnknownSourceError,
)
from receiver.http.access import Access
from receiver.http.arrival import Arrival
from receiver.http.body import expect_later, read_body
from receiver.http.problem import problem
from receiver.http.quotas import Quotas
from receiver.http.refusal_log import RefusalLog
from receiver.http.request_parser import refusal_of
from receiver.http.responses import RECEIPT, accepted, acknowledgement, no_content
from receiver.http.sender_address import SenderAddresses
from receiver.http.unknown_sources import UnknownSources
from receiver.model.envelope import TRACE, Clock, Envelope, Head, HeadReader
from receiver.model.notification import POSTED, Channel, Outcome
from receiver.model.sanitize import sanitize
from receiver.observability.definition import exemplar
from receiver.observability.labels import ROOT_CHANNEL, Refused
from receiver.observability.logs import CallbackLines
from receiver.observability.metrics import Metrics
from receiver.observability.tracing import Traced, Traces
from receiver.parsing.body_readers import BodyReaders
from receiver.parsing.reading import Reading
from receiver.parsing.stored_body import StoredBody
from receiver.redaction.redactor import Redactor

log = structlog.get_logger()

_CHANNELS = {"callback": Channel.CALLBACK, "events": Channel.EVENTS, ROOT_CHANNEL: None}

_REASONS: dict[type[BaseException], Refused] = {
    UnknownSourceError: Refused.UNKNOWN_SOURCE,
    CredentialsError: Refused.CREDENTIALS,
    AddressError: Refused.ADDRESS,
    CertificateError: Refused.CERTIFICATE,
    HeaderTooLargeError: Refused.HEADER_TOO_LARGE,
    BodyTooLargeError: Refused.BODY_TOO_LARGE,
    BodyTooSlowError: Refused.BODY_TOO_SLOW,
    BodyCutOffError: Refused.BODY_CUT_OFF,
    BodyReadersBusyError: Refused.BODY_READERS_BUSY,
    QuotaError: Refused.QUOTA,
    CannotKeepError: Refused.CANNOT_KEEP,
    asyncio.CancelledError: Refused.BODY_CUT_OFF,
}


def is_callback_path(path: str, sources: Container[str]) -> bool:
    """Whether callbacks of a known source come to this path."""
    match path.split("/"):
        case ["", ""]:
            return "default" in sources
        case ["", "esc", source, channel] | ["", "esc", source, channel, _]:
            return source in sources and channel in _CHANNELS
    return False


class IntakeResult(Protocol):
    """How a durable callback was decided."""

    @property
    def outcome(self) -> Outcome | None:
        """None: it is in the spool, not decided yet."""

    @property
    def reason(self) -> str:
        """For people."""


class Answer(Protocol):
    """Hears what became of a callback, once; a future is one."""

    def done(self) -> bool:
        """Whether nobody waits any more."""

    def set_result(self, result: Any, /) -> None:
        """It is durable: an `IntakeResult`."""

    def set_exception(self, exception: Exception, /) -> None:
        """It is not kept."""


class CallbackIntake(Protocol):
    """Makes callbacks durable."""

    def begin(self, envelope: Envelope, reading: Reading | None, answer: Answer) -> None:
        """Have `answer` told when the callback is durable and counted (`Metrics.count_stored`), or why it is not kept;
        raises CannotKeepError when that is known at once."""

    async def accept(self, envelope: Envelope, reading: Reading | None = None) -> IntakeResult:
        """Returns when the callback is durable and counted (`Metrics.count_stored`); raises CannotKeepError.

        `reading` is what was read of its body already.
        """


class Ingress:
    """The callback paths."""

    def __init__(
        self,
        intake: CallbackIntake,
        settings: Settings,
        metrics: Metrics,
        readers: BodyReaders,
        traces: Traces | None = None,
    ) -> None:
        self.intake = intake
        self.readers = readers
        self._settings = settings
        self._metrics = metrics
        self._sources = frozenset(settings.all_sources)
        self._answered_204 = frozenset(name for name, source in settings.all_sources.items() if source.answer == 204)
        self._access = Access(settings.all_sources, settings.trusted_proxies, settings.tls_client_ca_file is not None)
        self.quotas = Quotas(settings.all_sources)
        self._addresses = SenderAddresses(settings.trusted_proxies)
        self._refusals = RefusalLog(settings)
        self._clock = Clock(ahead_max_s=settings.clock_ahead_max_s, on_set_back=_log_set_back)
        metrics.clock_ahead_seconds.set_function(lambda: self._clock.ahead_s)
        self._redactor = Redactor(settings.secret_names, settings.redaction_tokens_max)
        self._unknown = UnknownSources(settings, self._redactor)
        self.heads = HeadReader(self._redactor)
        self._lines = CallbackLines(settings)
        self._traces = traces

    def routes(self) -> list[web.RouteDef]:
        """POST for ESC; GET lets a client test a URL (as ETSI SOL003 asks)."""
        paths = [f"/esc/{{source}}/{{channel:{channel}}}{token}" for channel in POSTED for token in ("", "/{token}")]
        return [
            *(web.post(path, self.post, expect_handler=expect_later) for path in paths),
            *(web.get(path, self.probe) for path in paths),
            web.post("/", self.post, expect_handler=expect_later),
        ]

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Accept one callback and acknowledge it."""
        if self._traces is None:
            return await self._accept(request, None)
        with self._traces.callback(request.headers.get(TRACE)) as span:
            return await self._accept(request, span)

    async def _accept(self, request: web.Request, span: Traced | None) -> web.StreamResponse:
        started_s, arrival = time.perf_counter(), Arrival.of(request)
        self.count_received(arrival)
        try:
            envelope, reading = await self._read_envelope(request, arrival)
            envelope = _as_sent(request, envelope)
        except BaseException as error:
            self.refuse(error, arrival)
            raise
        if span:
            envelope = envelope._replace(traceparent=span.traceparent)
        try:
            result = await self.intake.accept(envelope, reading)
        except Exception as error:
            # Not when cancelled: then it is still in flight, and the intake will count it.
            self.refuse(error, arrival)
            raise
        receipt = str(envelope.receipt)
        self.record(envelope, receipt, result, time.perf_counter() - started_s, span)
        if result.outcome is Outcome.MALFORMED:
            return malformed(receipt, result)
        if envelope.is_of_unknown_source:
            return accepted(receipt, result.outcome)
        if self.answers_204(arrival.source):
            return no_content(receipt)
        return acknowledgement(request, receipt, result.outcome)

    @property
    def traced(self) -> bool:
        """Whether callbacks have spans."""
        return self._traces is not None

    def answers_204(self, source: str) -> bool:
        """Whether this source wants no body in answers."""
        return source in self._answered_204

    def count_received(self, arrival: Arrival) -> None:
        """It is in flight from here on."""
        self._metrics.count_received(arrival.source, arrival.channel)

    def admit(self, arrival: Arrival) -> str | None:
        """The sender's address, if it may post; raises what `Access.check` does."""
        return (
            arrival.remote
            if arrival.source in self._access.open
            else self._access.check(arrival.source, arrival.sender)
        )

    def _take_unknown(self, arrival: Arrival) -> tuple[Arrival, str | None]:
        """As it is kept, and the sender's address; raises UnknownSourceError or CertificateError if it is not."""
        sender, named = self._access.check_unknown(arrival.sender), self._unknown.name(arrival.source)
        self._unknown.take(named, sender)
        return arrival._replace(source=named), sender

    def record(
        self, envelope: Envelope, receipt: str, result: IntakeResult, seconds: float, span: Traced | None
    ) -> None:
        """In metrics, log and trace."""
        self._metrics.request_seconds.observe(seconds, exemplar(envelope.transaction_id))
        self._metrics.activity.kept(envelope.source, envelope.received_at)
        if not (self._lines.enabled or span):
            return
        facts = {
            "timestamp": envelope.received_at, "level": "info", "event": "callback", "receipt": receipt,
            "source": envelope.source, "channel": envelope.channel, "peer": envelope.remote,
            "transaction_id": envelope.transaction_id, "ref": envelope.ref, "status_code": envelope.status_code,
            "outcome": result.outcome or "pending", "reason": result.reason, "body_bytes": len(envelope.body),
            "seconds": round(seconds, 6),
        }  # fmt: skip
        if self._lines.enabled:
            self._lines.write(facts)
        if span:
            span.set_attributes(facts)

    async def probe(self, request: web.Request) -> web.Response:
        """204 when a POST to this URL would be let in."""
        arrival = Arrival.of(request)
        self._access.check(arrival.source, arrival.sender)
        return web.Response(status=204)

    def refuse(self, error: BaseException, arrival: Arrival) -> None:
        """It is answered with an error and not kept."""
        reason = next((_REASONS[kind] for kind in type(error).__mro__ if kind in _REASONS), Refused.INTERNAL_ERROR)
        source = self._metrics.source_label(arrival.source)
        self._metrics.count_refused(reason)
        self._metrics.activity.refused(source, reason)
        self._refusals.write(reason, self._addresses.client(arrival), source=source, why=_describe(error))

    async def _read_envelope(self, request: web.Request, arrival: Arrival) -> tuple[Envelope, Reading | None]:
        settings, source = self._settings, arrival.source
        is_unknown = source not in self._sources and arrival.channel != ROOT_CHANNEL
        arrival, sender = self._take_unknown(arrival) if is_unknown else (arrival, self.admit(arrival))
        is_limited = source in self.quotas.sources
        if is_limited:
            self.quotas.take_callback(source)
        head = self.heads.read(arrival.raw_headers, settings.header_bytes_max)
        sent = await read_body(request, settings.body_bytes_max, settings.body_timeout_s)
        if is_limited:
            self.quotas.take_bytes(source, len(sent))
        encoding = arrival.headers.get(hdrs.CONTENT_ENCODING)
        stored, reading = self.readers.store_small(sent, encoding), None
        if stored is None:
            stored, reading = await self.readers.store(sent, encoding, self._metrics.source_label(source))
        envelope = self.envelope(arrival, sender, head, stored)
        return (envelope.of_unknown_source() if is_unknown else envelope), reading

    def envelope(self, arrival: Arrival, sender: str | None, head: Head, stored: StoredBody) -> Envelope:
        """The callback with its stamp. From here to the intake's queue nothing may await, so that callbacks are queued
        in the order of their stamps."""
        body, redacted, fault = stored
        self._metrics.body_bytes.observe(len(body))
        ref, remarks = self._ref(arrival) if arrival.url.raw_query_string else (None, ())
        received_at, receipt = self._clock.stamp()
        return Envelope.of(
            head, receipt=receipt, received_at=received_at, source=arrival.source, channel=_CHANNELS[arrival.channel],
            remote=sender, ref=ref, body=body, redacted=redacted, notes=remarks, undecodable_because=fault,
        )  # fmt: skip

    def _ref(self, arrival: Arrival) -> tuple[str | None, tuple[str, ...]]:
        """The caller's own reference (`?ref=`), and notes on what had to be changed about it."""
        ref = self._redactor.text(sanitize(arrival.url.query.get("ref", "")))
        longest = self._settings.ref_characters_max
        return ref[:longest] or None, ("ref-cut",) if len(ref) > longest else ()


def _as_sent(request: web.Request, envelope: Envelope) -> Envelope:
    """The envelope, malformed if the head of the request was."""
    because = refusal_of(request.raw_headers)
    if because is None:
        return envelope
    log.info("a head that is not HTTP; what it says is kept as malformed", peer=envelope.remote, why=because)
    return envelope._replace(undecodable_because=because)


def _describe(error: BaseException) -> str:
    """Foreign errors without their message, which may hold what the sender sent."""
    return str(error) if isinstance(error, ReceiverError) else type(error).__name__


def _log_set_back(by_s: float) -> None:
    log.warning(
        "this machine's clock was set back by more than clock_ahead_max_s; received_at goes back with it", seconds=by_s
    )


def malformed(receipt: str, result: IntakeResult) -> web.Response:
    """The answer to a callback that is kept and cannot be read."""
    return problem(
        400,
        "malformed",
        "The body is kept, but it is no document that can be read",
        result.reason,
        instance=f"urn:uuid:{receipt}",
        receipt=receipt,
        outcome=result.outcome,
        headers={RECEIPT: receipt},
    )
