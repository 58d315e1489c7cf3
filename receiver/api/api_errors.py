"""Every error of the query API: what is wrong with a question, or why it cannot be answered now.

`guard` alone knows which error is answered with which status. No message repeats what was asked: an address may
hold what somebody pasted into the wrong place.
"""

from __future__ import annotations

from receiver.errors import ReceiverError


class QueryError(ReceiverError):
    """The question cannot be answered."""


class ParameterError(QueryError):
    """A parameter is unknown, missing, repeated or has a value that it cannot have."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter


class StaleCursorError(ParameterError):
    """A position that this database has not reached yet: it was given out by another one, or before a restore."""


class NothingFoundError(QueryError):
    """Nothing of this name is known."""


class TokenError(QueryError):
    """No token, a wrong one, or a session that is over."""


class ScopeError(QueryError):
    """The token does not open this."""


class TooOftenError(QueryError):
    """More questions than one client may ask."""

    sending_again_helps = True


class TooManyError(QueryError):
    """More questions, waits or readers at once than the settings allow; the message names the setting."""

    sending_again_helps = True


class UnavailableError(QueryError):
    """PostgreSQL cannot be asked now, or did not answer in time; or the receiver is stopping."""

    sending_again_helps = True
