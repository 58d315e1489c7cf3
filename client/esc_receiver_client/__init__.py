"""esc-receiver's client: the feed on NATS (`EscFeed`), the query API (`EscReceiver`), an inbox for exactly once.

Each name is imported when it is asked for: who asks the query API need not load what reads NATS, nor the other way
round. This package must not know how the receiver works: it knows what is published and what is answered.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from esc_receiver_client.api import EscReceiver
    from esc_receiver_client.data import Data, OtherEvent
    from esc_receiver_client.errors import (
        ApiError,
        ConsumerConflictError,
        ConsumerGoneError,
        EscReceiverError,
        FeedError,
        FeedUnreachableError,
        InboxMissingError,
        NotAnEventError,
        RefusedError,
        StreamMissingError,
        TokenError,
        UnansweredError,
        UnknownError,
    )
    from esc_receiver_client.event import Batch, Event
    from esc_receiver_client.feed import EscFeed
    from esc_receiver_client.inbox import PostgresInbox
    from esc_receiver_client.snapshot import State
    from esc_receiver_client.sync_api import SyncEscReceiver

__version__ = "0.1.0"

__all__ = [
    "ApiError",
    "Batch",
    "ConsumerConflictError",
    "ConsumerGoneError",
    "Data",
    "EscFeed",
    "EscReceiver",
    "EscReceiverError",
    "Event",
    "FeedError",
    "FeedUnreachableError",
    "InboxMissingError",
    "NotAnEventError",
    "OtherEvent",
    "PostgresInbox",
    "RefusedError",
    "State",
    "StreamMissingError",
    "SyncEscReceiver",
    "TokenError",
    "UnansweredError",
    "UnknownError",
]

_WHERE = {
    "api": ("EscReceiver",),
    "data": ("Data", "OtherEvent"),
    "event": ("Batch", "Event"),
    "feed": ("EscFeed",),
    "inbox": ("PostgresInbox",),
    "snapshot": ("State",),
    "sync_api": ("SyncEscReceiver",),
}
"""By module; all others are errors."""

if not TYPE_CHECKING:  # a type checker knows what there is, and what there is not

    def __getattr__(name: str) -> Any:
        """One of `__all__`; then it stands here."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = next((module for module, names in _WHERE.items() if name in names), "errors")
        found = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
        return found

    def __dir__() -> list[str]:
        return [*globals(), *__all__]
