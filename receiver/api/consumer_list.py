"""`GET consumers`: who reads the feed at JetStream, and how far behind each is, as JetStream says at this moment.

This file must not know HTTP.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from receiver.api.api_errors import UnavailableError
from receiver.errors import DisconnectedError
from receiver.publishing.consumers import StreamConsumer

ListConsumers = Callable[[], Awaitable[list[StreamConsumer]]]
TYPES: Mapping[str, Any] = {
    "name": str, "durable": bool, "subjects": list[str], "reading": bool, "pending": int, "unacknowledged": int,
    "redelivered": int, "last_delivered_at": datetime | None, "last_acknowledged_at": datetime | None,
}  # fmt: skip
"""What is shown of a consumer, with types."""


async def consumers(find: ListConsumers | None) -> list[dict[str, Any]]:
    """All of them, by name; none without a NATS to ask. Raises UnavailableError while it does not answer."""
    try:
        found = await find() if find else []
    except DisconnectedError as error:
        raise UnavailableError(str(error)) from error
    return [{name: getattr(one, name) for name in TYPES} for one in sorted(found)]
