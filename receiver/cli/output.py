"""How a list is printed: as a table, whole (`wide`), as CSV, as names alone, or as JSON, an item a line.

A table on a terminal shortens what does not fit and never wraps it; what goes into a pipe is whole. Must not know where
the items come from.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click
from rich.text import Text

from receiver.cli.options import Output
from receiver.cli.tables import print_table
from receiver.cli.terminal import print_json
from receiver.model.sanitize import plain

Item = Mapping[str, Any]
Columns = Mapping[str, Callable[[Item], str | Text]]
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a cell that begins so for a formula; what a sender wrote must not become one."""


def counted(number: int, one: str, more: str = "") -> str:
    """`1 message`, `2 messages`; `more` where an s is not enough."""
    return f"{number} {one if number == 1 else more or f'{one}s'}"


def print_items(items: Sequence[Item], columns: Columns, id_field: str, output: Output) -> None:
    """Print items; `id_field` is what `-o name` prints."""
    match output:
        case Output.JSON:
            for item in items:
                print_json(item)
        case Output.NAME:
            for item in items:
                click.echo(plain(str(item[id_field])))
        case Output.CSV:
            click.echo(_csv(items, columns), nl=False)
        case _ if items:
            rows = ([cell(item) for cell in columns.values()] for item in items)
            print_table(columns, rows, whole=output is Output.WIDE)


def _csv(items: Iterable[Item], columns: Columns) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([header.lower().replace(" ", "_") for header in columns])
    writer.writerows([_safe(str(cell(item))) for cell in columns.values()] for item in items)
    return text.getvalue()


def _safe(cell: str) -> str:
    shown = plain(cell)
    return f"'{shown}" if shown.startswith(FORMULA) else shown


def say_nothing_found(what: str, asked: Mapping[str, Any]) -> None:
    """Say on standard error that nothing was found, and what was asked."""
    given = " ".join(f"{'search' if name == 'q' else name}={_words(value)}" for name, value in asked.items())
    click.echo(plain(f"no {what} match {given}" if given else f"there are no {what} yet"), err=True)


def _words(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def say_more(limit: int) -> None:
    """Say on standard error that the list goes on."""
    click.echo(f"there are more than {limit}: see --limit", err=True)
