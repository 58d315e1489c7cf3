"""Where a message stands in the feed's stream, and since when: looked up in the stream itself.

Nothing is written for it when a callback is stored: the stream itself is searched, once for each explanation, by the
message's subject from about the time on at which it was made. It must not know what the place is for.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from nats.aio.client import Client

from receiver.config.settings import Settings
from receiver.errors import ReceiverError
from receiver.publishing.broker import Broker
from receiver.publishing.jetstream_api import get_message
from receiver.publishing.messages import MESSAGE_ID, prefixed

CLOCKS_APART = timedelta(minutes=5)
"""The broker may tell another time than the receiver."""
LOOKED_AT_MAX = 16
"""Messages of one subject that are looked at; a VM may come to the same state again and again."""


class Place(NamedTuple):
    """The broker's own word for a message."""

    sequence: int
    at: str
    """When the broker took it, RFC 3339 in UTC."""


class MessageLookup:
    """Looks messages up in the stream."""

    def __init__(self, broker: Broker, settings: Settings) -> None:
        self._broker = broker
        self._stream = settings.stream_name
        self._prefix = settings.subject_prefix
        self._timeout_s = settings.ping_timeout_s

    async def find(self, subject: str, message_id: str, made_at: datetime) -> Place | None:
        """The place of a message; None when it is not there (any more), or the broker does not answer in time."""
        if not self._broker.is_up:
            return None
        try:
            async with asyncio.timeout(self._timeout_s):
                client, subject = await self._broker.client(), prefixed(subject, self._prefix)
                return await self._find(client, subject, message_id, made_at - CLOCKS_APART)
        except (ReceiverError, TimeoutError):
            return None

    async def _find(self, client: Client, subject: str, message_id: str, since: datetime) -> Place | None:
        where: dict[str, Any] = {"start_time": since}
        for _ in range(LOOKED_AT_MAX):
            message = await get_message(client, self._stream, {"next_by_subj": subject, **where}, self._timeout_s)
            if message is None:
                return None
            if f"{MESSAGE_ID}: {message_id}\r\n".encode() in b64decode(message.get("hdrs", "")):
                return Place(message["seq"], message["time"])
            where = {"seq": message["seq"] + 1}
        return None
