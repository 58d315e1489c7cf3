"""The errors of asyncpg, grouped by what helps against them. Must not know what was being done.

A tuple may be listed in `except` and in `isinstance`. asyncpg's DataError is a ValueError as well as an InterfaceError:
where it must not pass for a lost connection, ValueError is caught first.
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
UNAVAILABLE = (
    *CONNECTION_LOST,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.UndefinedTableError,
)
"""PostgreSQL cannot store anything now; no callback is at fault."""
WHOLE_BATCH_ERRORS = (
    *CONFLICTS,
    asyncpg.SyntaxOrAccessError,
    asyncpg.PostgresSystemError,
    asyncpg.InternalServerError,
)
"""A table, a right or a disk is at fault rather than one callback, which may be stored later (a missing grant, a
damaged index)."""


def is_partition_missing(error: Exception) -> bool:
    """Whether somebody dropped a partition that was thought to be there (a row fits none: the error names no
    constraint)."""
    return isinstance(error, asyncpg.CheckViolationError) and error.constraint_name is None
