"""esc-receiver's client: the feed on NATS (`EscFeed`), the query API (`EscReceiver`), an inbox for exactly once.

This package must not know how the receiver works: it knows what is published and what is answered.
"""

from esc_receiver_client.api import EscReceiver
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
from esc_receiver_client.event import Batch, Data, Event, OtherEvent
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
