"""Where every chain of an archive stands, of each entity and each day: in an SQLite file, as there may be millions.

Must not know what is archived or found wrong.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from receiver.archive.format import NOTHING, End, EntryLine, Links

SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS entities (id TEXT PRIMARY KEY, sequence INTEGER NOT NULL, head TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS days (day TEXT PRIMARY KEY, entries INTEGER NOT NULL, head TEXT NOT NULL,
    before TEXT NOT NULL, last TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ends (segment INTEGER PRIMARY KEY, digest TEXT NOT NULL, total INTEGER NOT NULL,
    last_id TEXT NOT NULL, last_at TEXT NOT NULL) WITHOUT ROWID;
"""


class EntityHead(NamedTuple):
    """The last entry of an entity."""

    sequence: int
    hash: str


class DayHead(NamedTuple):
    """The last entry of a day."""

    entries: int
    hash: str
    before: str
    """The hash of the one before."""
    last: str
    """Which entry it is, in words."""


NO_ENTITY, NO_DAY = EntityHead(0, NOTHING), DayHead(0, NOTHING, NOTHING, NOTHING)
NO_END = End(0, NOTHING, 0, NOTHING, NOTHING)


class Heads:
    """Used as a context; what is not committed by then is forgotten."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> Self:
        self._connection = sqlite3.connect(self._file, isolation_level=None)
        self._connection.executescript(SCHEMA)
        self._connection.execute("BEGIN")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def clear(self) -> None:
        """Nothing is known any more."""
        for table in ("entities", "days", "ends"):
            self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - ours

    def commit(self) -> None:
        """Keep what was added."""
        self._connection.execute("COMMIT")
        self._connection.execute("BEGIN")

    def entity(self, entity_id: str) -> EntityHead:
        """Where this entity stands."""
        row = self._connection.execute("SELECT sequence, head FROM entities WHERE id = ?", (entity_id,)).fetchone()
        return EntityHead(*row) if row else NO_ENTITY

    def day(self, day: str) -> DayHead:
        """Where this day stands."""
        row = self._connection.execute("SELECT entries, head, before, last FROM days WHERE day = ?", (day,)).fetchone()
        return DayHead(*row) if row else NO_DAY

    def links(self, entity_id: str, day: str) -> Links:
        """What the next entry is to cover."""
        return Links(self.entity(entity_id).hash, self.day(day).hash)

    def add(self, line: EntryLine, named: str) -> None:
        """It is the last of its entity and of its day now."""
        entry, day = line.entry, self.day(line.day)
        self._connection.execute(
            "INSERT OR REPLACE INTO entities VALUES (?, ?, ?)", (entry["entity_id"], entry["sequence"], line.hash)
        )
        self._connection.execute(
            "INSERT OR REPLACE INTO days VALUES (?, ?, ?, ?, ?)",
            (line.day, day.entries + 1, line.hash, day.hash, named),
        )

    def end(self) -> End:
        """The last segment."""
        row = self._connection.execute("SELECT * FROM ends ORDER BY segment DESC LIMIT 1").fetchone()
        return End(*row) if row else NO_END

    def add_end(self, end: End) -> None:
        """One more segment is included."""
        self._connection.execute("INSERT OR REPLACE INTO ends VALUES (?, ?, ?, ?, ?)", end)
