"""The callback paths: checks source, sender and limits, reads the body, hands an Envelope on, answers.

A callback counts as received when it reaches a callback path. Then whoever accepts it counts it as stored or spooled,
or it is counted here as refused. Must not know XML, the lifecycle or PostgreSQL.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Container
from typing import Protocol

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
from receiver.http.access import Access, Sender
from receiver.http.body import expect_later, read_body
from receiver.http.problem import problem
from receiver.http.quotas import Quotas
from receiver.http.refusal_log import RefusalLog
from receiver.http.request_parser import refusal_of
from receiver.http.responses import RECEIPT, acknowledgement, no_content
from receiver.http.sender_address import SenderAddresses
from receiver.model.envelope import TRACE, Clock, Envelope, read_head
from receiver.model.notification import Channel, Outcome
from receiver.model.sanitize import sanitize
from receiver.observability.definition import exemplar
from receiver.observability.labels import ROOT_CHANNEL, UNKNOWN_SOURCE, Refused
from receiver.observability.logs import CallbackLines
from receiver.observability.metrics import Metrics
from receiver.observability.tracing import Traced, Traces
from receiver.parsing.body_readers import BodyReaders
from receiver.parsing.reading import Reading
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


class CallbackIntake(Protocol):
    """Makes callbacks durable."""

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
        self._intake = intake
        self._readers = readers
        self._settings = settings
        self._metrics = metrics
        self._sources = frozenset(settings.all_sources)
        self._answered_204 = frozenset(name for name, source in settings.all_sources.items() if source.answer == 204)
        self._access = Access(settings.all_sources, settings.trusted_proxies, settings.tls_client_ca_file is not None)
        self._quotas = Quotas(settings.all_sources)
        self._addresses = SenderAddresses(settings.trusted_proxies)
        self._refusals = RefusalLog(settings)
        self._clock = Clock(ahead_max_s=settings.clock_ahead_max_s, on_set_back=_log_set_back)
        metrics.clock_ahead_seconds.set_function(lambda: self._clock.ahead_s)
        self._redactor = Redactor(settings.secret_names, settings.redaction_tokens_max)
        self._lines = CallbackLines(settings)
        self._traces = traces

    def routes(self) -> list[web.RouteDef]:
        """POST for ESC; GET lets a client test a URL (as ETSI SOL003 asks)."""
        paths = [f"/esc/{{source}}/{{channel:{channel}}}{token}" for channel in Channel for token in ("", "/{token}")]
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
        started_s, match = time.perf_counter(), request.match_info
        source, channel = match.get("source", "default"), match.get("channel", ROOT_CHANNEL)
        known = source if source in self._sources else UNKNOWN_SOURCE
        self._metrics.count_received(known, channel)
        try:
            envelope, reading = await self._read_envelope(request, source, _CHANNELS[channel])
            envelope = _as_sent(request, envelope)
        except BaseException as error:
            self._refuse(error, request, known)
            raise
        if span:
            envelope = envelope._replace(traceparent=span.traceparent)
        try:
            result = await self._intake.accept(envelope, reading)
        except Exception as error:
            # Not when cancelled: then it is still in flight, and the intake will count it.
            self._refuse(error, request, known)
            raise
        receipt = str(envelope.receipt)
        self._record(envelope, receipt, result, time.perf_counter() - started_s, span)
        if source in self._answered_204 and result.outcome is not Outcome.MALFORMED:
            return no_content(receipt)
        return _answer(request, receipt, result)

    def _record(
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
        self._access.check(request.match_info["source"], _sender(request))
        return web.Response(status=204)

    def _refuse(self, error: BaseException, request: web.Request, source: str) -> None:
        reason = next((_REASONS[kind] for kind in type(error).__mro__ if kind in _REASONS), Refused.INTERNAL_ERROR)
        self._metrics.count_refused(reason)
        self._metrics.activity.refused(source, reason)
        self._refusals.write(reason, self._addresses.client(request), source=source, why=_describe(error))

    async def _read_envelope(
        self, request: web.Request, source: str, channel: Channel | None
    ) -> tuple[Envelope, Reading | None]:
        settings = self._settings
        remote = request.remote if source in self._access.open else self._access.check(source, _sender(request))
        is_limited = source in self._quotas.sources
        if is_limited:
            self._quotas.take_callback(source)
        head = read_head(request.raw_headers, settings.header_bytes_max, self._redactor)
        sent = await read_body(request, settings.body_bytes_max, settings.body_timeout_s)
        if is_limited:
            self._quotas.take_bytes(source, len(sent))
        encoding = request.headers.get(hdrs.CONTENT_ENCODING)
        stored, reading = self._readers.store_small(sent, encoding), None
        if stored is None:
            stored, reading = await self._readers.store(sent, encoding, source)
        body, redacted, fault = stored
        self._metrics.body_bytes.observe(len(body))
        ref, remarks = self._ref(request) if "?" in request.raw_path else (None, ())
        # From here to the intake's queue nothing awaits, so that callbacks are queued in the order of their stamps.
        received_at, receipt = self._clock.stamp()
        envelope = Envelope.of(
            head, receipt=receipt, received_at=received_at, source=source, channel=channel, remote=remote, ref=ref,
            body=body, redacted=redacted, notes=remarks, undecodable_because=fault,
        )  # fmt: skip
        return envelope, reading

    def _ref(self, request: web.Request) -> tuple[str | None, tuple[str, ...]]:
        """The caller's own reference (`?ref=`), and notes on what had to be changed about it."""
        ref = self._redactor.text(sanitize(request.query.get("ref", "")))
        longest = self._settings.ref_characters_max
        return ref[:longest] or None, ("ref-cut",) if len(ref) > longest else ()


def _as_sent(request: web.Request, envelope: Envelope) -> Envelope:
    """The envelope, malformed if the head of the request was."""
    because = refusal_of(request.raw_headers)
    if because is None:
        return envelope
    log.info("a head that is not HTTP; what it says is kept as malformed", peer=envelope.remote, why=because)
    return envelope._replace(undecodable_because=because)


def _sender(request: web.Request) -> Sender:
    headers = request.headers
    return Sender(
        token=request.match_info.get("token"),
        authorization=headers.get(hdrs.AUTHORIZATION),
        peer=request.remote,
        forwarded_for=headers.getall(hdrs.X_FORWARDED_FOR, ()),
        certificate=request.transport.get_extra_info("peercert") if request.transport else None,
    )


def _describe(error: BaseException) -> str:
    """Foreign errors without their message, which may hold what the sender sent."""
    return str(error) if isinstance(error, ReceiverError) else type(error).__name__


def _log_set_back(by_s: float) -> None:
    log.warning(
        "this machine's clock was set back by more than clock_ahead_max_s; received_at goes back with it", seconds=by_s
    )


def _answer(request: web.Request, receipt: str, result: IntakeResult) -> web.StreamResponse:
    if result.outcome is None:
        return acknowledgement(request, receipt, "pending", status="202 Accepted")
    if result.outcome is not Outcome.MALFORMED:
        return acknowledgement(request, receipt, result.outcome)
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
