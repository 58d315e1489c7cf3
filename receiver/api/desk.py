"""What is done about dead letters through the API: acknowledged, and replayed; also tried without changing anything.

Must not know SQL, nor how a callback is decided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from aiohttp import web

from receiver.api.answers import json_answer
from receiver.api.api_errors import NothingFoundError, ParameterError, TooManyError, UnavailableError
from receiver.api.request_body import Acknowledgement, Chosen, ReplayOrder, read_body
from receiver.config.settings import Settings
from receiver.errors import SetupError
from receiver.http.sender_address import SenderAddresses
from receiver.replay.dead_letters import DeadLetters, TooManyCallbacksError
from receiver.replay.results import Fate, ReplayResult, Selection

log = structlog.get_logger()

SHOWN_MAX = 1_000
"""Ledger entries, and callbacks, of a replay that are told one by one."""
_SHOWN = ("entity", "source", "tenant", "deployment", "name", "from_state", "to_state", "change", "rule", "reason")


class Desk:
    """Answers the endpoints `acknowledge` and `replay`."""

    def __init__(self, dead_letters: DeadLetters | None, settings: Settings) -> None:
        self._dead_letters = dead_letters
        self._settings = settings
        self._addresses = SenderAddresses(settings.trusted_proxies)

    async def acknowledge(self, request: web.Request, _: Mapping[str, Any]) -> web.Response:
        """Keep who has looked at them, and what they say."""
        order = await read_body(request, self._settings, Acknowledgement)
        chosen = _chosen(order, {"note", "by"})
        by = order.by or self._addresses.client(request)
        try:
            number = await self._service.acknowledge(Selection(quarantine=True, **chosen), order.note, by)
        except SetupError as error:
            raise UnavailableError(str(error)) from error
        log.info("dead letters were acknowledged", callbacks=number, by=by)
        return json_answer({"acknowledged": number})

    async def replay(self, request: web.Request, _: Mapping[str, Any]) -> web.Response:
        """Apply them again, or tell what would change."""
        order = await read_body(request, self._settings, ReplayOrder)
        chosen = _chosen(order, {"dry_run", "quarantine", "to_source"})
        if order.to_source and order.to_source not in self._settings.all_sources:
            raise NothingFoundError("to_source: no source of this name is configured")
        if self._service.busy:
            raise TooManyError("a replay is under way at this receiver")
        selection = Selection(quarantine=order.quarantine, to_source=order.to_source, **chosen)
        try:
            results = await self._service.replay(selection, dry_run=order.dry_run)
        except TooManyCallbacksError as error:
            raise ParameterError("receipts", f"{error} (replay_callbacks_max); use `esc-receiver replay`") from error
        except SetupError as error:
            raise UnavailableError(str(error)) from error
        if not order.dry_run:
            log.info("callbacks were replayed", callbacks=len(results), by=self._addresses.client(request))
        return json_answer(_told(results, dry_run=order.dry_run))

    @property
    def _service(self) -> DeadLetters:
        if self._dead_letters is None:
            raise UnavailableError("this receiver only reads")
        return self._dead_letters


def _chosen(order: Chosen, others: set[str]) -> dict[str, Any]:
    """Raises ParameterError when nothing chooses: a mistake must not be about all there is."""
    chosen = {name: value for name, value in order if value is not None and name not in others}
    if not chosen:
        raise ParameterError("receipts", "say which: receipts, source, outcome, rule, reason, since or until")
    return chosen


def _told(results: Sequence[ReplayResult], *, dry_run: bool) -> dict[str, Any]:
    fates = Counter(one.fate for one in results)
    entries = [_entry(one, transition) for one in results for transition, _ in one.entries]
    return {
        "dry_run": dry_run, "callbacks": len(results), **{fate.value: fates[fate] for fate in Fate},
        "entries": len(entries), "transitions": entries[:SHOWN_MAX], "results": [*map(_result, results[:SHOWN_MAX])],
        "truncated": max(len(entries), len(results)) > SHOWN_MAX,
    }  # fmt: skip


def _entry(one: ReplayResult, transition: Any) -> dict[str, Any]:
    return {"receipt": one.receipt, **{name: getattr(transition, name) for name in _SHOWN}}


def _result(one: ReplayResult) -> dict[str, Any]:
    decision = one.decision
    return {
        "receipt": one.receipt, "fate": one.fate.value,
        "outcome": decision.outcome.value if decision else one.row["outcome"] if one.row else None,
        "rule": decision.rule if decision else None, "reason": decision.reason if decision else one.why or None,
    }  # fmt: skip
