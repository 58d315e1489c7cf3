"""The endpoints about webhooks as data (`endpoints`). Must not know how an answer is made."""

from __future__ import annotations

from typing import Any

from receiver.api import examples
from receiver.api.answer_schemas import of
from receiver.api.endpoint import Endpoint
from receiver.api.openapi import array_of, reference
from receiver.api.parameters import TEXT, Parameter
from receiver.config.read_tokens import Scope

WEBHOOK = Parameter("webhook", "The webhook's name.", TEXT, "orders").in_path


def webhook_endpoints() -> list[Endpoint]:
    """In the order in which they are shown."""
    here = "Without tokens only from the receiver's own machine."
    order: dict[str, Any] = {"method": "POST", "scope": Scope.OPERATE, "problems": (404, 408, 413, 415)}
    return [
        Endpoint(
            "webhooks", "/webhooks", "Where events are posted, and how it goes",
            "In the order of the settings. `failing`: it does not take an event, which is tried again; `lost`: its "
            "place in the stream is not there; `disabled`: sent nothing until it is enabled. `pending` is null while "
            "NATS does not tell.",
            of(items=array_of(reference("Webhook"))), {"items": [examples.WEBHOOK]},
        ),
        Endpoint(
            "enable_webhook", "/webhooks/{webhook}/enable", "Deliver again to a webhook",
            f"From where it stood; what waits for its retry is tried at once. {here}",
            reference("Webhook"), examples.WEBHOOK, (WEBHOOK,), body=reference("Nothing"), body_example={}, **order,
        ),
        Endpoint(
            "resend_webhook", "/webhooks/{webhook}/resend", "Deliver from a sequence of the stream on",
            "With the same `webhook-id`s as before; also passes over what it never takes, and enables it. Such a "
            f"sequence must be in the stream, or be the next. {here}",
            reference("Webhook"), examples.WEBHOOK, (WEBHOOK,), body=reference("Resend"),
            body_example={"from_sequence": 4711}, **order,
        ),
        Endpoint(
            "test_webhook", "/webhooks/{webhook}/test", "Post a test event to a webhook",
            f"Signed like all, of type `esc.webhook.test.v1`, once, also to a disabled one. {here}",
            reference("WebhookTried"), examples.WEBHOOK_TRIED, (WEBHOOK,), body=reference("Nothing"), body_example={},
            **order,
        ),
    ]  # fmt: skip
