"""The errors of asyncpg, grouped by what helps against them. Must not know what was being done.

A tuple may be listed in `except` and in `isinstance`. asyncpg's DataError is a ValueError as well as an InterfaceError:
where it must not pass for a lost connection, ValueError is looked for first.
"""

from __future__ import annotations

import asyncpg

UNUSABLE = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""Whatever PostgreSQL, the driver or the network may raise, TimeoutError included."""
CONFLICTS = (
    asyncpg.UniqueViolationError,
    asyncpg.ExclusionViolationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
)
"""Another receiver was quicker: decided again, the batch sees what that one wrote."""
CONNECTION_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
"""The connection broke, or there is none just now (a restart takes a second); what was under way may have been
committed."""
NOT_CONNECTED = (
    ConnectionRefusedError,
    TimeoutError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
)
"""Of these, those after which another attempt at once is in vain."""
ABOUT_A_ROW = {
    "21": "cardinality violation",
    "22": "data exception",
    "23": "integrity constraint violation",
    "44": "WITH CHECK OPTION violation",
    "54": "program limit exceeded: a row too large for an index",
    "P0": "raised by a trigger",
}
"""The classes of SQLSTATE (PostgreSQL, appendix A) that tell of what was to be written. All others are of the
surroundings: connection, rights, schema, resources, operator, pooler, PostgreSQL itself. They may pass, and no callback
is at fault."""


def is_about_a_row(error: BaseException) -> bool:
    """Whether the fault may lie in what was to be written: in PostgreSQL's eyes, or because of an error of our own."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "")[:2] in ABOUT_A_ROW
    return isinstance(error, ValueError) or not isinstance(error, UNUSABLE)


def is_partition_missing(error: Exception) -> bool:
    """Whether somebody dropped a partition that was thought to be there: a row fits none, so the error names the table
    and no constraint."""
    if not isinstance(error, asyncpg.CheckViolationError):
        return False
    return error.table_name is not None and error.constraint_name is None
