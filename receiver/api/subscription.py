"""One reader of the live feed: what it wants, and what waits to be sent to it.

The queue is bounded by bytes; a reader that lets it fill is lost at once, because nobody waits for the slow: it
comes back and resumes where it was. This file must not know SQL or HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import asyncpg

from receiver.api.position import Position
from receiver.api.row_shapes import position_of, shown_transition, to_json


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which ledger entries a reader wants; an empty tuple stands for all."""

    entity: tuple[str, ...] = ()
    change: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    deployment: tuple[str, ...] = ()

    def has(self, row: asyncpg.Record) -> bool:
        """Whether it wants this one."""
        return (
            (not self.entity or row["entity"] in self.entity)
            and (not self.change or row["change"] in self.change)
            and (not self.source or row["source"] in self.source)
            and (not self.deployment or row["deployment"] in self.deployment)
        )


@dataclass(frozen=True, slots=True)
class Event:
    """A ledger entry as it goes out."""

    row: asyncpg.Record
    position: Position
    sent: bytes


class Portion:
    """Entries that go out together, in order; found by deployment or change, so that many readers cost little."""

    def __init__(self, entries: Sequence[Event]) -> None:
        self._all = entries
        self._by: dict[str, dict[str | None, list[Event]]] = {}

    def wanted(self, wanted: Wanted) -> list[Event]:
        """Those that a reader wants."""
        return [entry for entry in self._candidates(wanted) if wanted.has(entry.row)]

    def _candidates(self, wanted: Wanted) -> Sequence[Event]:
        for name, values in (("deployment", wanted.deployment), ("change", wanted.change)):
            if len(values) == 1:
                return self._found_by(name).get(values[0], ())
        return self._all

    def _found_by(self, name: str) -> dict[str | None, list[Event]]:
        if name not in self._by:
            found = self._by[name] = {}
            for entry in self._all:
                found.setdefault(entry.row[name], []).append(entry)
        return self._by[name]


def events(rows: Iterable[asyncpg.Record]) -> list[Event]:
    """Ledger entries as server-sent events, each written once for all readers."""
    return [Event(row, position := position_of(row), _sent(row, position)) for row in rows]


def sent_position(position: Position) -> bytes:
    """An event without data: where to resume, told to a reader that has had nothing to read."""
    return b"id: %b\n\n" % str(position).encode()


def _sent(row: asyncpg.Record, position: Position) -> bytes:
    data = to_json(shown_transition(row))
    return b"id: %b\ndata: %b\n\n" % (str(position).encode(), data)


class Subscription:
    """A reader's queue."""

    def __init__(self, wanted: Wanted, starts_at: Position, bytes_max: int, on_lost: Callable[[], None]) -> None:
        """`on_lost` cuts the reader's connection."""
        self.wanted = wanted
        self.position = starts_at
        """As far as everything was queued that the reader wants."""
        self.lost = False
        self.closed = False
        self._bytes_max = bytes_max
        self._on_lost = on_lost
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._awake = asyncio.Event()

    def offer(self, chunk: bytes, position: Position) -> bool:
        """Queue what it wants of a portion that ends at `position`; False when it is too slow and was lost."""
        self.position = max(self.position, position)
        if not chunk:
            return True
        if self._waiting_bytes + len(chunk) > self._bytes_max and self._waiting:
            self.lost = True
            self.close()
            self._on_lost()
            return False
        self._waiting.append(chunk)
        self._waiting_bytes += len(chunk)
        self._awake.set()
        return True

    def close(self) -> None:
        """Nothing more will come."""
        self.closed = True
        self._awake.set()

    async def take(self, wait_s: float) -> bytes:
        """All that waits; empty when nothing came in time, or when it is closed."""
        if not self._waiting and not self.closed:
            self._awake.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._awake.wait()
            except TimeoutError:
                return b""
        taken, self._waiting, self._waiting_bytes = b"".join(self._waiting), [], 0
        return taken
