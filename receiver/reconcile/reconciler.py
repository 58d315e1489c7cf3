"""When each ESC is asked: at start, every so often, at once for an operation that became overdue, and on demand.

One receiver at a time asks an ESC (a lease in PostgreSQL); while callbacks wait in this one's spool it asks nobody. An
ESC that cannot be asked is asked again after ever longer pauses, and one line says why. Must not know HTTP, routes, nor
how an answer is judged.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog

from receiver.config.settings import Settings
from receiver.errors import CannotAskError, NotAuthorisedError, describe
from receiver.model.entities import Decision, Operation
from receiver.observability.labels import Asked
from receiver.observability.metrics import Metrics
from receiver.observability.trouble_log import TroubleLog
from receiver.parsing.answer_parser import is_safe
from receiver.postgres.database import Database
from receiver.postgres.driver_errors import UNUSABLE
from receiver.postgres.partitions import Partitions
from receiver.postgres.store import Store
from receiver.reconcile.answer_store import AnswerStore
from receiver.reconcile.esc_client import EscClient
from receiver.reconcile.questions import NotUnderstoodError, Questions
from receiver.reconcile.sweep import Event, Sweep, Wanted

log = structlog.get_logger()

BUSY_S: Final = 5.0
"""Pause while another receiver asks, or while callbacks wait in the spool."""
JUST_NOW_S: Final = 60.0
"""What another receiver has swept so lately is not swept again at start."""
LEASE_S: Final = 60.0
"""Longer than the pauses between two signs of life, besides those that settings tell."""


@dataclass(slots=True)
class _Esc:
    """One ESC that may be asked."""

    questions: Questions
    trouble: TroubleLog
    overdue: set[str] = field(default_factory=set)
    """Deployments to be asked for at once."""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    failures: int = 0


class Reconciler:
    """Those of one receiver."""

    def __init__(
        self, store: AnswerStore, settings: Settings, metrics: Metrics, is_behind: Callable[[], bool] = lambda: False
    ) -> None:
        """`is_behind`: whether received callbacks wait to be applied."""
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._is_behind = is_behind
        self._escs = {
            name: _Esc(Questions(name, EscClient(source.esc, settings), settings), _trouble_of(name))
            for name, source in settings.all_sources.items()
            if source.esc
        }

    @classmethod
    def of(
        cls, database: Database, store: Store, partitions: Partitions, settings: Settings, metrics: Metrics,
        is_behind: Callable[[], bool],
    ) -> Reconciler:  # fmt: skip
        """One of this database."""
        return cls(AnswerStore(database, store, partitions, settings, metrics), settings, metrics, is_behind)

    async def ping(self) -> None:
        """Raises CannotAskError while an ESC cannot be asked."""
        if self.troubles:
            raise CannotAskError("; ".join(f"{source}: {why}" for source, why in self.troubles.items()))

    @property
    def sources(self) -> list[str]:
        """Those that may be asked."""
        return list(self._escs)

    @property
    def troubles(self) -> dict[str, str]:
        """Why an ESC cannot be asked, by source."""
        return {name: esc.trouble.why for name, esc in self._escs.items() if esc.trouble.why}

    def became_overdue(self, decisions: Iterable[Decision]) -> None:
        """Ask for the deployments of these operations at once."""
        for decision in decisions:
            for one in decision.entities:
                esc = self._escs.get(one.source)
                if esc and isinstance(one, Operation) and one.deployment and is_safe(one.deployment):
                    esc.overdue.add(one.deployment)
                    esc.news.set()

    async def run(self) -> None:
        """Ask whenever it is time, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name in self._escs:
                group.create_task(self._run(name), name=f"asking {name}")

    async def sweep(self, source: str, wanted: Wanted, fresh_s: float = 0.0) -> AsyncGenerator[Event, None]:
        """Ask one ESC, and tell what happens; the last event is `result`, `trouble` or `fresh`.

        `fresh` when all of it was asked for within `fresh_s`. Raises `UNUSABLE` errors.
        """
        esc, settings = self._escs[source], self._settings
        if self._is_behind():
            yield {"event": "trouble", "source": source, "reason": "callbacks wait in the spool; they are first"}
            return
        lease_s = LEASE_S + 2 * settings.reconcile_timeout_s + settings.reconcile_confirm_s
        if (lease := await self._store.lease(source, lease_s)) is None:
            yield {"event": "trouble", "source": source, "reason": "another receiver is asking it"}
            return
        swept_at, now = lease
        try:
            if swept_at and now - swept_at < timedelta(seconds=fresh_s):
                yield {"event": "fresh", "source": source}
                return
            async with aclosing(self._asked(esc, wanted)) as events:
                async for event in events:
                    if event["event"] == "progress":
                        await self._store.lease(source, lease_s)
                    yield event
        finally:
            with suppress(*UNUSABLE):
                await self._store.release(source)

    async def _asked(self, esc: _Esc, wanted: Wanted) -> AsyncGenerator[Event, None]:
        source = esc.questions.source
        sweep = Sweep(esc.questions, self._store, self._settings, wanted)
        try:
            async for event in sweep.events():
                self._note(source, wanted, event)
                yield event
        except CannotAskError as error:
            yield await self._failed(esc, error)
            return
        outcome = Asked.MENDED if sweep.changes and not wanted.dry_run else Asked.AGREED
        self._metrics.reconcile_sweeps.labels(source, outcome).inc()
        if esc.trouble.why:
            log.info("ESC can be asked again", source=source)
        esc.trouble.clear()
        esc.failures = 0
        await self._store.note_asked(source, None, await esc.questions.client.health())
        if not (wanted.dry_run or wanted.deployments):
            self._metrics.reconcile_missing.labels(source).inc(sweep.missing)
            await self._store.note_swept(source, sweep.deployments, sweep.changes, sweep.missing)

    async def _failed(self, esc: _Esc, error: CannotAskError) -> Event:
        source = esc.questions.source
        self._metrics.reconcile_sweeps.labels(source, Asked.FAILED).inc()
        esc.trouble.report(str(error))
        esc.failures = 64 if isinstance(error, NotAuthorisedError) else esc.failures + 1
        if isinstance(error, NotUnderstoodError):
            await self._store.keep_malformed(error.envelope, error.why)
        await self._store.note_asked(source, str(error), await esc.questions.client.health())
        return {"event": "trouble", "source": source, "reason": str(error)}

    def _note(self, source: str, wanted: Wanted, event: Event) -> None:
        """One line, or a count, for each thing that somebody should know."""
        facts = {name: value for name, value in event.items() if name != "event"}
        match event["event"]:
            case "change" if not wanted.dry_run:
                self._metrics.reconcile_changes.labels(source, event["entity"]).inc()
            case "left-out":
                log.warning("a deployment that ESC shows is left alone", **facts)
            case "missing":
                log.warning("ESC lacks more deployments than are believed gone (reconcile_gone_max)", **facts)
            case "result" if event["changes"] and not wanted.dry_run:
                log.warning("ESC was asked, and what callbacks had not told is mended", **facts)

    # When.

    async def _run(self, source: str) -> None:
        esc, every_s = self._escs[source], self._settings.reconcile_every_s
        loop = asyncio.get_running_loop()
        due_s, fresh_s = (loop.time(), JUST_NOW_S) if every_s else (float("inf"), 0.0)
        while True:
            await _until(esc.news, due_s)
            is_due = loop.time() >= due_s
            try:
                last = await self._turn(source, all_of_it=is_due, fresh_s=fresh_s if is_due else 0.0)
            except UNUSABLE as error:
                log.warning("an ESC could not be asked: PostgreSQL does not answer", source=source, why=describe(error))
                last = "trouble"
            except Exception:  # a bug in a background job must not stop the service; it is logged and tried again
                log.exception("asking an ESC failed", source=source)
                last = "trouble"
            if last == "trouble":
                await asyncio.sleep(self._pause_s(esc))
            elif is_due:
                due_s, fresh_s = loop.time() + every_s, every_s / 2

    async def _turn(self, source: str, *, all_of_it: bool, fresh_s: float) -> str:
        """The last event."""
        esc, last = self._escs[source], ""
        overdue = tuple(sorted(esc.overdue))
        if not (all_of_it or overdue):
            esc.news.clear()
            return last
        async with aclosing(self.sweep(source, Wanted(() if all_of_it else overdue), fresh_s)) as events:
            async for event in events:
                last = event["event"]
        if last != "trouble" and not (all_of_it and last == "fresh"):
            esc.overdue -= set(overdue)
        if not esc.overdue:
            esc.news.clear()
        return last

    def _pause_s(self, esc: _Esc) -> float:
        if not esc.failures:
            return BUSY_S
        pause_s = self._settings.reconcile_retry_s * float(2 ** min(esc.failures - 1, 32))
        return min(pause_s, self._settings.reconcile_retry_max_s)


async def _until(news: asyncio.Event, due_s: float) -> None:
    if due_s == float("inf"):
        await news.wait()
        return
    with suppress(TimeoutError):
        async with asyncio.timeout_at(due_s):
            await news.wait()


def _trouble_of(source: str) -> TroubleLog:
    return TroubleLog(f"the ESC of source {source} cannot be asked; nothing is changed, and it is tried again")
