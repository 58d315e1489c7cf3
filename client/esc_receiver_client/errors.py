"""Every error that this package raises on purpose: what went wrong, and what to do about it.

Errors of NATS, HTTP and JSON do not come through. Must not know who raises them.
"""

from __future__ import annotations


class EscReceiverError(Exception):
    """The root of all of them."""


class FeedError(EscReceiverError):
    """The feed cannot be read."""


class FeedUnreachableError(FeedError):
    """NATS does not answer at the start; once it was reached, it is waited for without an error."""


class StreamMissingError(FeedError):
    """This NATS has no such stream or bucket: it is another NATS, or no receiver has been connected to it yet."""


class ConsumerConflictError(FeedError):
    """A consumer of this name exists, and is of another kind than is asked for: choose another name, or delete it."""


class ConsumerGoneError(FeedError):
    """Somebody deleted the consumer while it was read: where it stood is not known; start again to create it anew."""


class NotAnEventError(FeedError):
    """A message on the stream is not of a receiver; acknowledge it to pass over it."""


class InboxMissingError(EscReceiverError):
    """The inbox's table does not exist: call `PostgresInbox.create` once."""


class ApiError(EscReceiverError):
    """The query API gave no answer to the question."""


class UnansweredError(ApiError):
    """No receiver answers now, or it says that it cannot; asking again may help."""


class UnknownError(ApiError):
    """The receiver knows nothing of this name."""


class TokenError(ApiError):
    """The receiver wants a read token, or another one."""


class RefusedError(ApiError):
    """The question is wrong: the message names the parameter, and asking again cannot help."""


def describe(error: BaseException) -> str:
    """The message of an error; its class where it has none, as with a TimeoutError."""
    return str(error) or type(error).__name__
