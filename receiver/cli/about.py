"""`esc-receiver version` and `completion`: what this program is, and how a shell completes it."""

from __future__ import annotations

import platform
from pathlib import Path

import click
from click.shell_completion import get_completion_class

import receiver
from receiver import __version__
from receiver.cli import PROGRAM, options
from receiver.cli.terminal import print_json

COMPLETE = "_ESC_RECEIVER_COMPLETE"


def is_compiled() -> bool:
    """Whether the pure rooms run compiled (docs/speed.md#compiled)."""
    return any(Path(receiver.__file__).parent.glob("lifecycle/decide.*.so"))


@click.command("version")
@options.json("As one JSON document.")
def version_command(*, as_json: bool) -> None:
    """Say which version this is.

    \b
    Examples:
      esc-receiver version
      esc-receiver version --json | jq -r .version
    """
    about = {"version": __version__, "python": platform.python_version(), "api": "v1", "compiled": is_compiled()}
    if as_json:
        print_json(about)
    else:
        click.echo(f"{PROGRAM} {__version__} (Python {about['python']}{', compiled' if is_compiled() else ''})")


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
