"""The program: its commands, and how they fail: an error of ours is one line on standard error and exit status 2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click
import stamina.instrumentation

from esc_receiver_client import EscReceiverError
from receiver import __version__
from receiver.cli import PROGRAM
from receiver.cli.about import completion_command, config_command, version_command
from receiver.cli.cells import cells_command
from receiver.cli.epoch import epoch_command
from receiver.cli.explain import explain_command
from receiver.cli.export import export_command
from receiver.cli.ledger import callbacks_command, ledger_command
from receiver.cli.lists import consumers_command, deployments_command, resources_command, sources_command, vms_command
from receiver.cli.migrate import migrate_command
from receiver.cli.operations import operations_command
from receiver.cli.quarantine import quarantine_command
from receiver.cli.reconcile import reconcile_command
from receiver.cli.replay import replay_command
from receiver.cli.serve import serve_command
from receiver.cli.size import size_command
from receiver.cli.status import status_command
from receiver.cli.tail import tail_command
from receiver.cli.verify import verify_command
from receiver.cli.verify_feed import verify_feed_command
from receiver.cli.webhooks import webhooks_command
from receiver.cli.worker import worker_command
from receiver.errors import ReceiverError, SetupError
from receiver.model.sanitize import plain

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
    return {point.name: point for point in entry_points(group=COMMANDS_ELSEWHERE)}


def _added(name: str) -> click.Command | None:
    """The command of that name, or one that says which extra it lacks; None when no package adds it."""
    point = _entry_points().get(name)
    if point is None:
        return None
    try:
        command: click.Command = point.load()
    except ModuleNotFoundError as error:
        return _lacking(name, error.name or "a package")
    return command


def _lacking(name: str, module: str) -> click.Command:
    """A stand-in for a command whose dependencies are not installed."""

    def fail() -> None:
        raise SetupError(f"`{PROGRAM} {name}` needs {module}: pip install 'esc-receiver[embedded,emulator]'")

    return click.Command(
        name,
        callback=fail,
        help=f"(not installed: needs {module})",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )


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


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name=PROGRAM)
def main() -> None:
    """Stands at Cisco ESC's callback URL: keeps every message, understands it, and tells everyone else."""
    # Code that retries logs this itself, once per failure; stamina would log it again, with the arguments.
    stamina.instrumentation.set_on_retry_hooks(())


for command in (
    cells_command,
    consumers_command,
    callbacks_command,
    completion_command,
    config_command,
    deployments_command,
    epoch_command,
    explain_command,
    export_command,
    ledger_command,
    migrate_command,
    operations_command,
    replay_command,
    quarantine_command,
    reconcile_command,
    resources_command,
    serve_command,
    size_command,
    sources_command,
    status_command,
    tail_command,
    verify_command,
    verify_feed_command,
    version_command,
    vms_command,
    webhooks_command,
    worker_command,
):
    main.add_command(command)
