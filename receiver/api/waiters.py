"""Requests that wait for an operation to end: each is an entry in a dictionary and a future, and holds no connection.

The receiver that stores the closing callback notifies all receivers which operations ended, by the first digits of
their ids (another that begins alike is read in vain); only those that somebody waits for are then read. A lost
notification is made up for by a slow sweep. Must not know HTTP.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from uuid import UUID

from receiver.api.api_errors import TooManyError, UnavailableError
from receiver.api.read_pool import Reader
from receiver.config.settings import Settings
from receiver.model.entities import Operation
from receiver.observability.metrics import Metrics
from receiver.postgres.wake_ups import ANY_OPERATION, DIGITS

LOOK_UP_MAX = 1_000
"""Operations read with one statement."""

STOPPING = "the receiver is stopping"


@dataclass(frozen=True, eq=False)
class _Wait:
    operation_id: UUID
    has_left: Callable[[], bool]
    """Whether the client is gone."""
    ended: asyncio.Future[Operation] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def prefix(self) -> str:
        return self.operation_id.hex[:DIGITS]

    def fail(self, why: str) -> None:
        if not self.ended.done():
            self.ended.set_exception(UnavailableError(why))


class Waiters:
    """All requests that wait at this receiver."""

    def __init__(self, reader: Reader, settings: Settings, metrics: Metrics) -> None:
        self._reader = reader
        self._sweep_s = settings.wake_sweep_s
        self._metrics = metrics
        self._waits_max = min(settings.waits_max, settings.connections_max // 2)
        self._waits: set[_Wait] = set()
        self._by_prefix: defaultdict[str, set[_Wait]] = defaultdict(set)
        """The same, by the first digits of the operation's id."""
        self._due: set[UUID] = set()
        """Operations that may have ended and are to be read."""
        self._wake_up = asyncio.Event()
        self._stopping = False

    async def wait(self, operation_id: UUID, wait_s: float, has_left: Callable[[], bool]) -> Operation | None:
        """The operation as soon as it has ended, or as it is after `wait_s`; None when it is unknown.

        Raises TooManyError, and UnavailableError when PostgreSQL cannot be asked, the receiver stops, or the client
        has left.
        """
        if not wait_s:
            return await self._read(operation_id)
        if len(self._waits) >= self._waits_max:
            self._drop_those_who_left()
            await asyncio.sleep(0)  # they leave the dictionaries
        with self._entered(_Wait(operation_id, has_left)) as wait:
            # Entered first: an end from here on is notified, an earlier one is read.
            operation = await self._read(operation_id)
            if operation and operation.ended_at:
                return operation
            try:
                async with asyncio.timeout(wait_s):
                    return await wait.ended
            except TimeoutError:
                return await self._read(operation_id)

    def notify(self, payload: str) -> None:
        """Operations have ended: the first digits of their ids, or ANY_OPERATION."""
        if payload == ANY_OPERATION:
            self._drop_those_who_left()
            self._due.update(wait.operation_id for wait in self._waits)
        else:
            for prefix in set(payload.split()) & self._by_prefix.keys():
                self._due.update(wait.operation_id for wait in self._by_prefix[prefix])
        if self._due:
            self._wake_up.set()

    async def run(self) -> None:
        """Read what may have ended, until cancelled."""
        while True:
            await self._wake_up.wait()
            self._wake_up.clear()
            try:
                await self._answer()
            except UnavailableError:
                await asyncio.sleep(self._sweep_s)  # they stay due

    def stop(self) -> None:
        """End all waits: the receiver is stopping."""
        self._stopping = True
        for wait in self._waits:
            wait.fail(STOPPING)

    def _drop_those_who_left(self) -> None:
        """The server does not say when a client leaves, but those who left must not keep others out."""
        for wait in self._waits:
            if wait.has_left():
                wait.fail("the client has left")

    async def _answer(self) -> None:
        while ids := set(islice(self._due, LOOK_UP_MAX)):
            self._due -= ids  # before they are read: what is notified meanwhile is due again
            try:
                rows = await self._reader.rows("operations", list(ids))
            except UnavailableError:
                self._due |= ids
                raise
            for operation in (Operation(*row) for row in rows):
                if operation.ended_at:
                    self._resolve(operation)

    def _resolve(self, operation: Operation) -> None:
        for wait in self._by_prefix.get(operation.id.hex[:DIGITS], ()):
            if wait.operation_id == operation.id and not wait.ended.done():
                wait.ended.set_result(operation)

    async def _read(self, operation_id: UUID) -> Operation | None:
        row = await self._reader.row("operations", [operation_id])
        return Operation(*row) if row else None

    @contextmanager
    def _entered(self, wait: _Wait) -> Iterator[_Wait]:
        if self._stopping:
            raise UnavailableError(STOPPING)
        if len(self._waits) >= self._waits_max:
            raise TooManyError("too many are waiting already (waits_max)")
        self._waits.add(wait)
        self._by_prefix[wait.prefix].add(wait)
        self._metrics.waits.set(len(self._waits))
        try:
            yield wait
        finally:
            if not wait.ended.cancel() and not wait.ended.cancelled():
                wait.ended.exception()  # retrieved, so that asyncio does not log that nobody did
            self._waits.remove(wait)
            self._metrics.waits.set(len(self._waits))
            self._by_prefix[wait.prefix].remove(wait)
            if not self._by_prefix[wait.prefix]:
                del self._by_prefix[wait.prefix]
