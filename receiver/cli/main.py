"""The commands. One function each; an error of ours is one line on standard error and exit status 2."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import click

from receiver import __version__
from receiver.app import running
from receiver.cli.explain import explain_command
from receiver.cli.lists import deployments_command, vms_command
from receiver.cli.operations import operations_command
from receiver.cli.replay import replay_command
from receiver.cli.serve import (
    allow_open_files,
    embedded,
    forget_endpoints,
    spare_the_collector,
    write_endpoints,
)
from receiver.cli.signals import until_signalled
from receiver.cli.status import status_command
from receiver.cli.tail import tail_command
from receiver.config.loading import load
from receiver.config.settings import Settings
from receiver.errors import ReceiverError, SetupError, describe
from receiver.observability import logs
from receiver.observability.tracing import traces
from receiver.postgres.database import connect
from receiver.postgres.driver_errors import UNUSABLE
from receiver.postgres.migrations import migrate as apply_migrations
from receiver.postgres.migrations import pending

CONFIG = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A TOML file of settings; the environment wins over it.",
)


PROGRAM = "esc-receiver"


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
        with _told_in_a_line(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        with _told_in_a_line(ctx):
            return super().invoke(ctx)


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

    def fail(_: click.Context) -> None:
        raise SetupError(f"`{PROGRAM} {name}` needs {module}: pip install 'esc-receiver[embedded,emulator]'")

    help_text = f"(not installed: needs {module})"
    return click.Command(
        name,
        callback=click.pass_context(fail),
        help=help_text,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )


@contextmanager
def _told_in_a_line(ctx: click.Context) -> Iterator[None]:
    try:
        yield
    except ReceiverError as error:
        said = str(error)
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        asked = error.ctx.command_path.removeprefix(ctx.command_path) if error.ctx else ""
        said = f"{error.format_message().rstrip('.')} (see {PROGRAM}{asked} --help)"
    else:
        return
    for line in said.splitlines():
        click.echo(f"{PROGRAM}: {line}", err=True)
    ctx.exit(2)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name=PROGRAM)
def main() -> None:
    """Stands at Cisco ESC's callback URL: keeps every message, understands it, and tells everyone else."""


@main.command()
@CONFIG
@click.option(
    "--embedded", "is_embedded", is_flag=True, help="Run PostgreSQL and NATS too, in --data-dir, kept across restarts."
)
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), help="Folder of the embedded servers.")
@click.option("--host", help="Address to serve on.")
@click.option("--port", type=int, help="Port to serve on; 0 takes a free one.")
def serve(config: Path | None, is_embedded: bool, **flags: Any) -> None:
    """Run the service, until SIGTERM or Ctrl-C.

    \b
    Examples:
      ESC_RECEIVER_POSTGRES_DSN=postgresql://esc@db/esc esc-receiver serve
      esc-receiver serve --config /etc/esc-receiver.toml
      esc-receiver serve --embedded --data-dir ./data
    """
    required = () if is_embedded else ("postgres_dsn",)
    settings = load(config, _environment(flags), required=required)
    logs.configure(settings)
    allow_open_files(settings.connections_max)
    asyncio.run(until_signalled(lambda: _serve_embedded(settings) if is_embedded else _serve(settings)))


@main.command()
@CONFIG
@click.option("--dry-run", is_flag=True, help="Print the SQL that would be run, and run nothing.")
def migrate(config: Path | None, dry_run: bool) -> None:
    """Bring the database's schema up to date.

    \b
    Examples:
      esc-receiver migrate
      esc-receiver migrate --dry-run | less
    """
    settings = load(config, os.environ)
    asyncio.run(_migrate(settings, dry_run=dry_run))


COMMANDS = (
    deployments_command,
    explain_command,
    operations_command,
    replay_command,
    status_command,
    tail_command,
    vms_command,
)
for command in COMMANDS:
    main.add_command(command)


async def _serve(settings: Settings) -> None:
    async with running(settings, traces(os.environ)) as app:
        spare_the_collector()
        await app.run()


async def _serve_embedded(settings: Settings) -> None:
    folder = settings.data_dir
    async with embedded(settings, folder) as pointed:
        forget_endpoints(folder)
        async with running(pointed, traces(os.environ)) as app:
            await app.until_ready()
            spare_the_collector()
            write_endpoints(folder, app)
            try:
                await app.run()
            finally:
                forget_endpoints(folder)


async def _migrate(settings: Settings, *, dry_run: bool) -> None:
    try:
        connection = await connect(settings)
    except UNUSABLE as error:
        raise SetupError(f"PostgreSQL cannot be reached (ESC_RECEIVER_POSTGRES_DSN): {describe(error)}") from error
    try:
        if dry_run:
            for migration in await pending(connection):
                click.echo(f"-- {migration.name}\n{migration.sql}")
        else:
            names = await apply_migrations(connection)
            click.echo("\n".join(f"applied {name}" for name in names) or "the schema is up to date")
    except UNUSABLE as error:
        raise SetupError(f"PostgreSQL does not let the schema be looked at or changed: {describe(error)}") from error
    finally:
        await connection.close()


def _environment(flags: dict[str, Any]) -> dict[str, str]:
    """The environment with flags laid over it: they are the same settings, said nearer."""
    given = {f"ESC_RECEIVER_{name.upper()}": str(value) for name, value in flags.items() if value is not None}
    return {**os.environ, **given}
