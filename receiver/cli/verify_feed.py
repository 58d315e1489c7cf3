"""`esc-receiver verify-feed` in a terminal: what it takes and what it prints. Must not know how it is compared."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
import orjson
from rich.console import Console

from receiver.cli import options
from receiver.cli.output import counted
from receiver.cli.progress_bar import progress_bar
from receiver.cli.server_settings import server_settings
from receiver.replay.feed_verification import Verification, verify

EPILOG = """
\b
Examples:
  esc-receiver verify-feed                       compare, and publish again what the stream has lost
  esc-receiver verify-feed --dry-run             only say what is missing
  esc-receiver verify-feed --dry-run -o json | jq .missing
  esc-receiver verify-feed --data-dir data       of an embedded receiver

\b
Exit status: 0 nothing is missing; 1 something was, and is published again (or would be, with --dry-run);
2 it could not be compared or mended.
"""
NAMED_MAX = 10


@click.command("verify-feed", epilog=EPILOG)
@options.config
@options.data_dir("Folder of an embedded receiver; its endpoints.json tells where PostgreSQL and NATS are.")
@click.option("--dry-run", is_flag=True, help="Say what would be published again, and change nothing.")
@options.printed
@click.pass_context
def verify_feed_command(
    ctx: click.Context, /, config: Path | None, data_dir: Path | None, dry_run: bool, output: str
) -> None:
    """Compare the feed's stream with the ledger, by id, and publish again what the stream has lost.

    JetStream may lose acknowledged messages by a power cut, also from the middle. What is missing at the end comes back
    in order; what is missing in the middle comes back at the end, with the ids of the first time. What a limit of the
    stream has removed from its beginning is not missed. Receivers may run meanwhile.
    """
    settings = server_settings(config, data_dir)
    with progress_bar(Console(stderr=True)) as bar:
        done = asyncio.run(verify(settings, bar, dry_run=dry_run))
    click.echo(orjson.dumps(done.as_dict()).decode() if output == "json" else _text(done, dry_run=dry_run))
    ctx.exit(1 if done.found.missing else 0)


def _text(done: Verification, *, dry_run: bool) -> str:
    found = done.found
    lines = [
        f"stream {found.stream.name}: {counted(found.messages, 'message')}, {found.unknown} of them not of this ledger"
    ]
    if not found.missing:
        return "\n".join([*lines, "nothing is missing"])
    lines += [f"missing: {one.id}" for one in found.missing[:NAMED_MAX]]
    if len(found.missing) > NAMED_MAX:
        lines.append(f"… and {len(found.missing) - NAMED_MAX} more")
    what = "would be published again" if dry_run else "published again"
    return "\n".join([*lines, f"{counted(len(found.missing) if dry_run else done.mended, 'message')} {what}"])
