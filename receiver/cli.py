"""The commands. One function each; an error of ours is one line on standard error and exit status 2."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from receiver import __version__, logs
from receiver.database import UNUSABLE, connect
from receiver.demo import demo_command
from receiver.emulator.command import emulate_command
from receiver.errors import ReceiverError, SetupError
from receiver.migrate import migrate as apply_migrations
from receiver.migrate import pending
from receiver.reading import COMMANDS as READING
from receiver.replay_command import replay_command
from receiver.serve import (
    allow_open_files,
    embedded,
    forget_endpoints,
    running,
    spare_the_collector,
    write_endpoints,
)
from receiver.settings import Settings, load
from receiver.signals import until_signalled
from receiver.simulator import simulate_command
from receiver.tail import tail_command
from receiver.tracing import traces

CONFIG = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A TOML file of settings; the environment wins over it.",
)


PROGRAM = "esc-receiver"


class Group(click.Group):
    """A group whose commands end in one clear line when we know what is wrong."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words that come before the command."""
        with _told_in_a_line(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        with _told_in_a_line(ctx):
            return super().invoke(ctx)


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


main.add_command(demo_command)
main.add_command(emulate_command)
main.add_command(replay_command)
main.add_command(simulate_command)
main.add_command(tail_command)
for command in READING:
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
        raise SetupError(f"PostgreSQL cannot be reached (ESC_RECEIVER_POSTGRES_DSN): {_words(error)}") from error
    try:
        if dry_run:
            for migration in await pending(connection):
                click.echo(f"-- {migration.name}\n{migration.sql}")
        else:
            names = await apply_migrations(connection)
            click.echo("\n".join(f"applied {name}" for name in names) or "the schema is up to date")
    except UNUSABLE as error:
        raise SetupError(f"PostgreSQL does not let the schema be looked at or changed: {_words(error)}") from error
    finally:
        await connection.close()


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _environment(flags: dict[str, Any]) -> dict[str, str]:
    """The environment with flags laid over it: they are the same settings, said nearer."""
    given = {f"ESC_RECEIVER_{name.upper()}": str(value) for name, value in flags.items() if value is not None}
    return {**os.environ, **given}
