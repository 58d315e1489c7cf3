"""Those who wait for an operation to end: an entry in a dictionary and a future each, and no connection.

The receiver that keeps the closing callback tells all receivers, with the commit, which operations ended (`follower`
hears it); only what is waited for is then looked up. A wake-up that was lost is made up for by a slow sweep. This
file must not know HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from receiver.api.api_errors import TooManyError, UnavailableError
from receiver.api.api_metrics import Measures
from receiver.api.read_pool import Reader
from receiver.api.row_shapes import sql
from receiver.config.settings import Settings
from receiver.model.entities import Operation

ANYTHING = "*"
"""The wake-up that names no operation: any may have ended."""
LOOKED_UP_MAX = 1_000
"""Operations looked up with one question."""
TOLD_DIGITS = 8
"""So many digits of an operation's id are told by a wake-up; another that begins alike is looked up in vain."""

Future = asyncio.Future[Operation]
IsGone = Callable[[], bool]
"""Whether the client that waits has left meanwhile."""


class Waiters:
    """All that wait at this receiver."""

    def __init__(self, reader: Reader, settings: Settings, measures: Measures) -> None:
        self._reader = reader
        self._settings = settings
        self._measures = measures
        self._sql = sql()
        self._most = min(settings.waits_max, settings.connections_max // 2)
        self._waiting: dict[str, dict[UUID, set[Future]]] = {}
        self._clients: dict[Future, IsGone] = {}
        self._due: set[UUID] = set()
        self._awake = asyncio.Event()
        self._stopping = False

    async def wait(self, operation_id: UUID, wait_s: float, is_gone: IsGone) -> Operation | None:
        """The operation as soon as it has ended, or as it is when the wait is over; None when nobody knows it.

        Raises TooManyError, and UnavailableError when PostgreSQL cannot be asked, the receiver stops, or the client
        is gone.
        """
        if not wait_s:
            return await self._look_up(operation_id)
        if len(self._clients) >= self._most:
            self._send_away_the_gone()
            await asyncio.sleep(0)  # they go
        with self._entered(operation_id, is_gone) as ended:
            # Entered first: what ends from here on is heard, what ended before is seen.
            operation = await self._look_up(operation_id)
            if operation and operation.ended_at:
                return operation
            try:
                async with asyncio.timeout(wait_s):
                    return await ended
            except TimeoutError:
                return await self._look_up(operation_id)

    def heard(self, told: str) -> None:
        """A wake-up has come: the first digits of the ids of operations that ended, or ANYTHING."""
        if not self._waiting:
            return
        if told == ANYTHING:
            self._send_away_the_gone()
        prefixes = self._waiting.keys() if told == ANYTHING else set(told.split()) & self._waiting.keys()
        for prefix in prefixes:
            self._due.update(self._waiting[prefix])
        if self._due:
            self._awake.set()

    async def run(self) -> None:
        """Look up what may have ended, until cancelled."""
        while True:
            await self._awake.wait()
            self._awake.clear()
            try:
                await self._tell()
            except UnavailableError:
                # Those that are due stay so; the sweep comes soon.
                await asyncio.sleep(self._settings.wake_sweep_s)

    def stop(self) -> None:
        """End all waits: the receiver is stopping."""
        self._stopping = True
        for future in self._clients:
            if not future.done():
                future.set_exception(UnavailableError("the receiver is stopping"))

    def _send_away_the_gone(self) -> None:
        """The server does not tell when a client leaves; who has left must not take the room of those who come."""
        for future, is_gone in self._clients.items():
            if not future.done() and is_gone():
                future.set_exception(UnavailableError("the client has left"))

    async def _tell(self) -> None:
        while self._due:
            ids = [self._due.pop() for _ in range(min(len(self._due), LOOKED_UP_MAX))]
            try:
                rows = await self._reader.rows(self._sql["operations"], ids)
            except UnavailableError:
                self._due.update(ids)
                raise
            for operation in (Operation(*row) for row in rows):
                if operation.ended_at:
                    for future in self._waiting.get(_prefix(operation.id), {}).get(operation.id, ()):
                        if not future.done():
                            future.set_result(operation)

    async def _look_up(self, operation_id: UUID) -> Operation | None:
        row = await self._reader.row(self._sql["operations"], [operation_id])
        return Operation(*row) if row else None

    @contextmanager
    def _entered(self, operation_id: UUID, is_gone: IsGone) -> Iterator[Future]:
        if self._stopping:
            raise UnavailableError("the receiver is stopping")
        if len(self._clients) >= self._most:
            raise TooManyError("too many are waiting already (waits_max)")
        future: Future = asyncio.get_running_loop().create_future()
        prefix = _prefix(operation_id)
        self._waiting.setdefault(prefix, {}).setdefault(operation_id, set()).add(future)
        self._clients[future] = is_gone
        self._measures.waits.value = len(self._clients)
        try:
            yield future
        finally:
            self._leave(prefix, operation_id, future)
            self._measures.waits.value = len(self._clients)

    def _leave(self, prefix: str, operation_id: UUID, future: Future) -> None:
        if not future.cancel() and not future.cancelled():
            future.exception()  # looked at, so that nobody logs that nobody did
        del self._clients[future]
        ids = self._waiting[prefix]
        ids[operation_id].discard(future)
        if not ids[operation_id]:
            del ids[operation_id]
        if not ids:
            del self._waiting[prefix]


def _prefix(operation_id: UUID) -> str:
    return operation_id.hex[:TOLD_DIGITS]
