"""A subscriber of the live feed: its filter, and its queue of what is to be sent.

The queue is bounded in bytes. A subscriber that lets it fill up is dropped at once; it comes back and resumes where it
was. This file must not know SQL or HTTP.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import asyncpg

from receiver.api.position import Position
from receiver.api.row_shapes import position_of, to_json, transition_item


@dataclass(frozen=True, slots=True)
class EventFilter:
    """The ledger entries that a subscriber wants; an empty tuple stands for all values."""

    entity: tuple[str, ...] = ()
    change: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    deployment: tuple[str, ...] = ()

    def matches(self, row: asyncpg.Record) -> bool:
        """Whether the ledger entry is wanted."""
        return (
            (not self.entity or row["entity"] in self.entity)
            and (not self.change or row["change"] in self.change)
            and (not self.source or row["source"] in self.source)
            and (not self.deployment or row["deployment"] in self.deployment)
        )


@dataclass(frozen=True, slots=True)
class Event:
    """A ledger entry as a server-sent event."""

    row: asyncpg.Record
    position: Position
    sse: bytes


class EventBatch:
    """Events in order, indexed by deployment and change, so that many subscribers cost little."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events
        self._by: dict[str, dict[str | None, list[Event]]] = {}
        """Indexes, made when they are needed."""

    def matching(self, wanted: EventFilter) -> list[Event]:
        """The events that match the filter."""
        return [event for event in self._candidates(wanted) if wanted.matches(event.row)]

    def _candidates(self, wanted: EventFilter) -> Sequence[Event]:
        for name, values in (("deployment", wanted.deployment), ("change", wanted.change)):
            if len(values) == 1:
                return self._index(name).get(values[0], ())
        return self._events

    def _index(self, name: str) -> dict[str | None, list[Event]]:
        if name not in self._by:
            self._by[name] = defaultdict(list)
            for event in self._events:
                self._by[name][event.row[name]].append(event)
        return self._by[name]


def events(rows: Iterable[asyncpg.Record]) -> list[Event]:
    """Ledger entries as server-sent events, each serialized once for all subscribers."""
    return [Event(row, position := position_of(row), _sse(row, position)) for row in rows]


def position_event(position: Position) -> bytes:
    """A server-sent event without data, which tells a subscriber where to resume."""
    return b"id: %b\n\n" % str(position).encode()


def _sse(row: asyncpg.Record, position: Position) -> bytes:
    return b"id: %b\ndata: %b\n\n" % (str(position).encode(), to_json(transition_item(row)))


class Subscription:
    """A subscriber's queue."""

    def __init__(
        self, wanted: EventFilter, starts_at: Position, bytes_max: int, on_dropped: Callable[[], None]
    ) -> None:
        self.filter = wanted
        self.position = starts_at
        """Up to where all that matches has been queued."""
        self.closed = False
        self._bytes_max = bytes_max
        self._on_dropped = on_dropped
        self._queue: list[bytes] = []
        """Chunks, which subscribers of the same filter share."""
        self._queued_bytes = 0
        self._wake_up = asyncio.Event()

    def offer(self, chunk: bytes, position: Position) -> bool:
        """Queue what matches of a batch that ends at `position`. False: it is too slow and was dropped."""
        self.position = max(self.position, position)
        if not chunk:
            return True
        if self._queue and self._queued_bytes + len(chunk) > self._bytes_max:
            self.close()
            self._on_dropped()
            return False
        self._queue.append(chunk)
        self._queued_bytes += len(chunk)
        self._wake_up.set()
        return True

    def close(self) -> None:
        """Nothing more will be queued."""
        self.closed = True
        self._wake_up.set()

    async def take(self, wait_s: float) -> bytes:
        """All that is queued; empty when nothing came in time, or when it is closed."""
        if not self._queue and not self.closed:
            self._wake_up.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake_up.wait()
            except TimeoutError:
                return b""
        taken, self._queue, self._queued_bytes = b"".join(self._queue), [], 0
        return taken
