"""`esc-receiver export`: what the ledger has and the archive has not becomes its next segment.

Works while receivers run, holds a page of entries at a time, and leaves a whole segment or none. Must not know the
command line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from receiver.archive.format import End, day_line, end_line, entry_line, head_line, is_next, plain, read_end, read_entry
from receiver.archive.heads import Heads
from receiver.archive.ledger_pages import BEGINNING, Ledger
from receiver.archive.segments import HEADS, SegmentWriter, lines, segment_path, segments
from receiver.archive.signing import Signer
from receiver.errors import ArchiveError
from receiver.events.cloudevents import OutboxRow, archived_event
from receiver.model.ids import derived

DAYS_TOLD_MAX = 400
Report = Callable[[str, int, int], None]
"""Called with what is done, how many of it, and of how many."""


class DayChain(NamedTuple):
    """How far the chain of a day has come."""

    day: str
    entries: int
    head: str


class Exported(NamedTuple):
    """What one run did."""

    segment: int
    """0: there was nothing new, and none was made."""
    entries: int
    total: int
    digest: str
    signature: str
    key: str
    days: list[DayChain]
    holes: int
    """Entries whose entity has fewer than its numbers say: the ledger itself lacks some."""

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        return self._asdict() | {"days": [day._asdict() for day in self.days]}

    def event(self, database_id: str, at: datetime) -> OutboxRow:
        """For whoever follows the feed; the last days of very many."""
        days = [day._asdict() for day in self.days[-DAYS_TOLD_MAX:]]
        told = {
            "segment": self.segment, "entries": self.total, "digest": self.digest, "signature": self.signature,
            "key": self.key, "days": days,
        }  # fmt: skip
        return archived_event(derived(f"archive/{self.digest}"), at, database_id, told)


class Export:
    """Into one folder."""

    def __init__(self, folder: Path, signer: Signer, report: Report) -> None:
        self._folder = folder
        self._signer = signer
        self._report = report
        self._added = self._holes = 0
        self._days: set[str] = set()
        self._last: dict[str, Any]
        self._floors: list[int]

    async def run(self, ledger: Ledger) -> Exported:
        """One segment. Raises ArchiveError, and asyncpg's errors."""
        numbers = segments(self._folder)
        if numbers != list(range(1, len(numbers) + 1)):
            raise ArchiveError(f"{self._folder} lacks a segment before {numbers[-1]}: `esc-receiver verify` tells more")
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with Heads(self._folder / HEADS) as heads:
            end = self._caught_up(heads, numbers)
            await self._require_same(ledger, end)
            with SegmentWriter(segment_path(self._folder, end.segment + 1)) as writer:
                return await self._write(ledger, heads, end, writer)

    async def _write(self, ledger: Ledger, heads: Heads, end: End, writer: SegmentWriter) -> Exported:
        key, segment = self._signer.public_key, end.segment + 1
        self._floors = await ledger.floors()
        database_id, now = await ledger.database_id(), datetime.now(UTC)
        writer.write(head_line(segment, database_id, end.digest, key, now, self._floors))
        behind = await ledger.place_of(end.last_id) if end.segment else None
        expected = await ledger.estimate() - end.total
        async for rows in ledger.pages(behind or BEGINNING):
            self._add(rows, heads, end, writer)
            self._report("entries archived", self._added, max(expected, self._added))
        if not self._added:
            return Exported(0, 0, end.total, end.digest, "", key, [], 0)
        days = [DayChain(day, *heads.day(day)[:2]) for day in sorted(self._days)]
        for day in days:
            writer.write(day_line(*day))
        total, digest = end.total + self._added, writer.digest
        signature = self._signer.sign(digest)
        ended = End(segment, digest, total, self._last["id"], self._last["at"])
        writer.write(end_line(ended, self._added, signature))
        writer.put_in_place()
        heads.add_end(ended)
        heads.commit()
        return Exported(segment, self._added, total, digest, signature, key, days, self._holes)

    def _add(self, rows: Sequence[Sequence[Any]], heads: Heads, end: End, writer: SegmentWriter) -> None:
        """Those that the archive does not have."""
        for row in rows:
            entry = plain(row)
            head = heads.entity(entry["entity_id"])
            if entry["sequence"] <= head.sequence:
                continue  # archived before: after a restore of PostgreSQL all of it is gone through
            self._holes += head.sequence > 0 and not is_next(entry["sequence"], head.sequence, self._floors)
            self._added += 1
            day = entry["at"][:10]
            line = entry_line(end.total + self._added, entry, heads.links(entry["entity_id"], day))
            writer.write(line.line())
            heads.add(line, entry["id"])
            self._days.add(day)
            self._last = entry

    async def _require_same(self, ledger: Ledger, end: End) -> None:
        """Raises ArchiveError for another database's archive, and for a ledger that has gone back behind it."""
        if not end.segment:
            return
        head = orjson.loads(next(lines(segment_path(self._folder, end.segment))))
        if head["database"] != await ledger.database_id():
            raise ArchiveError(f"{self._folder} is the archive of another database (id {head['database']})")
        is_kept = f"{end.last_at[:7]}-01" in await ledger.months()
        if is_kept and await ledger.place_of(end.last_id) is None:
            raise ArchiveError(
                f"the ledger does not have entry {end.last_id}, which the archive ends with: PostgreSQL has gone back "
                "in time, or its ledger was changed; begin a new archive, and keep this one"
            )

    def _caught_up(self, heads: Heads, numbers: Sequence[int]) -> End:
        """Where the archive ends; the heads are brought there where they are missing or behind."""
        end = heads.end()
        for number in numbers:
            if number > end.segment:
                self._report("segments read", number, len(numbers))
                end = _read_into(heads, segment_path(self._folder, number))
                heads.commit()
        if end.segment > len(numbers):
            raise ArchiveError(f"{self._folder} lacks its last segment ({end.segment})")
        return end


def _read_into(heads: Heads, path: Path) -> End:
    for raw in lines(path):
        document = orjson.loads(raw)
        if "entry" in document:
            line = read_entry(document)
            heads.add(line, line.entry["id"])
        elif "end" in document:
            heads.add_end(end := read_end(document))
            return end
    raise ArchiveError(f"{path} has no end: `esc-receiver verify` tells more")
