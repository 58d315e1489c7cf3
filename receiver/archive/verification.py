"""`esc-receiver verify`: every segment read once, every hash made again, and whatever does not fit named.

Numbers tell what happened: one that is missing was removed, or comes later (reordered); one that comes twice was
inserted; one whose follower covers another hash was changed. Must not know the ledger, nor the command line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import orjson

from receiver.archive.exporter import Report
from receiver.archive.findings import Fault, Finding, Findings
from receiver.archive.format import FORMAT, KIND, NOTHING, EntryLine, is_next, read_entry
from receiver.archive.heads import Heads
from receiver.archive.segments import lines, segment_path, segments
from receiver.archive.signing import is_signed
from receiver.errors import ArchiveError

OnEntry = Callable[[EntryLine], None]
Published = Mapping[tuple[str, int], str]
"""Heads of days that somebody kept: by day and number of entries."""
_PENDING_MAX = 10_000


class Compared(NamedTuple):
    """What the ledger has of it."""

    alike: int
    dropped: int
    """By retention: their month is gone from the ledger."""


class Verified(NamedTuple):
    """What an archive is."""

    segments: int
    entries: int
    days: int
    keys: list[str]
    begin_later: int
    """Entities whose first entries had been dropped by retention before the archive began."""
    findings: Findings
    compared: Compared | None = None

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        compared = self.compared._asdict() if self.compared else None
        named = [one.as_dict() for one in self.findings.named]
        return self._asdict() | {"compared": compared, "findings": named, "wrong": self.findings.count}


class Verification:
    """Of one folder."""

    def __init__(
        self, folder: Path, report: Report, key: str | None = None, published: Published | None = None,
        on_entry: OnEntry | None = None,
    ) -> None:  # fmt: skip
        """With `key`, nobody else may have signed; `on_entry` hears of each entry that can be read."""
        self._folder = folder
        self._report = report
        self._key = key
        self._published = dict(published or {})
        self._on_entry = on_entry
        self._findings = Findings()
        self._missing: dict[int, Finding] = {}
        """Numbers that were not there when they were due."""
        self._number = self._total = self._begin_later = 0
        self._keys: set[str] = set()
        self._days: set[str] = set()
        self._after = NOTHING
        self._floors: list[int] = []
        self._is_gap = False
        """A segment was missing just now: the next entry may have any number."""
        self._is_disturbed = False
        """Numbers were not as they should be: what an entity's chain should be is not known for all any more."""

    def run(self) -> Verified:
        """All of it. Raises ArchiveError when there is nothing to verify."""
        numbers = segments(self._folder)
        if not numbers:
            raise ArchiveError(f"{self._folder} holds no archive")
        with TemporaryDirectory() as folder, Heads(Path(folder) / "heads.sqlite") as heads:
            for number in range(1, numbers[-1] + 1):
                if number in numbers:
                    self._segment(heads, number)
                else:
                    self._findings.add(Fault.SEGMENT, f"segment {number}", "is missing")
                    self._forget(heads)
                self._report("segments verified", number, numbers[-1])
        for (day, entries), head in self._published.items():
            self._findings.add(Fault.HEAD, day, f"has no entry number {entries}, whose hash was published as {head}")
        return Verified(
            len(numbers), self._total, len(self._days), sorted(self._keys), self._begin_later, self._findings
        )

    def _forget(self, heads: Heads) -> None:
        """Where a segment is missing, chains begin anew behind it."""
        heads.clear()
        self._is_gap, self._is_disturbed = True, True

    # One segment.

    def _segment(self, heads: Heads, number: int) -> None:
        digest, end, count = hashlib.sha256(), None, 0
        head: dict[str, Any] = {}
        for place, raw in enumerate(lines(segment_path(self._folder, number)), start=1):
            where = f"segment {number}, line {place}"
            document = self._document(raw, where)
            if "end" in document:
                end = document
                break
            digest.update(raw)
            if "archive" in document:
                head = document
                self._floors = [one for one in document.get("floors", ()) if isinstance(one, int)]
            elif "entry" in document:
                count += self._entry(heads, document, where)
            elif "day" in document:
                self._day(heads, document, where)
        self._judge_ends(number, head, end, digest.hexdigest(), count)

    def _document(self, raw: bytes, where: str) -> dict[str, Any]:
        try:
            found = orjson.loads(raw)
        except ValueError:
            found = None
        if isinstance(found, dict):
            return found
        self._findings.add(Fault.UNREADABLE, where, "is no JSON object")
        return {}

    def _judge_ends(
        self, number: int, head: Mapping[str, Any], end: Mapping[str, Any] | None, digest: str, count: int
    ) -> None:
        where, add = f"segment {number}", self._findings.add
        if head.get("archive") != KIND or head.get("format") != FORMAT or head.get("segment") != number:
            add(Fault.SEGMENT, where, "does not begin as this segment should")
        if head.get("after") != self._after:
            add(Fault.SEGMENT, where, "does not follow the segment before it")
        self._after = str((end or {}).get("digest"))
        if end is None:
            add(Fault.SEGMENT, where, "has no end: it was cut off")
            return
        if digest != end.get("digest"):
            add(Fault.SEGMENT, where, "is not what was signed: bytes of it were changed")
        if count != end.get("entries"):
            add(Fault.SEGMENT, where, f"has {count} entries, and was signed with {end.get('entries')}")
        key = str(head.get("key"))
        self._keys.add(key)
        if self._key is not None and key != self._key:
            add(Fault.SIGNATURE, where, f"names another key ({key})")
        if not is_signed(str(end.get("digest")), str(end.get("signature")), self._key or key):
            add(Fault.SIGNATURE, where, "is not signed by its key")

    def _day(self, heads: Heads, document: Mapping[str, Any], where: str) -> None:
        stands = heads.day(str(document["day"]))
        if self._is_disturbed:
            return
        if (document.get("entries"), document.get("head")) != (stands.entries, stands.hash):
            self._findings.add(
                Fault.HEAD, where, f"says {document.get('entries')} entries of {document['day']}, and there are others"
            )

    # One entry.

    def _entry(self, heads: Heads, document: dict[str, Any], where: str) -> bool:
        try:
            line = read_entry(document)
        except (KeyError, TypeError, ValueError):
            self._findings.add(Fault.UNREADABLE, where, "is no ledger entry")
            self._number += 1
            return True
        self._total += 1
        self._days.add(line.day)
        if not line.is_as_hashed():
            self._findings.add(Fault.CHANGED, where, f"{_named(line)} is not what was hashed")
        if self._is_in_its_place(heads, line, where):
            self._judge_sequence(heads, line, where)
            heads.add(line, f"{where}: {_named(line)}")
            self._compare_published(heads, line, where)
        if self._on_entry:
            self._on_entry(line)
        return True

    def _is_in_its_place(self, heads: Heads, line: EntryLine, where: str) -> bool:
        """Whether it is the next of its chains; else what is wrong is noted."""
        if self._is_gap:
            self._number, self._is_gap = line.number, False
            return True
        if line.number <= self._number:
            self._is_disturbed = True
            if found := self._missing.pop(line.number, None):
                found.fault, found.what = Fault.REORDERED, f"{_named(line)} stands behind its place ({where})"
            else:
                self._findings.add(
                    Fault.INSERTED, where, f"{_named(line)} has the number {line.number}, which was there"
                )
            return False
        for number in range(self._number + 1, min(line.number, self._number + 1 + _PENDING_MAX)):
            self._missing[number] = self._findings.add(
                Fault.REMOVED, where, f"entry number {number} is missing before {_named(line)}"
            )
        self._is_disturbed |= line.number != self._number + 1
        in_turn, self._number = line.number == self._number + 1, line.number
        stands = heads.day(line.day)
        if in_turn and line.is_as_hashed() and not self._follows(heads, line):
            self._findings.add(
                Fault.CHANGED, where, f"{_named(line)} does not follow {stands.last or 'what stands before it'}: "
                "one of them was changed, and its hash made again"
            )  # fmt: skip
        return True

    def _follows(self, heads: Heads, line: EntryLine) -> bool:
        """Whether it covers what stands before it, as far as that is known."""
        links = heads.links(line.entry["entity_id"], line.day)
        if self._is_disturbed:
            return links.day in (line.after.day, NOTHING)
        return line.after == links

    def _judge_sequence(self, heads: Heads, line: EntryLine, where: str) -> None:
        """An entity's entries are numbered in the ledger itself."""
        before, sequence = heads.entity(line.entry["entity_id"]).sequence, line.entry["sequence"]
        if self._is_disturbed:
            return
        if is_next(sequence, before, self._floors):
            return
        if before == 0:
            self._begin_later += 1
        else:
            self._findings.add(
                Fault.LEFT_OUT, where, f"{_named(line)} follows number {before} of its entity: the ledger lacked some"
            )

    def _compare_published(self, heads: Heads, line: EntryLine, where: str) -> None:
        wanted = self._published.pop((line.day, heads.day(line.day).entries), None)
        if wanted is not None and wanted != line.hash:
            self._findings.add(
                Fault.HEAD, where, f"{_named(line)} ends {line.day} as it was published with another hash"
            )


def _named(line: EntryLine) -> str:
    entry = line.entry
    return f"entry {entry['id']} ({entry['entity']} {entry['name']}, number {entry['sequence']})"
