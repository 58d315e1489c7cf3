"""What people see of webhooks and do about them, at whichever receiver they ask: list, enable, resend, test.

A command is written into the table, where the receiver that delivers finds it. Must not know HTTP paths or the command
line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID, uuid4

import orjson

from receiver.config.settings import Settings
from receiver.config.webhook_settings import Webhook
from receiver.errors import ReceiverError
from receiver.observability.labels import Attempt
from receiver.postgres.database import Database
from receiver.publishing.broker import Broker
from receiver.publishing.consumers import ConsumerList
from receiver.publishing.durable_consumer import DurableConsumer
from receiver.webhooks.register import Register, Row
from receiver.webhooks.sender import send_once


class UnknownWebhookError(ReceiverError):
    """No webhook of this name is configured."""


class NotInStreamError(ReceiverError):
    """The stream has no such sequence."""


class WebhookState(StrEnum):
    """How a webhook is."""

    STARTING = "starting"
    """Nothing is known of it yet: no receiver has begun to deliver."""
    DELIVERING = "delivering"
    FAILING = "failing"
    """It does not take an event, which is tried again."""
    LOST = "lost"
    """Its place in the stream is lost: nothing is sent until it is found, or somebody chooses one."""
    DISABLED = "disabled"
    """Nothing is sent until somebody enables it."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One webhook, as people see it."""

    name: str
    url: str
    """Without its query."""
    subjects: list[str]
    state: WebhookState
    since: datetime | None
    """When it was disabled, or began to fail."""
    reason: str | None
    """Why it is disabled, lost or failing."""
    pending: int | None
    """Events that it has yet to take; None: NATS does not tell."""
    cursor_sequence: int | None
    """Everything up to it in the stream was taken."""
    failing_sequence: int | None
    last_delivered_at: datetime | None
    last_delivered_sequence: int | None
    last_delivered_id: UUID | None
    last_error_at: datetime | None
    last_error: str | None


class Tried(NamedTuple):
    """What came of a test."""

    webhook_id: UUID
    delivered: bool
    status: int | None
    said: str
    took_s: float


class Commands:
    """All of them. Methods raise SetupError, DisconnectedError and their own."""

    def __init__(self, broker: Broker, database: Database, settings: Settings) -> None:
        self._broker = broker
        self._settings = settings
        self._register = Register(database)
        self._consumers = ConsumerList(broker, settings)

    async def all(self) -> Sequence[Shown]:
        """Those that are configured, in that order."""
        rows, pending = await self._register.rows(), await self._pending()
        return [_shown(one, rows.get(one.name), pending) for one in self._settings.webhooks]

    async def one(self, name: str) -> Shown:
        """Raises UnknownWebhookError."""
        self._configured(name)
        return next(one for one in await self.all() if one.name == name)

    async def enable(self, name: str) -> None:
        """Deliver again from where it stood. Raises UnknownWebhookError."""
        self._configured(name)
        await self._register.enable(name)

    async def resend(self, name: str, from_sequence: int) -> None:
        """Deliver from there on, disabled or not. Raises UnknownWebhookError and NotInStreamError."""
        webhook = self._configured(name)
        stream = await DurableConsumer(self._broker, self._settings, webhook.name, (), 1).stream()
        if not stream.first_sequence <= from_sequence <= stream.last_sequence + 1:
            has = f"has {stream.first_sequence} to" if stream.messages else "is empty, and ended at"
            raise NotInStreamError(f"the stream {has} {stream.last_sequence}")
        await self._register.enable(name, from_sequence)

    async def test(self, name: str) -> Tried:
        """Post an event that is no change of anything. Raises UnknownWebhookError."""
        webhook, message_id = self._configured(name), uuid4()
        event = {
            "specversion": "1.0", "id": message_id, "source": "/esc-receiver", "type": "esc.webhook.test.v1",
            "subject": f"webhook/{name}", "time": datetime.now(UTC), "datacontenttype": "application/json",
            "data": {"entity": "webhook", "change": "test", "name": name},
        }  # fmt: skip
        result = await send_once(webhook, self._settings, str(message_id), orjson.dumps(event, option=orjson.OPT_UTC_Z))
        return Tried(message_id, result.attempt is Attempt.DELIVERED, result.status, result.said, result.took_s)

    def _configured(self, name: str) -> Webhook:
        found = next((one for one in self._settings.webhooks if one.name == name), None)
        if found is None:
            raise UnknownWebhookError("no webhook of this name is configured")
        return found

    async def _pending(self) -> dict[str, int]:
        """By consumer; nothing while NATS does not tell."""
        if not self._settings.webhooks:
            return {}
        try:
            found = await self._consumers.find()
        except ReceiverError:
            return {}
        return {one.name: one.pending + one.unacknowledged for one in found}


def consumer_name(webhook: str) -> str:
    """The durable name of its consumer."""
    return f"esc-receiver-webhook-{webhook}"


def _shown(webhook: Webhook, row: Row | None, pending: dict[str, int]) -> Shown:
    row = row or Row(webhook.name)
    state = _state(row)
    reasons = {
        WebhookState.DISABLED: row.disabled_because,
        WebhookState.LOST: row.trouble,
        WebhookState.FAILING: row.error,
    }
    return Shown(
        name=webhook.name, url=webhook.shown_url, subjects=list(webhook.subjects), state=state,
        since=row.disabled_at or row.failing_since, reason=reasons.get(state),
        pending=pending.get(consumer_name(webhook.name)), cursor_sequence=row.place_sequence,
        failing_sequence=row.failing_sequence, last_delivered_at=row.delivered_at,
        last_delivered_sequence=row.delivered_sequence,
        last_delivered_id=UUID(row.delivered_id) if row.delivered_id else None,
        last_error_at=row.error_at, last_error=row.error,
    )  # fmt: skip


def _state(row: Row) -> WebhookState:
    if row.disabled_at:
        return WebhookState.DISABLED
    if row.trouble:
        return WebhookState.LOST
    if row.place_sequence is None:
        return WebhookState.STARTING
    return WebhookState.FAILING if row.failing_since else WebhookState.DELIVERING
