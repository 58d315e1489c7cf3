"""The metrics of webhooks, a part of `catalogue`. Must not know when anything is counted."""

from __future__ import annotations

from receiver.observability.buckets import LIFECYCLE_SECONDS, SECONDS
from receiver.observability.definition import Label, common, counter, histogram
from receiver.observability.labels import Attempt

WEBHOOK = Label("webhook", from_where="the configured webhooks")


class WebhookCatalogue:
    """As `Catalogue`."""

    webhook_attempts = counter(
        "attempts", "Deliveries tried, by what came of them.", WEBHOOK, Label("outcome", tuple(Attempt)), lazy=True
    )
    webhook_seconds = histogram(
        "seconds", "One delivery, until its answer or its failure.", SECONDS, WEBHOOK, lazy=True
    )
    webhook_lag_seconds = histogram(
        "seconds", "One event, from its ledger entry until a webhook took it.", LIFECYCLE_SECONDS, WEBHOOK, lazy=True
    )
    webhook_foreign = counter("messages", "Messages that are no events of a receiver, passed over.", WEBHOOK, lazy=True)
    webhook_pending_messages = common("messages", "Events that a webhook has yet to take.", WEBHOOK, lazy=True)
    webhook_disabled = common(
        "boolean", "1 while a webhook is disabled, or its place in the stream is lost: it is sent nothing.",
        WEBHOOK, lazy=True,
    )  # fmt: skip
    webhook_failing_timestamp_seconds = common(
        "seconds", "Since when a webhook does not take an event; 0: it takes them.", WEBHOOK, lazy=True
    )
