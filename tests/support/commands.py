"""Every command of `esc-receiver`, those of the laboratory included, by name."""

from __future__ import annotations

import click

from receiver.cli.deferred import Deferred
from receiver.cli.main import main


def commands() -> dict[str, click.Command]:
    """As a terminal finds them: our own and those of the entry points; not what programs start by themselves."""
    context = click.Context(main)
    found = {name: main.get_command(context, name) for name in main.list_commands(context)}
    return {
        name: command.load() if isinstance(command, Deferred) else command
        for name, command in found.items()
        if command is not None and not command.hidden
    }
