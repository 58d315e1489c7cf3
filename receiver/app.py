"""Builds the service from its rooms: start, run, stop in order.

Everything is wired here and nowhere else. What runs beside the requests is a named task; one that fails ends the
service with its error.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import structlog

from receiver.api.routes import Api
from receiver.board.page import Board
from receiver.config.exposure import open_doors
from receiver.config.settings import Settings
from receiver.errors import ReceiverError
from receiver.http.health import Dependency, Health
from receiver.http.ingress import Ingress
from receiver.http.sites import Sites
from receiver.http.tls import ListenerTls
from receiver.ingest.batcher import Batcher
from receiver.jobs.entity_counts import EntityCounts
from receiver.jobs.feed_check import FeedCheck
from receiver.jobs.learning import Learning
from receiver.jobs.monitors import Monitors
from receiver.jobs.overdue_scan import OverdueScan
from receiver.jobs.retention import Retention
from receiver.lifecycle import Windows
from receiver.observability.log_writer import LogWriter
from receiver.observability.logs import at_any_level
from receiver.observability.metrics import Metrics
from receiver.observability.tracing import Traces
from receiver.parsing.body_readers import BodyReaders
from receiver.postgres.batch_writer import BatchWriter
from receiver.postgres.database import Database
from receiver.postgres.partitions import Partitions
from receiver.postgres.store import Store
from receiver.postgres.wake_ups import WakeUps
from receiver.publishing.broker import Broker
from receiver.publishing.comparison import FeedComparison
from receiver.publishing.consumers import ConsumerList
from receiver.publishing.jetstream import JetStream
from receiver.publishing.message_lookup import MessageLookup
from receiver.publishing.rebuild import StreamRebuild
from receiver.publishing.relay import Relay
from receiver.publishing.repair import Repair
from receiver.reconcile.reconciler import Reconciler
from receiver.replay.dead_letters import DeadLetters
from receiver.spool import Spool
from receiver.spool.left_spools import LeftSpools, new_taking
from receiver.spool.router import SpoolRouter
from receiver.webhooks.commands import Commands
from receiver.webhooks.dispatcher import Dispatcher
from receiver.workers.membership import Membership
from receiver.workers.tally import Report, report_of

log = structlog.get_logger()


class App:
    """One receiver. `start`, then `run`, then `stop`; stopping twice is harmless."""

    def __init__(
        self,
        settings: Settings,
        traces: Traces | None = None,
        log_writer: LogWriter | None = None,
        membership: Membership | None = None,
    ) -> None:
        """With a membership it is one of several workers; what is one worker's share is in its settings."""
        self.settings = settings
        self._membership = membership
        self._traces = traces
        self.metrics = Metrics(settings.all_sources, settings=settings)
        if log_writer:
            log_writer.count_dropped(self.metrics.log_lines_dropped.inc)
        self.database = Database(settings, self.metrics)
        self.broker = Broker(settings, self.metrics)
        self.partitions = Partitions(settings)
        store = Store(Windows(settings.reorder_window_s, settings.duplicate_window_s))
        self._wake_ups = WakeUps(self.database.acquire, settings)
        writer = BatchWriter(self.database, store, self.partitions, self._wake_ups, settings, self.metrics)
        self.spool = Spool(settings, membership.spool_folders if membership else ())
        self.readers = BodyReaders(settings)
        self.router = SpoolRouter(self.spool, writer, settings, self.metrics, self.readers)
        self.left_spools = LeftSpools(self.spool, writer, settings, self.metrics, self.readers)
        self.batcher = Batcher(writer, self.router, settings, self.metrics)
        common = self.database, store, self.partitions, settings, self.metrics
        self.reconciler = Reconciler.of(*common, is_behind=lambda: not self.router.direct)
        self.overdue_scan = OverdueScan(
            *common, is_behind=lambda: not self.router.direct, on_overdue=self.reconciler.became_overdue
        )
        jetstream = JetStream(self.broker, settings)
        comparison = FeedComparison(self.database, jetstream, settings)
        repair = Repair(comparison, StreamRebuild(self.database, settings, self.readers), self.metrics)
        self.relay = Relay(self.database.connect, jetstream, settings, self.metrics, repair)
        self.webhooks = Dispatcher(self.broker, self.database, settings, self.metrics, lambda: self.relay.leads)
        self.learning = Learning(self.database, settings)
        self.feed_check = FeedCheck(comparison, self.relay, settings, self.metrics)
        self.retention = Retention(self.database, self.partitions, settings, self.metrics)
        self.entity_counts = EntityCounts(self.database, settings, self.metrics)
        self.tls = ListenerTls(settings, self.metrics)
        self.monitors = Monitors(self.broker, settings, self.metrics, lambda: self.spool.folder)
        published = MessageLookup(self.broker, settings)
        readers = ConsumerList(self.broker, settings)
        ended = membership.tell_session_ended if membership else None
        dead_letters = DeadLetters(self.database, store, self.partitions, settings)
        self.hooks = Commands(self.broker, self.database, settings)
        self.api = Api(
            self.database.connect, settings, self.metrics, published.find, readers.find, ended, dead_letters,
            self.hooks, self.reconciler,
        )  # fmt: skip
        self.health = self._health()
        self._spool_taking = new_taking()
        self._sites = Sites(settings, self.metrics, self.tls)
        self._started = False
        self._tasks: list[asyncio.Task[Any]] = []
        self._undo = AsyncExitStack()

    async def start(self) -> None:
        """Serve, whether PostgreSQL and NATS are there already or not (`/readyz` tells).

        Raises SetupError when the address cannot be served on, or another receiver uses the spool.
        """
        try:
            await self._start()
        except BaseException:
            await self._undo.aclose()
            raise

    async def _start(self) -> None:
        self.tls.open()
        self.broker.check()
        self.webhooks.check()
        if self._membership is None or self._membership.is_first:
            for warning in open_doors(self.settings):
                log.warning(warning)
        if self._membership:
            await self._membership.join(self)
        if self._traces:
            self._undo.callback(self._traces.close)
        self._undo.push_async_callback(self.readers.close)
        self._undo.push_async_callback(self.database.close)
        self._undo.push_async_callback(self.broker.close)
        await self.database.open()
        await self._undo.enter_async_context(self._wake_ups)
        self._undo.push_async_callback(self.spool.close)
        await self.router.open()
        await self.api.open()
        self._undo.callback(self.api.close)
        ingress = Ingress(self.batcher, self.settings, self.metrics, self.readers, self._traces)
        member = self._membership
        sockets = (member.listeners, member.admin_listeners) if member else ((), ())
        await self._sites.start(ingress, (self.health, Board(), self.api), self.api.stop, sockets)
        self._started = True
        self._undo.push_async_callback(self._end_tasks)
        accepting = self._start_task(self.batcher.run(), "batcher")
        self._undo.push_async_callback(self._finish_batches, accepting)
        self._undo.push_async_callback(self._sites.stop)
        self._start_task(self._work(), "work")
        if self.tls.configured:
            self._start_task(self.tls.run(), "tls")
        if self._membership:
            self._start_task(self._belong(self._membership), "membership")
            await self._membership.tell_serving(self.url, self.admin_url)
        else:
            log.info("serving", url=self.url, **({"admin_url": self.admin_url} if self._sites.are_apart else {}))

    async def _belong(self, membership: Membership) -> None:
        """Until it is replaced by another worker, and has answered whom it can; or until nobody looks after it."""
        await membership.run()
        await self._sites.linger(self.settings.worker_linger_s)

    async def _work(self) -> None:
        """Bring the schema up to date as soon as PostgreSQL answers, then run what needs it."""
        await self.database.prepare(self.partitions)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.retention.run())
            group.create_task(self.relay.run())
            group.create_task(self.router.run())
            group.create_task(self.overdue_scan.run())
            group.create_task(self.reconciler.run())
            group.create_task(self.entity_counts.run())
            group.create_task(self.monitors.run())
            group.create_task(self.learning.run())
            group.create_task(self.feed_check.run())
            group.create_task(self.webhooks.run())
            group.create_task(self.api.run())
            if self._membership is None or self._membership.is_first:
                group.create_task(self.left_spools.run())

    def _health(self) -> Health:
        dependencies = (
            Dependency("keeping", self._check_intake, needed=True),
            Dependency("postgres", self.database.ping, needed=False),
            Dependency("spool", self.spool.ping, needed=False),
            Dependency("mode", self._check_mode, needed=False),
            Dependency("spool_refused", self._check_spool_refused, needed=False),
            Dependency("spool_age", self._check_spool_age, needed=False),
            Dependency("nats", self.broker.ping, needed=False),
            Dependency("relay", self._check_relay, needed=False),
            *([Dependency("tls", self.tls.ping, needed=False)] if self.tls.configured else []),
            Dependency("retention", self._check_retention, needed=False),
            *([Dependency("esc", self.reconciler.ping, needed=False)] if self.reconciler.sources else []),
        )
        warnings = list(open_doors(self.settings))
        return Health(
            dependencies, self.metrics, self.settings.readyz_timeout_s, lambda: self._warnings(warnings),
            self._membership, lambda: {"feed_fsynced": self.monitors.feed_fsynced},
        )  # fmt: skip

    def _warnings(self, lasting: list[str]) -> list[str]:
        return [*lasting, *filter(None, [self.entity_counts.warning, self.monitors.warning])]

    async def _check_intake(self) -> None:
        """Whether the next callback would be kept, by the spool or by PostgreSQL.

        The spool is asked first: one that can keep is enough, however silent PostgreSQL is.
        """
        if self.batcher.full:
            raise ReceiverError("as many callbacks wait as queue_callbacks_max and queue_bytes_max allow")
        try:
            async with asyncio.timeout(self.settings.readyz_timeout_s / 2):
                await self.spool.ping()
        except (ReceiverError, TimeoutError):
            if not self.router.direct:
                raise
            await self.database.ping()

    async def _check_mode(self) -> None:
        if not self.router.direct:
            depth = self.spool.depth
            waiting = "1 callback waits" if depth == 1 else f"{depth} callbacks wait"
            raise ReceiverError(f"{self.router.mode}: {waiting} in the spool")

    async def _check_spool_refused(self) -> None:
        if refused := self.router.refused:
            raise ReceiverError(
                f"PostgreSQL refuses callbacks of the spool ({refused}); others go past them (the log says why)"
            )

    async def _check_spool_age(self) -> None:
        oldest, limit_s = self.spool.oldest, self.settings.spool_age_warn_s
        if oldest and (datetime.now(UTC) - oldest).total_seconds() > limit_s:
            raise ReceiverError(
                f"a callback of {oldest:%Y-%m-%d %H:%M:%S} UTC is still in the spool (spool_age_warn_s)"
            )

    async def _check_relay(self) -> None:
        if self.relay.trouble:
            raise ReceiverError(self.relay.trouble)

    async def _check_retention(self) -> None:
        if self.retention.trouble:
            raise ReceiverError(f"nothing is dropped by age now: {self.retention.trouble}")

    @property
    def url(self) -> str:
        """Where callbacks are posted."""
        return self._sites.url

    @property
    def admin_url(self) -> str:
        """Where API, board and metrics are."""
        return self._sites.admin_url

    async def until_ready(self) -> None:
        """Until callbacks can be kept, or until a task fails: then its error is raised."""
        ready = asyncio.create_task(self.router.begun.wait(), name="ready")
        try:
            await asyncio.wait([ready, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
            if not self.router.begun.is_set():
                await self.run()
        finally:
            ready.cancel()

    async def run(self) -> None:
        """Until cancelled, or until a task fails: then its error is raised."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def stop(self) -> None:
        """Take nothing more, finish what was taken, and log the sums."""
        if not self._started:
            return
        await self._undo.aclose()
        self._started = False
        if self._membership is None:
            at_any_level().info("stopped", **self.metrics.sums())
            return
        at_any_level().info("worker stopped", worker=self._membership.number, **self.metrics.sums())
        with suppress(ReceiverError, TimeoutError):  # the supervisor may have gone
            await self._membership.tell_ended(self.report())

    # What the supervisor of several workers asks (`Member`).

    def report(self) -> Report:
        """What was counted, in one step."""
        holds = self.left_spools.holds(self.router.found, self._spool_taking)
        return report_of(self.metrics.registry, self.metrics.sums(), holds)

    async def fresh_report(self) -> Report:
        """The same: a process knows at once what it counted."""
        return self.report()

    async def readiness(self) -> dict[str, Any]:
        """How this process is."""
        return {**await self.health.readiness(), "mode": self.router.mode}

    def end_session(self, cookie: str) -> None:
        """A session of the board was ended at another worker."""
        self.api.end_session(cookie)

    def _start_task(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.append(task)
        return task

    async def _finish_batches(self, accepting: asyncio.Task[None]) -> None:
        self.batcher.stop()
        await asyncio.wait([accepting], timeout=self.settings.stop_timeout_s)

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        with suppress(TimeoutError):  # a task that ignores it is cancelled again when the loop ends
            async with asyncio.timeout(self.settings.stop_timeout_s):
                await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def running(
    settings: Settings,
    traces: Traces | None = None,
    log_writer: LogWriter | None = None,
    membership: Membership | None = None,
) -> AsyncIterator[App]:
    """The service, started; stopped in order at the end."""
    app = App(settings, traces, log_writer, membership)
    await app.start()
    try:
        yield app
    finally:
        await app.stop()
