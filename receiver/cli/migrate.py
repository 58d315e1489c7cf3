"""`esc-receiver migrate`: brings the database's schema up to date, or prints the SQL that would."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import click

from receiver.cli import options
from receiver.config.loading import load
from receiver.config.settings import Settings
from receiver.errors import SetupError, describe
from receiver.postgres.database import connect
from receiver.postgres.driver_errors import UNUSABLE
from receiver.postgres.migrations import migrate, pending


@click.command("migrate")
@options.config
@click.option("--dry-run", is_flag=True, help="Print the SQL that would be run, and run nothing.")
def migrate_command(config: Path | None, dry_run: bool) -> None:
    """Bring the database's schema up to date.

    \b
    Examples:
      esc-receiver migrate
      esc-receiver migrate --dry-run | less
    """
    asyncio.run(_migrate(load(config, os.environ), dry_run=dry_run))


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
            names = await migrate(connection, lock_timeout_s=settings.postgres_lock_timeout_s)
            click.echo("\n".join(f"applied {name}" for name in names) or "the schema is up to date")
    except UNUSABLE as error:
        raise SetupError(f"PostgreSQL does not let the schema be looked at or changed: {describe(error)}") from error
    finally:
        await connection.close()
