"""`esc-receiver verify --ledger`: the archive compared with the ledger, entry by entry, both ways.

What the archive has is noted in an SQLite file, then the ledger is gone through once. What retention has dropped is
counted. Must not know how an archive is verified by itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from receiver.archive.exporter import Report
from receiver.archive.findings import Fault, Findings
from receiver.archive.format import EntryLine, content_hash, plain
from receiver.archive.ledger_pages import BEGINNING, Ledger
from receiver.archive.verification import Compared


class AgainstLedger:
    """Made by `noting`; hears of every entry of the archive first."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._last_id = ""

    def note(self, line: EntryLine) -> None:
        """The archive has this one."""
        entry = line.entry
        self._connection.execute(
            "INSERT OR IGNORE INTO archived VALUES (?, ?, ?, 0)", (entry["id"], content_hash(entry), entry["at"][:7])
        )
        self._last_id = entry["id"]

    async def compare(self, ledger: Ledger, findings: Findings, report: Report) -> Compared:
        """With the ledger as it stands, up to the last entry that was archived."""
        up_to = await ledger.place_of(self._last_id)
        total, done, alike = self._count("1"), 0, 0
        if up_to is not None:
            async for rows in ledger.pages(BEGINNING, up_to):
                alike += sum(self._is_alike(row, findings) for row in rows)
                done += len(rows)
                report("entries of the ledger compared", done, max(total, done))
        months = {month[:7] for month in await ledger.months()}
        for entry_id, month in self._connection.execute("SELECT id, month FROM archived WHERE NOT seen"):
            if month in months:
                findings.add(Fault.REMOVED, "ledger", f"entry {entry_id} is in the archive and not in the ledger")
        marks = ", ".join("?" * len(months))
        return Compared(alike, self._count(f"NOT seen AND month NOT IN ({marks})", *months))

    def _is_alike(self, row: Sequence[Any], findings: Findings) -> bool:
        entry = plain(row)
        found = self._connection.execute(
            "UPDATE archived SET seen = 1 WHERE id = ? RETURNING content", (entry["id"],)
        ).fetchone()
        named = f"entry {entry['id']} ({entry['entity']} {entry['name']}, number {entry['sequence']})"
        if found is None:
            findings.add(Fault.LEFT_OUT, "ledger", f"{named} is in the ledger and not in the archive")
        elif found[0] != content_hash(entry):
            findings.add(Fault.CHANGED, "ledger", f"{named} is not as it was archived")
            return False
        return found is not None

    def _count(self, condition: str, *values: str) -> int:
        (count,) = self._connection.execute(f"SELECT count(*) FROM archived WHERE {condition}", values).fetchone()  # noqa: S608 - ours
        return int(count)


@contextmanager
def noting() -> Iterator[AgainstLedger]:
    """With a file of its own, gone afterwards."""
    with TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "archived.sqlite", isolation_level=None)
        connection.executescript(
            "PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; CREATE TABLE archived (id TEXT PRIMARY KEY,"
            " content BLOB NOT NULL, month TEXT NOT NULL, seen INTEGER NOT NULL) WITHOUT ROWID; BEGIN;"
        )
        try:
            yield AgainstLedger(connection)
        finally:
            connection.close()
