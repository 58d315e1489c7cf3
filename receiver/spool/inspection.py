"""What can be told of the spool's files before SQLite sees them: it would overwrite what lies behind a fault."""

from __future__ import annotations

from contextlib import suppress

from receiver.errors import SetupError
from receiver.spool.folder import SpoolFolder, read_at
from receiver.spool.page_reader import is_torn
from receiver.spool.records import FORMAT, UnreadableError

_MAGIC = b"SQLite format 3\0"


def inspect(folder: SpoolFolder) -> None:
    """Raises SetupError when a newer program has written them, UnreadableError when they are damaged."""
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
