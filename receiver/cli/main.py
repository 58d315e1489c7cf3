"""The program: its commands, and how they fail: an error of ours is one line on standard error and exit status 2.

Nothing of a command is imported here: each is when it is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from esc_receiver_client.errors import EscReceiverError
from receiver import __version__
from receiver.cli import HELP_OPTIONS, PROGRAM
from receiver.cli.deferred import Deferred, lacking
from receiver.errors import ReceiverError
from receiver.model.sanitize import plain

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

COMMANDS = {
    "callbacks": ("ledger", "List callbacks, the newest first; or show one, or its bytes."),
    "cells": ("cells", "Several databases that are one feed: join their streams, and divide sources among them."),
    "completion": ("about", "Print what completes commands and options in your shell."),
    "config": (
        "configuration",
        "Print the settings that `serve` would run with and where each comes from; secrets are not shown.",
    ),
    "consumers": ("lists", "List who reads the feed at NATS, and how far behind each is."),
    "deployments": ("lists", "List deployments as they are now, or were."),
    "epoch": (
        "epoch",
        "After a restore of an older backup: accept what PostgreSQL has forgotten as lost, and let the feed go on.",
    ),
    "explain": ("explain", "Say why a VM is in its state, and what is expected next."),
    "export": (
        "export",
        "Write what is new in the ledger to a signed archive in FOLDER; each entry vouches for the one before.",
    ),
    "ledger": ("ledger", "List ledger entries: every change of state and every note, the newest first."),
    "migrate": ("migrate", "Bring the database's schema up to date."),
    "operations": ("operations", "List operations, the newest first; or wait for one to end."),
    "quarantine": (
        "quarantine",
        "List dead letters by source and reason, or acknowledge them; `replay --quarantine` applies them again.",
    ),
    "reconcile": (
        "reconcile",
        "Ask ESC for its deployments, and mend what callbacks did not tell (docs/reconcile.md).",
    ),
    "replay": ("replay", "Apply kept callbacks again, as this version reads and judges them."),
    "resources": ("lists", "List what ESC manages beside deployments: tenants, networks, images …"),
    "serve": ("serve", "Run the service, until SIGTERM or Ctrl-C."),
    "size": ("size", "Say how many processors, disks and cells a rate of callbacks needs, and what would break first."),
    "sources": (
        "lists",
        "List the ESC instances: in or out of service, heard of when, what of theirs is open or was refused.",
    ),
    "status": ("status", "Say how a running receiver is."),
    "tail": ("tail", "Follow the feed in the terminal, until Ctrl-C."),
    "verify": (
        "verify",
        "Prove that nothing in an archive of the ledger was changed, removed, inserted or reordered; or name what was.",
    ),
    "verify-feed": (
        "verify_feed",
        "Compare the feed's stream with the ledger, by id, and publish again what the stream has lost.",
    ),
    "version": ("about", "Say which version this is."),
    "vms": ("lists", "List VMs as they are now, or were."),
    "webhooks": ("webhooks", "List where events are posted and how it goes, or do something about one."),
}
"""Our own: the module, and the first sentence of the help."""
INTERRUPTED = 130
"""The exit status of a command that Ctrl-C ended, as of any program."""
COMMANDS_ELSEWHERE = "esc_receiver.commands"
"""The entry point group of commands that other packages add: the laboratory's `demo`, `emulate` and `simulate`."""


class Group(click.Group):
    """A group whose commands end in one clear line when we know what is wrong, and which other packages add to."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Our own and those of the entry points, by name."""
        return sorted({*super().list_commands(ctx), *_entry_points()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """An added command is imported when it is asked for."""
        return super().get_command(ctx, cmd_name) or _added(cmd_name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words that come before the command."""
        with _errors_in_a_line(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        with _errors_in_a_line(ctx):
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:
                ctx.exit(INTERRUPTED)


def _entry_points() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # noqa: PLC0415 - it costs as much as all the rest of this file

    return {point.name: point for point in entry_points(group=COMMANDS_ELSEWHERE)}


def _added(name: str) -> click.Command | None:
    """The command of that name, or one that says which extra it lacks; None when no package adds it."""
    point = _entry_points().get(name)
    if point is None:
        return None
    try:
        command: click.Command = point.load()
    except ModuleNotFoundError as error:
        return lacking(name, error.name or "a package")
    return command


@contextmanager
def _errors_in_a_line(ctx: click.Context) -> Iterator[None]:
    try:
        yield
    except (ReceiverError, EscReceiverError) as error:
        message = str(error)
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        command = error.ctx.command_path.removeprefix(ctx.command_path) if error.ctx else ""
        message = f"{error.format_message().rstrip('.')} (see {PROGRAM}{command} --help)"
    else:
        return
    for line in message.splitlines():
        click.echo(f"{PROGRAM}: {plain(line)}", err=True)
    ctx.exit(2)


@click.group(cls=Group, context_settings={"help_option_names": HELP_OPTIONS})
@click.version_option(__version__, prog_name=PROGRAM)
def main() -> None:
    """Stands at Cisco ESC's callback URL: keeps every message, understands it, and tells everyone else."""


for name, (module, line) in COMMANDS.items():
    main.add_command(Deferred(name, f"receiver.cli.{module}", line, draws=name != "serve"))
main.add_command(Deferred("worker", "receiver.cli.worker", "Be a worker of the supervisor.", hidden=True, draws=False))
