"""The stream compared with the ledger by id: what the ledger has and the stream has not.

Both are read once, side by side and in portions, so that no more is held than is out of step between them. Must not
know what is done about a difference.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from receiver.config.settings import Settings
from receiver.postgres.database import Database
from receiver.postgres.statements import statements
from receiver.publishing.jetstream import JetStream, StreamMessage
from receiver.publishing.stream_setup import StreamState

Step = Callable[[int, int], Awaitable[None]]
"""Awaited after each portion with how many messages are compared, and of how many."""
Order = tuple[int, int]
"""The place of a row in the order of visibility: xid and position."""

LEDGER_PAGE = 4_096
FRONT_MESSAGES = 1_024
"""Where a stream's beginning leaves it, nothing is missed before the last of so many of its first messages in the
ledger's order: entries are not published quite in that order."""
UNKNOWN_MAX = 20_000
"""So many ids of the stream may wait for their entries; then it is asked which of them have any."""


class Missing(NamedTuple):
    """A message that the stream lacks."""

    id: UUID
    is_callback: bool
    """Of a callback that fitted no rule; else of a ledger entry."""


class Comparison(NamedTuple):
    """What one look at stream and ledger found."""

    stream: StreamState
    messages: int
    """In the stream."""
    entries: int
    """Ledger entries, and callbacks that fitted no rule, that should be there."""
    unknown: int
    """Messages that no row of this database is known for: another publisher's, or older than the ledger."""
    missing: list[Missing]
    """In the order of visibility."""


class LedgerRow(NamedTuple):
    """What the stream should have a message of."""

    id: UUID
    xid: int
    position: int
    is_callback: bool
    stays: bool
    """Younger than the stream's age limit, so that no limit of age took it away."""


class _Row(NamedTuple):
    is_callback: bool
    is_needed: bool


@dataclass(slots=True)
class _Sides:
    """What one side has and the other was not yet seen to have."""

    in_stream: set[UUID] = field(default_factory=set)
    in_ledger: dict[UUID, _Row] = field(default_factory=dict)
    """In order."""
    messages: int = 0
    entries: int = 0
    unknown: int = 0
    unmatched_max: int = UNKNOWN_MAX

    def saw_messages(self, portion: Sequence[StreamMessage]) -> None:
        self.messages += len(portion)
        for message in portion:
            if message.uuid is None:
                self.unknown += 1
            elif self.in_ledger.pop(message.uuid, None) is None:
                self.in_stream.add(message.uuid)

    def saw_row(self, one: UUID, row: _Row) -> None:
        self.entries += row.is_needed
        if one in self.in_stream:
            self.in_stream.remove(one)
        else:
            self.in_ledger[one] = row

    def leave_only(self, known: set[UUID]) -> None:
        self.unknown += len(self.in_stream) - len(known)
        self.in_stream = known
        self.unmatched_max = max(UNKNOWN_MAX, 2 * len(known))

    def missing(self) -> list[Missing]:
        return [Missing(one, row.is_callback) for one, row in self.in_ledger.items() if row.is_needed]


class FeedComparison:
    """Compares the stream of one database with its ledger."""

    def __init__(self, database: Database, jetstream: JetStream, settings: Settings) -> None:
        self._database = database
        self._jetstream = jetstream
        self._timeout_s = settings.verify_timeout_s
        self._sql = statements("publishing/comparison.sql")

    async def run(self, step: Step) -> Comparison:
        """Compare all of it, and change nothing. Raises asyncpg's errors, and those of `JetStream`."""
        stream, sides = await self._stream(), _Sides()
        ledger = _Ledger(self, sides, stream, *await self._span(stream))
        async for portion in self._jetstream.ids_after(stream, stream.first_sequence - 1):
            sides.saw_messages(portion)
            while ledger.rows < sides.messages and await ledger.read_page():
                pass
            if len(sides.in_stream) > sides.unmatched_max:
                sides.leave_only(await self.known(list(sides.in_stream)))
            await step(sides.messages, stream.messages)
        while await ledger.read_page():
            await step(sides.messages, stream.messages)
        unknown = sides.unknown + len(sides.in_stream)
        found = Comparison(stream, sides.messages, sides.entries, unknown, sides.missing())
        return found._replace(missing=await self.still_missing(found))

    async def still_missing(self, found: Comparison) -> list[Missing]:
        """Those that neither wait to be published, nor were published since the stream was looked at."""
        # In this order: what has left the outbox by the first look is in the stream by the second.
        there = await self._ids("waiting", [one.id for one in found.missing])
        async for portion in self._jetstream.ids_after(await self._stream(), found.stream.last_sequence):
            there |= {message.uuid for message in portion if message.uuid}
        return [one for one in found.missing if one.id not in there]

    async def known(self, ids: Sequence[UUID]) -> set[UUID]:
        """Those for which this database has a row."""
        return await self._ids("known", ids)

    async def page(self, entries_after: Order, callbacks_after: Order, age_max_s: float) -> Sequence[LedgerRow]:
        """The next rows in the order of visibility."""
        async with self._database.acquire(self._timeout_s) as connection:
            rows = await connection.fetch(self._sql["page"], *entries_after, *callbacks_after, LEDGER_PAGE, age_max_s)
        return [LedgerRow(*row) for row in rows]

    async def _stream(self) -> StreamState:
        async with self._database.acquire(self._timeout_s) as connection:
            database_id = await connection.fetchval(self._sql["database_id"])
        return await self._jetstream.look(str(database_id))

    async def _span(self, stream: StreamState) -> tuple[int, int]:
        """From which transaction on the ledger is compared, and up to which its entries may have left the stream."""
        if not stream.is_limited:
            return 0, 0
        front: list[UUID] = []
        async for portion in self._jetstream.ids_after(stream, stream.first_sequence - 1):
            front += [message.uuid for message in portion if message.uuid]
            if len(front) >= FRONT_MESSAGES:
                break
        async with self._database.acquire(self._timeout_s) as connection:
            row = await connection.fetchrow(self._sql["span"], front)
            assert row is not None  # an aggregate
            if row["first"] is not None:
                return row["first"], row["last"]
            end = await connection.fetchval(self._sql["end"])  # nothing of ours is left, so nothing is missed
            return end, end

    async def _ids(self, name: str, ids: Sequence[UUID]) -> set[UUID]:
        if not ids:
            return set()
        async with self._database.acquire(self._timeout_s) as connection:
            return {row["id"] for row in await connection.fetch(self._sql[name], ids)}


class _Ledger:
    """Reads the ledger, page by page."""

    def __init__(
        self, comparison: FeedComparison, sides: _Sides, stream: StreamState, first_xid: int, left_xid: int
    ) -> None:
        self._comparison = comparison
        self._sides = sides
        self._age_max_s = stream.age_max_s
        self._left_xid = left_xid
        self._entries_after = self._callbacks_after = (first_xid, 0)
        self.rows = 0

    async def read_page(self) -> bool:
        """Whether there was one more."""
        rows = await self._comparison.page(self._entries_after, self._callbacks_after, self._age_max_s)
        for row in rows:
            if row.is_callback:
                self._callbacks_after = (row.xid, row.position)
            else:
                self._entries_after = (row.xid, row.position)
            is_needed = row.stays and row.xid > self._left_xid
            self._sides.saw_row(row.id, _Row(row.is_callback, is_needed))
        self.rows += len(rows)
        return bool(rows)
