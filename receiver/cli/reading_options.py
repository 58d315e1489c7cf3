"""What all commands take that read a running receiver, and how they print."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import click
from rich.text import Text

from receiver.cli.api_client import QueryClient
from receiver.cli.terminal import console, table

URL = "http://127.0.0.1:9010"
ITEMS_DEFAULT = 100

Command = Callable[..., None]

url_option = click.option(
    "--url", envvar="ESC_RECEIVER_URL", default=URL, show_default=True, show_envvar=True, help="Where the receiver is."
)
token_option = click.option(
    "--token", envvar="ESC_RECEIVER_TOKEN", show_envvar=True, help="Read token, where the receiver wants one."
)
limit_option = click.option(
    "--limit", type=click.IntRange(1), default=ITEMS_DEFAULT, show_default=True, help="Most lines shown."
)
source_option = click.option("--source", help="Only this ESC instance.")
tenant_option = click.option("--tenant", help="Only this tenant's (internal id).")
deployment_option = click.option("--deployment", help="Only this deployment's (internal id).")
since_option = click.option("--since", help="Only what changed at this time or later: 2026-01-31T12:00:00Z.")
until_option = click.option("--until", help="Only what changed before this time.")


def reading(command: Command) -> Command:
    """Options `--url` and `--token`, handed on as `client`."""

    @url_option
    @token_option
    @wraps(command)
    def run(*, url: str, token: str | None, **given: Any) -> None:
        command(client=QueryClient(url, token), **given)

    return run


def json_option(what: str) -> Callable[[Command], Command]:
    """`--json`, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help=what)


def print_json(document: Any) -> None:
    """One document on one line, so that lists can be read line by line."""
    click.echo(json.dumps(document, ensure_ascii=False))


def print_table(headers: Iterable[str], rows: Iterable[Iterable[str | Text]]) -> None:
    """A table, as wide as the terminal or, in a pipe, as it needs to be."""
    console(sys.stdout).print(table(headers, rows))


def state_option(states: Iterable[str]) -> Callable[[Command], Command]:
    """`--state`."""
    return click.option(
        "--state",
        metavar="STATE",
        type=click.Choice(list(map(str, states)), case_sensitive=False),
        help=f"Only those in this state: {', '.join(states)}.",
    )
