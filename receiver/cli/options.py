"""The options that several commands take."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar

import click

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
search = click.option(
    "--search", "q", metavar="WORDS", help="Only those whose ids, names or reference hold these words."
)
printed = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How it is printed."
)
gone = click.option("--gone", is_flag=True, help="Also what is undeployed.")


class Output(StrEnum):
    """What `-o` takes."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    CSV = "csv"
    NAME = "name"


class Moment(click.ParamType[str]):
    """A time of the API, or how long ago: `90s`, `15m`, `2h`, `7d`."""

    name = "time"
    _AGO = re.compile(r"(\d{1,9})([smhd])")
    _UNITS: ClassVar = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As the API takes it, which says what is wrong with any other text."""
        if not (ago := self._AGO.fullmatch(value)):
            return str(value)
        try:
            moment = datetime.now(UTC) - timedelta(**{self._UNITS[ago[2]]: int(ago[1])})
        except OverflowError:
            self.fail(f"{value} is longer ago than time goes back", param, ctx)
        return f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}"


since = click.option("--since", type=Moment(), help="Only since then: 2026-01-31T12:00:00Z, or 15m, 2h, 7d ago.")
until = click.option("--until", type=Moment(), help="Only before then, likewise.")

at = click.option("--at", type=Moment(), help="As it was then, as far as the ledger tells: a time, or so long ago.")


def data_dir(description: str) -> Option:
    """`--data-dir`, which means something else to each command."""
    return click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), help=description)


def json(description: str) -> Option:
    """`--json`, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help=description)


def state(states: Iterable[str]) -> Option:
    """`--state`, one of these; several may be given."""
    return click.option(
        "--state",
        metavar="STATE",
        multiple=True,
        type=click.Choice(list(map(str, states)), case_sensitive=False),
        help=f"Only those in this state; may be repeated: {', '.join(states)}.",
    )


def output(command: Command) -> Command:
    """`-o`, handed on as `output`; `--json` is short for `-o json`."""

    @click.option(
        "-o", "--output", metavar="FORMAT", default="table", show_default=True,
        type=click.Choice([str(one) for one in Output]),
        help=f"One of {', '.join(Output)}. A table on a terminal shortens what does not fit; wide does not.",
    )  # fmt: skip
    @click.option("--json", "as_json", is_flag=True, help="Short for -o json: one item a line.")
    @wraps(command)
    def run(*, output: str, as_json: bool, **given: Any) -> None:
        command(output=Output.JSON if as_json else Output(output), **given)

    return run
