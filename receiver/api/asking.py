"""`POST reconcile`: ESC is asked, and what happens is told as it happens, one JSON object a line.

Must not know SQL, nor what an answer means.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Final

import structlog
from aiohttp import web

from receiver.api.api_errors import NothingFoundError, ParameterError, UnavailableError
from receiver.api.request_body import ReconcileOrder, read_body
from receiver.api.row_shapes import to_json
from receiver.config.settings import Settings
from receiver.errors import describe
from receiver.http.sender_address import SenderAddresses
from receiver.parsing.answer_parser import is_safe
from receiver.postgres.driver_errors import UNUSABLE
from receiver.reconcile.reconciler import Reconciler
from receiver.reconcile.sweep import Event, Wanted

log = structlog.get_logger()

LINES: Final = "application/x-ndjson"
AGREED, MENDED, FAILED = 0, 1, 2
"""Of the whole: nothing to mend, something mended (or it would be), an ESC could not be asked."""


class Asking:
    """Answers the endpoint `reconcile`."""

    def __init__(self, reconciler: Reconciler | None, settings: Settings) -> None:
        self._reconciler = reconciler
        self._settings = settings
        self._addresses = SenderAddresses(settings.trusted_proxies)

    async def reconcile(self, request: web.Request, _: Mapping[str, Any]) -> web.StreamResponse:
        """Ask the ESCs that are meant, one after the other."""
        order = await read_body(request, self._settings, ReconcileOrder)
        sources = self._sources(order)
        log.info("ESC is asked by hand", sources=sources, dry_run=order.dry_run, by=self._addresses.client(request))
        response = web.StreamResponse(headers={"Content-Type": LINES, "Cache-Control": "no-store"})
        await response.prepare(request)
        status = AGREED
        async for event in self._events(sources, order):
            if event["event"] == "trouble":
                status = FAILED
            elif event["event"] == "result" and event["changes"]:
                status = max(status, MENDED)
            await response.write(_line(event))
        await response.write(_line({"event": "done", "status": status}))
        return response

    def _sources(self, order: ReconcileOrder) -> list[str]:
        if self._reconciler is None:
            raise UnavailableError("this receiver only reads")
        asked = self._reconciler.sources
        if order.source and order.source not in self._settings.all_sources:
            raise NothingFoundError("no source of this name is configured")
        if order.source and order.source not in asked:
            raise ParameterError("source", "nobody has told how its ESC is asked (sources: esc)")
        if not asked:
            raise ParameterError("source", "nobody has told how any ESC is asked (sources: esc)")
        if order.deployment and not order.source:
            raise ParameterError("deployment", "say of which source")
        if order.deployment and not is_safe(order.deployment):
            raise ParameterError("deployment", "has characters that no id of ESC has")
        return [order.source] if order.source else asked

    async def _events(self, sources: list[str], order: ReconcileOrder) -> AsyncIterator[Event]:
        assert self._reconciler is not None  # `_sources` has looked
        deployments = (order.deployment,) if order.deployment else ()
        wanted = Wanted(deployments, dry_run=order.dry_run, yes=order.yes)
        for source in sources:
            try:
                async with aclosing(self._reconciler.sweep(source, wanted)) as events:
                    async for event in events:
                        yield event
            except UNUSABLE as error:
                yield {"event": "trouble", "source": source, "reason": f"PostgreSQL cannot be used: {describe(error)}"}


def _line(event: Event) -> bytes:
    return to_json(event) + b"\n"
