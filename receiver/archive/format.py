"""What an archive is made of: segments of lines, each a JSON document; what is hashed, and what is signed.

A segment has one head line, a line for each ledger entry, a line for each day that it speaks of, and one end line. An
entry's hash covers its number, all of its columns, and the hashes of the entry before of its entity and of its day (of
UTC; in the order in which they became visible). The end line's digest covers the segment's bytes before it, and so the
digest of the segment before, which the head line has; it is what is signed. Pure: no files, no clock. Must not know
where entries come from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from receiver.model.entities import Transition

KIND = "esc-receiver ledger"
FORMAT = 1
NOTHING = ""
"""What stands for the hash before the first."""
_OPTIONS = orjson.OPT_UTC_Z


class Links(NamedTuple):
    """The hashes that an entry's hash covers."""

    entity: str
    day: str


class End(NamedTuple):
    """Where a segment ends, and with it the archive up to there."""

    segment: int
    digest: str
    total: int
    """Entries in the whole archive."""
    last_id: str
    last_at: str


class EntryLine(NamedTuple):
    """One ledger entry in an archive."""

    number: int
    """Of all entries of the archive, from 1 on."""
    entry: dict[str, Any]
    after: Links
    hash: str

    @property
    def day(self) -> str:
        """The day whose chain it is in."""
        return str(self.entry["at"])[:10]

    def is_as_hashed(self) -> bool:
        """Whether its hash is that of what it says."""
        return self.hash == entry_hash(self.number, self.entry, self.after)

    def line(self) -> bytes:
        """As it stands in a segment."""
        return line_of({"n": self.number, "entry": self.entry, "after": self.after._asdict(), "hash": self.hash})


def plain(transition: Sequence[Any]) -> dict[str, Any]:
    """A row of the ledger as an archive has it, all values as in JSON."""
    row = dict(zip(Transition._fields, transition, strict=True))
    row["at"] = row["at"].astimezone(UTC)
    found: dict[str, Any] = orjson.loads(orjson.dumps(row, default=str, option=_OPTIONS))
    return found


def entry_line(number: int, entry: dict[str, Any], after: Links) -> EntryLine:
    """With its hash."""
    return EntryLine(number, entry, after, entry_hash(number, entry, after))


def read_entry(document: dict[str, Any]) -> EntryLine:
    """A line of a segment. Raises KeyError and TypeError for what is none."""
    entry = document["entry"]
    if set(entry) != set(Transition._fields):
        raise KeyError("columns")
    return EntryLine(int(document["n"]), entry, Links(**document["after"]), str(document["hash"]))


def entry_hash(number: int, entry: dict[str, Any], after: Links) -> str:
    """Columns in the order of the ledger, whatever their order in the line."""
    values = [entry[name] for name in Transition._fields]
    return hashlib.sha256(orjson.dumps([number, values, *after])).hexdigest()


def content_hash(entry: dict[str, Any]) -> bytes:
    """Of its columns alone: what two copies of one entry have in common."""
    return hashlib.sha256(orjson.dumps([entry[name] for name in Transition._fields])).digest()


def is_next(sequence: int, before: int, floors: Sequence[int]) -> bool:
    """Whether an entity's entry may have this number behind that one: the next, or a higher one across a floor."""
    return sequence == before + 1 or any(before <= floor < sequence for floor in floors)


def head_line(
    segment: int, database_id: str, after: str, public_key: str, made_at: datetime, floors: Sequence[int]
) -> bytes:
    """The first line of a segment; `after` is the digest of the one before."""
    return line_of(
        {
            "archive": KIND, "format": FORMAT, "segment": segment, "database": database_id, "after": after,
            "key": public_key, "made_at": made_at, "floors": list(floors),
        }
    )  # fmt: skip


def day_line(day: str, entries: int, head: str) -> bytes:
    """How far the chain of a day has come."""
    return line_of({"day": day, "entries": entries, "head": head})


def end_line(end: End, entries: int, signature: str) -> bytes:
    """The last line of a segment."""
    return line_of({"end": end.segment, "entries": entries, "signature": signature} | end._asdict())


def read_end(document: dict[str, Any]) -> End:
    """Of such a line. Raises KeyError."""
    return End(*(document[name] for name in End._fields))


def line_of(document: dict[str, Any]) -> bytes:
    """One line."""
    return orjson.dumps(document, option=_OPTIONS) + b"\n"
