"""`esc-receiver config`: what this program would run with."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from receiver.cli import options
from receiver.cli.options import Output
from receiver.cli.output import Columns, print_items
from receiver.config.loading import effective
from receiver.errors import SettingsError

SETTINGS: Columns = {
    "SETTING": lambda item: item["setting"],
    "VALUE": lambda item: str(item["value"]),
    "FROM": lambda item: item["from"],
}


@click.command("config")
@options.config
@click.option("--changed", is_flag=True, help="Only what is not the default.")
@options.output
def config_command(*, config: Path | None, changed: bool, output: Output) -> None:
    """Print the settings that `serve` would run with and where each comes from; secrets are not shown.

    Exit status 2 when they are not valid: then it also says what is wrong.

    \b
    Examples:
      esc-receiver config --changed
      esc-receiver config --config /etc/esc-receiver/esc-receiver.toml -o wide
    """
    found, faults = effective(config, os.environ)
    items = [{"setting": one.name, "value": one.value, "from": one.origin} for one in found]
    print_items([one for one in items if not changed or one["from"] != "default"], SETTINGS, "setting", output)
    sys.stdout.flush()
    if faults:
        raise SettingsError("\n".join(faults))
