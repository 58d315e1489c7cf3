"""A damaged spool: found before SQLite opens its files, and replaced by what can be read of it.

SQLite would overwrite what lies behind a fault. What is read is written as a draft, which takes the file's place when
it is complete; so is a copy where the disk failed. A damaged file is read and then renamed, nothing else. Must not
know when that is done (`spool_file`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import structlog

from receiver.errors import SetupError
from receiver.spool import table
from receiver.spool.folder import SpoolFolder, read_at, sync
from receiver.spool.page_reader import PageReader, is_torn
from receiver.spool.records import FORMAT, Row, UnreadableError, from_head, to_envelope, to_row

REFUSED_SHARE_MAX = 0.5
"""A disk with a few bad sectors is read around; of one that is gone for a moment nothing is concluded."""
_MAGIC = b"SQLite format 3\0"
BECAUSE = "it was damaged on the disk of the spool"

log = structlog.get_logger()


def inspect(folder: SpoolFolder) -> None:
    """Raises SetupError when a newer program has written the files, UnreadableError when they are damaged."""
    head = b""
    with suppress(FileNotFoundError), folder.database.open("rb") as file:
        head = read_at(file.fileno(), 64, 0)
    version = int.from_bytes(head[60:64], "big")
    if head.startswith(_MAGIC) and version > FORMAT:
        raise SetupError(
            f"spool_dir: {folder.database} was written by a newer program (format {version}, known here {FORMAT}); "
            "let that one empty it"
        )
    if not head and folder.log_bytes:
        raise UnreadableError("the file is empty or gone, and its log is there")
    if is_torn(folder.log):
        raise UnreadableError("its log is broken in the middle")


def salvage(folder: SpoolFolder, least: int, most: int, why: str) -> None:
    """Replace the database of `folder`, which nobody has open, by what of it can be read from `least` to `most`.

    `why` it is damaged is logged. Raises OSError when the disk gives back too little of it to say that it is the file
    which is damaged.
    """
    pages = PageReader(folder.database, folder.log)
    with _draft(folder) as draft:
        # The same row may be found often, whole and broken; so the whole ones come first, and the first one stays.
        callbacks = _copy(pages, draft, least, most, _unharmed)
        malformed = _copy(pages, draft, least, most, _as_malformed)
        gaps = table.gaps(draft)
        if pages.refused > pages.read * REFUSED_SHARE_MAX:
            raise OSError("the disk gives too little of the spool back to read it anew")
    log.error(
        "the spool's file is damaged; it was set aside, and what can be read of it was taken over",
        why=why,
        file=str(folder.end_draft()),
        callbacks=callbacks,
        kept_as_malformed=malformed,
        unreadable_about=gaps,  # positions missing between others: unless a put has failed there
    )


def renew(folder: SpoolFolder, connection: sqlite3.Connection) -> None:
    """Replace the database of `folder` by a copy of all that this connection to it reads; the former one is deleted.

    Raises UnreadableError, sqlite3.Error or OSError; then the former one is as it was.
    """
    with _draft(folder) as draft:
        for numbered_row in table.every_row(connection):
            table.insert(draft, [numbered_row])
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
            table.insert(draft, [(position, kept)], "INSERT OR IGNORE")
    return draft.total_changes - before


def _unharmed(row: Row) -> Row | None:
    with suppress(UnreadableError):
        to_envelope(row)
        return row
    return None


def _as_malformed(row: Row) -> Row | None:
    """A damaged row that still says whose it is, so that it is kept and nothing is made of it."""
    if _unharmed(row):
        return None
    with suppress(UnreadableError):
        return to_row(from_head(row.head, row.body)._replace(undecodable_because=BECAUSE))
    return None
