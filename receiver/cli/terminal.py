"""How things look on a terminal: the colour of a state or a change, tables, times. Text from outside is made harmless.

Colours and tables appear on a terminal only; what goes into a pipe is plain text. This file must not know where what
is shown comes from.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import IO, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from receiver.model.sanitize import plain

WIDE = 10_000
"""Columns of what is no terminal: nothing is folded or cut for a pipe."""

COLOURS = {
    "red": "error failed overdue",
    "green": "alive active succeeded created updated",
    "yellow": "recovering stopping starting rebooting undeploying deploying unclassified cancelled",
    "bright_black": "undeployed deleted stopped inert open",
}


def colour_of(word: str) -> str | None:
    """The colour of a state or a change; None for a word that has none."""
    return next((colour for colour, words in COLOURS.items() if word.lower() in words.split()), None)


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


def local_time(time: str | None) -> str:
    """A time of the API in the user's zone, to the second."""
    return "" if time is None else f"{datetime.fromisoformat(time).astimezone():%Y-%m-%d %H:%M:%S}"


def local_time_ms(time: str | None) -> str:
    """The same to the millisecond."""
    return "" if time is None else f"{datetime.fromisoformat(time).astimezone():%Y-%m-%d %H:%M:%S.%f}"[:-3]


def duration(since: str, until: str | None = None) -> str:
    """From a time of the API to another, else to now, in the two largest units that matter."""
    end = datetime.fromisoformat(until) if until else datetime.now(UTC)
    length = end - datetime.fromisoformat(since)
    if length < timedelta(minutes=1):
        return f"{max(0.0, length.total_seconds()):.1f} s"
    rounded = timedelta(seconds=round(length.total_seconds()))
    minutes, seconds = divmod(rounded.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if rounded.days:
        return f"{rounded.days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def print_json(document: Any) -> None:
    """One document on one line, so that lists can be read line by line."""
    click.echo(plain(json.dumps(document, ensure_ascii=False)))


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
