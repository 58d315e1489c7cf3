"""SQL kept in files of the package, each statement under a name.

A statement begins at a line `-- name: some_name` and ends at the next; the comment below the name says what
it is for. `{vm}` stands for the columns of a row of that name, `{v.vm}` for the same of a table called `v` there. This
file must not know any statement.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_ROW = re.compile(r"\{(?:(\w+)\.)?(\w+)\}")


def statements(file: str, rows: Mapping[str, Sequence[str]] | None = None) -> dict[str, str]:
    """The statements of `receiver/<file>` by name, in order; `rows` are columns, by the name of a row."""

    def columns(found: re.Match[str]) -> str:
        table, row = found.groups()
        return ", ".join(f"{table}.{column}" if table else column for column in (rows or {})[row])

    text = _ROW.sub(columns, files("receiver").joinpath(file).read_text("utf-8"))
    _, *parts = _NAME.split(text)
    return {name: text.strip().removesuffix(";") for name, text in zip(parts[::2], parts[1::2], strict=True)}
