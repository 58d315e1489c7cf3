"""`esc-receiver epoch` in a terminal: what it takes and what it prints. Must not know how an epoch is declared."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
import orjson
from rich.console import Console

from receiver.cli import options
from receiver.cli.progress_bar import progress_bar
from receiver.cli.server_settings import server_settings
from receiver.model.sanitize import plain
from receiver.replay.new_epoch import Epoch, declare

EPILOG = """
\b
Examples:
  esc-receiver epoch --dry-run                   only say what the ledger has forgotten
  esc-receiver epoch                             go on without giving a number twice
  esc-receiver epoch -o json | jq .lost

\b
Exit status: 0 nothing is forgotten, or an epoch is declared; 1 with --dry-run: something is forgotten;
2 it could not be found out or declared.
"""
NAMED_MAX = 10


@click.command("epoch", epilog=EPILOG)
@options.config
@options.data_dir("Folder of an embedded receiver; its endpoints.json tells where PostgreSQL and NATS are.")
@click.option("--dry-run", is_flag=True, help="Say what the ledger has forgotten, and change nothing.")
@options.printed
@click.pass_context
def epoch_command(
    ctx: click.Context, /, config: Path | None, data_dir: Path | None, *, dry_run: bool, output: str
) -> None:
    """After a restore of an older backup: accept what PostgreSQL has forgotten as lost, and let the feed go on.

    No ledger entry is given a number that consumers of the feed have seen. Receivers may run meanwhile; for a moment
    their callbacks go to the spool.
    """
    settings = server_settings(config, data_dir)
    with progress_bar(Console(stderr=True)) as bar:
        done = asyncio.run(declare(settings, bar, dry_run=dry_run))
    click.echo(orjson.dumps(done.as_dict()).decode() if output == "json" else _text(done, dry_run=dry_run))
    ctx.exit(1 if done.lost and dry_run else 0)


def _text(done: Epoch, *, dry_run: bool) -> str:
    if not done.lost:
        return "the ledger has everything that the stream has: nothing is to be done"
    lines = [f"forgotten: {one.subject} (message {one.sequence}, {one.id})" for one in done.lost[:NAMED_MAX]]
    if len(done.lost) > NAMED_MAX:
        lines.append(f"… and {len(done.lost) - NAMED_MAX} more")
    if dry_run:
        lines.append(f"an epoch would be declared: numbers would go on above {done.floor}")
    else:
        lines.append(
            f"epoch {done.number}: numbers go on above {done.floor}; {done.renumbered} entries are published now"
        )
    return "\n".join(map(plain, lines))
