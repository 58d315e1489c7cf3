"""What is coloured and laid out on a terminal: tables, states, a console. Text from outside is made harmless.

Colours and tables appear on a terminal only; what goes into a pipe is plain text. This file must not know where what
is shown comes from.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import IO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from receiver.cli.terminal import colour_of
from receiver.model.sanitize import plain

WIDE = 10_000
"""Columns of what is no terminal: nothing is folded or cut for a pipe."""


def console(file: IO[str]) -> Console:
    """A console that takes text as it is: no markup, no emoji, nothing coloured but what is said to be."""
    made = Console(file=file, markup=False, emoji=False, highlight=False, soft_wrap=False)
    if not made.is_terminal:
        made.width = WIDE
    return made


def state(word: str) -> Text:
    """A state in its colour."""
    colour = colour_of(word) or ""
    return Text(plain(word), style=f"bold {colour}" if colour == "red" else colour)


def print_table(
    headers: Iterable[str], rows: Iterable[Iterable[str | Text]], *, whole: bool = True, folded: bool = False
) -> None:
    """Columns without lines between them, a row on a line. On a terminal that is too narrow for it, what is `folded`
    goes on in the next line, and what is not `whole` is shortened with an ellipsis."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold" if folded else "ellipsis", no_wrap=not folded)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(plain(cell)) for cell in row))
    shown_on = console(sys.stdout)
    if whole and not folded:
        shown_on.width = WIDE
    shown_on.print(table)
