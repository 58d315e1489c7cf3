"""Wakes the relay and those who wait, in all receivers of a database, after something was committed.

Not within the commit: a NOTIFY holds a lock of the whole of PostgreSQL until its commit is on the disk, so that
receivers would commit one after the other; and a full queue of notifications would let the commit fail. What comes
together is told together. A wake-up is a hint: one that is lost is made up for by the sweeps. Must not know who is
woken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Self

import structlog

from receiver.config.settings import Settings
from receiver.errors import describe
from receiver.model.entities import Decision, EntityKind, OperationState
from receiver.postgres.driver_errors import UNUSABLE
from receiver.postgres.session import Connection
from receiver.postgres.statements import statements

ANY_OPERATION = "*"
"""Names no operation: any may have ended."""
DIGITS = 8
"""How many digits of the id of an operation's row a wake-up holds."""
OPERATIONS_MAX = 500
"""A notification holds less than 8,000 bytes."""
_SQL = statements("postgres/wake_ups.sql")
_ENDED = (OperationState.SUCCEEDED, OperationState.FAILED, OperationState.CANCELLED)

log = structlog.get_logger()


def ended_operations(decisions: Iterable[Decision]) -> set[str]:
    """The first digits of those that these decisions ended."""
    return {
        transition.entity_id.hex[:DIGITS]
        for decision in decisions
        for transition, _ in decision.transitions
        if transition.entity == EntityKind.OPERATION and transition.to_state in _ENDED
    }


async def wake(connection: Connection, operations: set[str]) -> None:
    """Tell all receivers of this database, when the transaction commits, that there is something new."""
    any_operation = ANY_OPERATION in operations or len(operations) > OPERATIONS_MAX
    await connection.fetchrow(_SQL["wake"], ANY_OPERATION if any_operation else " ".join(sorted(operations)))


class WakeUps:
    """Those of one receiver; used as a context, at whose end all is told, and after which nothing is."""

    def __init__(self, acquire: Callable[[], AbstractAsyncContextManager[Connection]], settings: Settings) -> None:
        """`acquire` lends a connection."""
        self._acquire = acquire
        self._gather_s = settings.wake_gather_s
        self._operations: set[str] = set()
        self._wanted = False
        self._ending = asyncio.Event()
        self._telling: asyncio.Task[None] | None = None

    def tell(self, operations: set[str]) -> None:
        """Wake all soon; these operations ended. At once when nothing was told within `wake_gather_s`."""
        self._operations |= operations
        self._wanted = True
        if not self._ending.is_set() and (self._telling is None or self._telling.done()):
            self._telling = asyncio.create_task(self._tell_all(), name="wake-ups")

    async def _tell_all(self) -> None:
        while self._wanted:
            operations, self._operations, self._wanted = self._operations, set(), False
            try:
                async with self._acquire() as connection:
                    await wake(connection, operations)
            except UNUSABLE as error:
                log.debug("a wake-up is lost; the sweeps make up for it", why=describe(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._gather_s):
                    await self._ending.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        if self._telling:
            await asyncio.wait([self._telling])
