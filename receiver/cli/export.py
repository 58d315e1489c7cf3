"""`esc-receiver export` in a terminal: what it takes and what it prints. Must not know what an archive is made of."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
import orjson
from rich.console import Console

from receiver.archive.exporter import Export, Exported
from receiver.archive.run import export
from receiver.archive.signing import signer
from receiver.cli import options
from receiver.cli.output import counted
from receiver.cli.progress_bar import progress_bar
from receiver.cli.server_settings import server_settings

EPILOG = """
\b
Examples:
  openssl genpkey -algorithm ed25519 -out ledger.key; openssl pkey -in ledger.key -pubout -out ledger.pub
  esc-receiver export /srv/ledger --key ledger.key          all of it, and each time later what is new
  esc-receiver export /srv/ledger --key ledger.key -o json | jq -r .digest

\b
Exit status: 0 it is written, or nothing was new; 1 it is written, and the ledger itself lacks entries;
2 nothing is written.
"""


@click.command("export", epilog=EPILOG)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@options.config
@options.data_dir("Folder of an embedded receiver; its endpoints.json tells where PostgreSQL is.")
@click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Ed25519 private key to sign with, PEM.",
)
@click.option(
    "--publish/--no-publish", default=True, show_default=True, help="Tell the heads of the days on the feed as well."
)
@options.printed
@click.pass_context
def export_command(
    ctx: click.Context, /, folder: Path, config: Path | None, data_dir: Path | None, key: Path, *, publish: bool,
    output: str,
) -> None:  # fmt: skip
    """Write what is new in the ledger to a signed archive in FOLDER; each entry vouches for the one before.

    Receivers may run meanwhile. An auditor proves with `esc-receiver verify` that nothing was changed or left out.
    """
    with progress_bar(Console(stderr=True)) as bar:
        done = asyncio.run(export(server_settings(config, data_dir), Export(folder, signer(key), bar), publish=publish))
    click.echo(orjson.dumps(done.as_dict()).decode() if output == "json" else _text(done))
    ctx.exit(1 if done.holes else 0)


def _text(done: Exported) -> str:
    if not done.segment:
        return f"nothing is new: {done.total} entries are archived"
    entries = counted(done.entries, "entry", "entries")
    lines = [f"segment {done.segment}: {entries}, {done.total} in all, digest {done.digest}"]
    lines += [f"{day.day}: {counted(day.entries, 'entry', 'entries')}, head {day.head}" for day in done.days]
    if done.holes:
        lines.append(f"{done.holes} entries do not follow the one before of their entity: the ledger lacks some")
    return "\n".join(lines)
