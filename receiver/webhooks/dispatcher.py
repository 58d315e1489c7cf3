"""All webhooks of the service: delivered to by the receiver that is the relay, commanded by any.

The relay's lock chooses: whoever publishes the feed also delivers it, so one receiver does. Must not know how an event
is delivered, nor who gives the commands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from random import Random

import structlog

from receiver.config.settings import Settings
from receiver.config.webhook_settings import Webhook
from receiver.errors import ConsumerLostError, ReceiverError
from receiver.observability.labels import Attempt
from receiver.observability.metrics import Metrics
from receiver.observability.trouble_log import TroubleLog
from receiver.postgres.database import Database
from receiver.publishing.broker import Broker
from receiver.publishing.durable_consumer import DurableConsumer, FeedMessage
from receiver.webhooks.commands import consumer_name
from receiver.webhooks.delivery import Delivery
from receiver.webhooks.lanes import Held
from receiver.webhooks.register import Register, Row
from receiver.webhooks.sender import Sender, trusted
from receiver.webhooks.starting_place import StartingPlace

log = structlog.get_logger()


class Dispatcher:
    """`run` until cancelled."""

    def __init__(
        self, broker: Broker, database: Database, settings: Settings, metrics: Metrics, leads: Callable[[], bool]
    ) -> None:
        """`leads` says whether this receiver is the one that delivers."""
        self._broker = broker
        self._settings = settings
        self._metrics = metrics
        self._leads = leads
        self._register = Register(database)
        for webhook in settings.webhooks:
            for attempt in Attempt:
                metrics.webhook_attempts.labels(webhook.name, attempt)
            metrics.webhook_foreign.labels(webhook.name)
            self._set_idle(webhook.name)

    def check(self) -> None:
        """Raises SettingsError for a file of authorities that cannot be used."""
        for webhook in self._settings.webhooks:
            trusted(webhook)

    async def run(self) -> None:
        """Deliver while this receiver is chosen."""
        while self._settings.webhooks:
            if self._leads():
                await self._deliver()
            await asyncio.sleep(self._settings.webhook_check_s)

    async def _deliver(self) -> None:
        tasks = [asyncio.create_task(self._serve(one), name=f"webhook {one.name}") for one in self._settings.webhooks]
        try:
            while self._leads():  # noqa: ASYNC110  # the relay's lock is lost without an event
                await asyncio.sleep(self._settings.webhook_check_s)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for one in self._settings.webhooks:
                self._set_idle(one.name)

    def _set_idle(self, name: str) -> None:
        """Only the receiver that delivers tells how it goes."""
        metrics = self._metrics
        for gauge in (
            metrics.webhook_pending_messages,
            metrics.webhook_disabled,
            metrics.webhook_failing_timestamp_seconds,
        ):
            gauge.labels(name).set(0)

    async def _serve(self, webhook: Webhook) -> None:
        """Deliver to one webhook, turn after turn, until cancelled."""
        trouble = TroubleLog(f"nothing is delivered to webhook {webhook.name} now; it is tried again")
        failed: dict[int, Held[FeedMessage]] = {}
        revision = -1
        while True:
            try:
                row = await self._register.row(webhook.name)
                if row.revision != revision:  # somebody gave a command: nothing of before counts
                    failed.clear()
                    revision = row.revision
                await self._turn(webhook, row, failed)
                trouble.clear()
            except ReceiverError as error:
                trouble.report(str(error))
            except Exception:  # a bug must not stop the service, nor the other webhooks: it is logged and tried again
                log.exception("delivering to a webhook failed", webhook=webhook.name)
            await asyncio.sleep(self._settings.webhook_check_s)

    async def _turn(self, webhook: Webhook, row: Row, failed: dict[int, Held[FeedMessage]]) -> None:
        self._metrics.webhook_disabled.labels(webhook.name).set(row.disabled_at is not None)
        if row.disabled_at:
            return
        consumer = DurableConsumer(
            self._broker,
            self._settings,
            consumer_name(webhook.name),
            webhook.subjects,
            self._settings.webhook_pending_max,
        )
        try:
            place = await StartingPlace(consumer, self._register).ensure(row)
        except ConsumerLostError as error:
            await self._tell_lost(row, str(error))
            raise
        async with Sender(webhook, self._settings) as sender:
            started, chance = row._replace(resend_from=None, trouble=None).at(place), Random()  # noqa: S311  # jitter
            await Delivery(
                started, consumer, sender, self._register, self._settings, self._metrics, chance, failed
            ).run()

    async def _tell_lost(self, row: Row, why: str) -> None:
        self._metrics.webhook_disabled.labels(row.name).set(1)
        with suppress(ReceiverError):
            await self._register.trouble(row, why)
