"""Every error of the query API: what is wrong with a request, or why it cannot be answered now.

`guard` alone maps them to status codes. No message repeats what was sent: it may hold a secret.
"""

from __future__ import annotations

from datetime import datetime

from receiver.errors import ReceiverError


class QueryError(ReceiverError):
    """The request cannot be answered."""


class ParameterError(QueryError):
    """A parameter is unknown, missing, repeated or has a value that it cannot have."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter


class StaleCursorError(ParameterError):
    """A position that this database has not reached yet: it is from another one, or from before a restore."""


class BodyError(QueryError):
    """The body of a request cannot be taken; `setting` holds the limit, if one is."""

    setting: str | None = None


class NotJsonError(BodyError):
    """It is no JSON."""


class LongBodyError(BodyError):
    """It is too large."""


class SlowBodyError(BodyError):
    """It took too long."""

    setting = "body_timeout_s"


class NothingFoundError(QueryError):
    """Nothing of this name is known."""


class ForgottenError(QueryError):
    """A moment of which the ledger does not tell any more; `earliest_at` is the first one of which it does."""

    def __init__(self, message: str, earliest_at: datetime) -> None:
        super().__init__(message)
        self.earliest_at = earliest_at


class TokenError(QueryError):
    """No token, a wrong one, or a session that is over."""


class ScopeError(QueryError):
    """The token does not have the scope."""


class BusyError(QueryError):
    """It cannot be answered now; sending it again helps."""

    sending_again_helps = True


class TooOftenError(BusyError):
    """More requests than one client may send."""


class TooManyError(BusyError):
    """More requests, waits or subscribers at once than the settings allow; the message names the setting."""


class UnavailableError(BusyError):
    """PostgreSQL cannot be asked now, or did not answer in time; or the receiver is stopping."""
