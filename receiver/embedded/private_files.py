"""Files that nobody but the user may read. Must not know what is in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from receiver.errors import SetupError


def open_private(path: Path) -> IO[bytes]:
    """Open for appending; nobody else may read it. Raises SetupError for a symbolic link, which may lead anywhere."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise SetupError(f"{path} cannot be opened: {error.strerror}") from error
    os.fchmod(file, 0o600)
    return os.fdopen(file, "ab")


def write_private(path: Path, text: str) -> None:
    """Write so that nobody else can ever read it, nor find half of it."""
    half_written = path.with_suffix(".new")
    half_written.unlink(missing_ok=True)
    with os.fdopen(os.open(half_written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    half_written.rename(path)
