"""Puts another file in the spool's place: what a damaged one still gives, or a copy where the disk failed.

It is written as a draft, which takes its place when it is complete. A damaged file is read and then renamed, nothing
else. Must not know when that is done (`file`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import structlog

from receiver.spool import table
from receiver.spool.folder import SpoolFolder, sync
from receiver.spool.page_reader import PageReader
from receiver.spool.records import Row, UnreadableError, from_head, to_envelope, to_row

REFUSED_SHARE_MAX = 0.5
"""A disk with a few bad sectors is read around; of one that is gone for a moment nothing is concluded."""
BECAUSE = "it was damaged on the disk of the spool"

log = structlog.get_logger()


class Salvaged(NamedTuple):
    """What came of it."""

    callbacks: int
    """Exactly as they were written."""
    malformed: int
    """Damaged, but it can be told whose they are: kept as malformed, so that nothing is made of them."""
    gaps: int
    """Positions missing between others: so many could not be read, if no put has failed there."""
    aside: Path
    """The damaged file's new name."""


def salvage(folder: SpoolFolder, least: int, most: int, why: str) -> Salvaged:
    """Replace the database of `folder`, which nobody has open, by what of it can be read from `least` to `most`.

    `why` it is damaged is told in the log. Raises OSError when the disk gives back too little of it to say that it is
    the file which is damaged.
    """
    pages = PageReader(folder.database, folder.log)
    with _draft(folder) as draft:
        # The same row may be found often, whole and broken; so the whole ones come first, and the first one stays.
        callbacks = _copy(pages, draft, least, most, _unharmed)
        malformed = _copy(pages, draft, least, most, _mended)
        gaps = table.gaps(draft)
        if pages.refused > pages.read * REFUSED_SHARE_MAX:
            raise OSError("the disk gives too little of the spool back to read it anew")
    found = Salvaged(callbacks, malformed, gaps, folder.end_draft())
    log.error(
        "the spool's file is damaged; it was set aside, and what can be read of it was taken over",
        why=why,
        file=str(found.aside),
        callbacks=callbacks,
        kept_as_malformed=malformed,
        unreadable_about=gaps,
    )
    return found


def renew(folder: SpoolFolder, connection: sqlite3.Connection) -> None:
    """Replace the database of `folder` by a copy of all that this connection to it reads; the former one is deleted.

    Raises UnreadableError, sqlite3.Error or OSError; then the former one is as it was.
    """
    with _draft(folder) as draft:
        for position, row in table.every_row(connection):
            table.insert(draft, [position], [row])
    folder.end_draft(keep=False)


@contextmanager
def _draft(folder: SpoolFolder) -> Iterator[sqlite3.Connection]:
    folder.begin_draft()
    try:
        with closing(table.connect(folder.draft, 0)) as draft:
            table.set_up_draft(draft)
            with table.transaction(draft):
                yield draft
        sync(folder.draft)
    except BaseException:
        folder.drop_draft()
        raise


def _copy(
    pages: PageReader, draft: sqlite3.Connection, least: int, most: int, readable: Callable[[Row], Row | None]
) -> int:
    before = draft.total_changes
    for position, row in pages.rows():
        if least <= position <= most and (kept := readable(row)):
            table.insert(draft, [position], [kept], "INSERT OR IGNORE")
    return draft.total_changes - before


def _unharmed(row: Row) -> Row | None:
    with suppress(UnreadableError):
        to_envelope(row)
        return row
    return None


def _mended(row: Row) -> Row | None:
    if _unharmed(row):
        return None
    with suppress(UnreadableError):
        return to_row(from_head(row.head, row.body)._replace(undecodable_because=BECAUSE))
    return None
