"""`esc-receiver cells`: the stream that joins those of all cells, and the map by which HAProxy divides sources.

Must not know how JetStream is asked.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import click
import orjson

from receiver.cli import options
from receiver.config.cell_file import Cells, read_cells
from receiver.config.loading import load
from receiver.errors import SetupError
from receiver.observability import logs
from receiver.postgres.moved_source import move
from receiver.publishing.joined_stream import joined

EPILOG = """
\b
Examples:
  esc-receiver cells apply cells.toml --dry-run        say what would change
  esc-receiver cells apply cells.toml                  join the streams of all cells into one
  esc-receiver cells apply cells.toml --map /etc/haproxy/cells.map
  esc-receiver cells map cells.toml > cells.map
  esc-receiver cells move lab3 --from "$CELL_A" --to "$CELL_B" --switch ./switch-lab3

\b
Exit status of apply: 0 nothing was to change; 1 something was, and is changed (or would be, with --dry-run); 2 it could
not be. The file, and how a source is moved: docs/cells.md.
"""
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group("cells", epilog=EPILOG)
def cells_command() -> None:
    """Several databases that are one feed: join their streams, and divide sources among them."""


@cells_command.command("apply")
@click.argument("file", type=_FILE)
@options.config
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@click.option("--remove", is_flag=True, help="Also stop joining streams of cells that are no more in the file.")
@click.option("--map", "map_file", type=_FILE, help="Write HAProxy's map of sources there, too.")
@options.printed
@click.pass_context
def apply_command(
    ctx: click.Context, /, file: Path, config: Path | None, dry_run: bool, remove: bool, map_file: Path | None,
    output: str,
) -> None:  # fmt: skip
    """Make the joined stream what FILE says, by the settings of NATS and of the stream that a receiver has."""
    cells = read_cells(file)
    settings = load(config, os.environ, required=())
    logs.configure(settings)
    found = asyncio.run(joined(cells, settings, dry_run=dry_run, may_remove=remove))
    changes = [*found.changes, *_map_changed(map_file, cells, dry_run=dry_run)]
    if output == "json":
        click.echo(orjson.dumps(found.as_dict() | {"changes": changes, "map": cells.places}).decode())
    else:
        click.echo("\n".join(changes or [f"stream {found.stream} is as {file} says"]))
    ctx.exit(1 if changes else 0)


@cells_command.command("map")
@click.argument("file", type=_FILE)
def map_command(file: Path) -> None:
    """Print HAProxy's map of sources: a source and the backend of its cell on each line."""
    click.echo(_map(read_cells(file)), nl=False)


@cells_command.command("move")
@click.argument("source")
@click.option("--from", "from_dsn", required=True, envvar="ESC_RECEIVER_MOVE_FROM", help="PostgreSQL it is in.")
@click.option("--to", "to_dsn", required=True, envvar="ESC_RECEIVER_MOVE_TO", help="PostgreSQL it is to be in.")
@click.option("--switch", required=True, metavar="COMMAND", help="Sends its callbacks to the other cell; run by sh.")
@click.option("--quiet-s", default=3.0, show_default=True, help="For so long nothing may have come to the former cell.")
@click.option("--wait-s", default=60.0, show_default=True, help="So long that is waited for.")
def move_command(source: str, from_dsn: str, to_dsn: str, switch: str, quiet_s: float, wait_s: float) -> None:
    """Move a source to another cell while it sends: nothing is lost, told twice, or out of order (docs/cells.md#move).

    The receivers of the other cell spool meanwhile.
    """

    async def switched() -> None:
        process = await asyncio.create_subprocess_shell(switch)
        if await process.wait():
            raise SetupError(f"--switch ended with status {process.returncode}; nothing was moved")

    moved = asyncio.run(move(source, from_dsn, to_dsn, switched, quiet_s, wait_s))
    click.echo(", ".join(f"{number} {table.replace('_', ' ')}" for table, number in moved.items()))


def _map_changed(path: Path | None, cells: Cells, *, dry_run: bool) -> list[str]:
    if path is None:
        return []
    wanted = _map(cells)
    try:
        if path.exists() and path.read_text("utf-8") == wanted:
            return []
        if not dry_run:
            draft = path.with_name(f"{path.name}.new")
            draft.write_text(wanted, "utf-8")
            draft.replace(path)
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error}") from error
    return [f"{path} is written"]


def _map(cells: Cells) -> str:
    return "".join(f"{source} {cell}\n" for source, cell in cells.places.items())
