"""`esc-receiver verify` in a terminal: what it takes and what it prints. Must not know how an archive is verified."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click
import orjson
from rich.console import Console

from receiver.archive.run import verify
from receiver.archive.signing import public_key
from receiver.archive.verification import Verified
from receiver.cli import options
from receiver.cli.output import counted
from receiver.cli.progress_bar import progress_bar
from receiver.cli.server_settings import server_settings
from receiver.model.sanitize import plain

EPILOG = """
\b
Examples:
  esc-receiver verify /srv/ledger --public-key ledger.pub
  esc-receiver verify /srv/ledger --public-key ledger.pub --ledger      and compare it with PostgreSQL
  esc-receiver verify /srv/ledger --head 2026-01-31:4711:9f86d081…      a head that was heard on the feed

\b
Exit status: 0 nothing is wrong; 1 something is, and is named; 2 it could not be verified.
"""


class Head(click.ParamType[tuple[tuple[str, int], str]]):
    """A day, how many entries it had, and the hash of the last."""

    name = "DAY:ENTRIES:HASH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As it stands on the feed."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(":")
        if len(parts) != 3 or not parts[1].isdecimal():
            self.fail(f"{value!r} is not DAY:ENTRIES:HASH", param, ctx)
        return (parts[0], int(parts[1])), parts[2]


@click.command("verify", epilog=EPILOG)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--public-key", "key", type=click.Path(path_type=Path, dir_okay=False),
    help="Whoever must have signed it, PEM. Without it only what the archive says of itself is proved.",
)  # fmt: skip
@click.option("--head", "heads", type=Head(), multiple=True, help="A head of a day, as was published; may be repeated.")
@click.option("--ledger", "with_ledger", is_flag=True, help="Compare it with PostgreSQL's ledger too, both ways.")
@options.config
@options.data_dir("With --ledger: folder of an embedded receiver.")
@options.printed
@click.pass_context
def verify_command(
    ctx: click.Context, /, folder: Path, key: Path | None, heads: Any, config: Path | None, data_dir: Path | None, *,
    with_ledger: bool, output: str,
) -> None:  # fmt: skip
    """Prove that nothing in an archive of the ledger was changed, removed, inserted or reordered; or name what was."""
    settings = server_settings(config, data_dir) if with_ledger else None
    with progress_bar(Console(stderr=True)) as bar:
        signed_by = public_key(key) if key else None
        found = asyncio.run(verify(folder, bar, key=signed_by, published=dict(heads), settings=settings))
    click.echo(orjson.dumps(found.as_dict()).decode() if output == "json" else _text(found, is_key_given=bool(key)))
    ctx.exit(1 if found.findings.count else 0)


def _text(found: Verified, *, is_key_given: bool) -> str:
    days, segments = counted(found.days, "day"), counted(found.segments, "segment")
    lines = [f"{counted(found.entries, 'entry', 'entries')} of {days} in {segments}"]
    lines += [f"signed by {key}" + ("" if is_key_given else " (not compared: --public-key)") for key in found.keys]
    if found.begin_later:
        lines.append(f"{found.begin_later} entities begin later: what was before had been dropped by retention")
    if found.compared:
        lines.append(f"{found.compared.alike} are alike in the ledger, {found.compared.dropped} dropped there by age")
    lines += [plain(f"{one.fault}: {one.where}: {one.what}") for one in found.findings.named]
    if found.findings.count > len(found.findings.named):
        lines.append(f"… and {found.findings.count - len(found.findings.named)} more")
    return "\n".join([*lines, "" if found.findings.count else "nothing is wrong"]).rstrip("\n")
