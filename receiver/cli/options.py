"""The options that several commands take."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from esc_receiver_client import SyncEscReceiver

URL = "http://127.0.0.1:9010"
ITEMS_DEFAULT = 100

Command = Callable[..., None]
Option = Callable[[Command], Command]

config = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A TOML file of settings; the environment wins over it.",
)
url = click.option(
    "--url", envvar="ESC_RECEIVER_URL", default=URL, show_default=True, show_envvar=True, help="Where the receiver is."
)
token = click.option(
    "--token", envvar="ESC_RECEIVER_TOKEN", show_envvar=True, help="Read token, where the receiver wants one."
)
limit = click.option(
    "--limit", type=click.IntRange(1), default=ITEMS_DEFAULT, show_default=True, help="Most lines shown."
)
source = click.option("--source", help="Only this ESC instance.")
tenant = click.option("--tenant", help="Only this tenant's (internal id).")
deployment = click.option("--deployment", help="Only this deployment's (internal id).")
since = click.option("--since", help="Only what changed at this time or later: 2026-01-31T12:00:00Z.")
until = click.option("--until", help="Only what changed before this time.")


def reading(command: Command) -> Command:
    """Options `--url` and `--token`, handed on as `client`."""

    @url
    @token
    @wraps(command)
    def run(*, url: str, token: str | None, **given: Any) -> None:
        with SyncEscReceiver(url, token) as client:
            command(client=client, **given)

    return run


def data_dir(description: str) -> Option:
    """`--data-dir`, which means something else to each command."""
    return click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), help=description)


def json(description: str) -> Option:
    """`--json`, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help=description)


def state(states: Iterable[str]) -> Option:
    """`--state`, one of these."""
    return click.option(
        "--state",
        metavar="STATE",
        type=click.Choice(list(map(str, states)), case_sensitive=False),
        help=f"Only those in this state: {', '.join(states)}.",
    )
