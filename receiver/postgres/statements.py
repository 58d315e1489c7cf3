"""SQL kept in files of the package, each statement under a name.

A statement begins at a line `-- name: some_name` and ends at the next; the comment below the name says what
it is for. This file must not know any statement.
"""

from __future__ import annotations

import re
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def statements(file: str) -> dict[str, str]:
    """The statements of `receiver/<file>` by name, in the order of the file."""
    _, *parts = _NAME.split(files("receiver").joinpath(file).read_text("utf-8"))
    return {name: text.strip().removesuffix(";") for name, text in zip(parts[::2], parts[1::2], strict=True)}
