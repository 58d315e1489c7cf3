"""`esc-receiver version`, `completion` and `config`: what this program is, and what it would run with."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from receiver import __version__
from receiver.cli import PROGRAM, options
from receiver.cli.output import Columns, Output, print_items
from receiver.cli.terminal import print_json
from receiver.config.loading import effective
from receiver.errors import SettingsError

COMPLETE = "_ESC_RECEIVER_COMPLETE"
SETTINGS: Columns = {
    "SETTING": lambda item: item["setting"],
    "VALUE": lambda item: str(item["value"]),
    "FROM": lambda item: item["from"],
}


@click.command("version")
@options.json("As one JSON document.")
def version_command(*, as_json: bool) -> None:
    """Say which version this is.

    \b
    Examples:
      esc-receiver version
      esc-receiver version --json | jq -r .version
    """
    about = {"version": __version__, "python": platform.python_version(), "api": "v1"}
    if as_json:
        print_json(about)
    else:
        click.echo(f"{PROGRAM} {__version__} (Python {about['python']})")


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, *, shell: str) -> None:
    """Print what completes commands and options in your shell.

    \b
    Examples:
      esc-receiver completion bash > /etc/bash_completion.d/esc-receiver
      esc-receiver completion fish > ~/.config/fish/completions/esc-receiver.fish
    """
    made = get_completion_class(shell)
    assert made is not None  # click knows these three
    click.echo(made(ctx.find_root().command, {}, PROGRAM, COMPLETE).source())


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
