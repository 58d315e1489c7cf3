"""`esc-receiver size`: what a rate of callbacks needs. Must not know how it is reckoned."""

from __future__ import annotations

from typing import Any

import click
import orjson

from receiver.cli import options
from receiver.cli.sizing import Demand, Size, measured, size
from receiver.cli.tables import print_table

EPILOG = """
\b
Examples:
  esc-receiver size --callbacks-per-s 200
  esc-receiver size --callbacks-per-s 3000 --retention-days 7 --ledger-days 90
  esc-receiver size --callbacks-per-s 20000 --cores 32 --disk-tb 30 -o json | jq .cells

\b
The figures are those of docs/scale.md, measured on one slow machine: `make bench` tells how yours compares.
"""
POSITIVE = click.FloatRange(0, min_open=True)


@click.command("size", epilog=EPILOG)
@click.option(
    "--callbacks-per-s", type=POSITIVE, required=True, help="Callbacks a second, on the average of a busy day."
)
@click.option("--retention-days", type=POSITIVE, default=30, show_default=True, help="Days that callbacks are kept.")
@click.option("--ledger-days", type=POSITIVE, default=400, show_default=True, help="Days that ledger entries are kept.")
@click.option("--stream-days", type=POSITIVE, default=30, show_default=True, help="Days that the stream keeps.")
@click.option("--replicas", type=click.IntRange(1, 5), default=3, show_default=True, help="Copies of the stream.")
@click.option("--standbys", type=click.IntRange(0), default=1, show_default=True, help="Standbys of PostgreSQL.")
@click.option("--cores", type=click.IntRange(1), default=16, show_default=True, help="Processors of one machine.")
@click.option("--disk-tb", type=POSITIVE, default=8, show_default=True, help="Disk of one PostgreSQL.")
@click.option(
    "--wal-mb-per-s",
    type=POSITIVE,
    default=200,
    show_default=True,
    help="What its disk takes of the log, forced to it.",
)
@click.option(
    "--busy", type=click.FloatRange(0, 1, min_open=True), default=0.6, show_default=True,
    help="Part of a processor that may be busy.",
)  # fmt: skip
@options.printed
def size_command(*, output: str, **demand: Any) -> None:
    """Say how many processors, disks and cells a rate of callbacks needs, and what would break first.

    A cell is one PostgreSQL with its receivers and its stream.
    """
    found = size(Demand(**demand), measured())
    if output == "json":
        click.echo(orjson.dumps(found.as_dict()).decode())
    else:
        print_table(("WHAT", "HOW MUCH"), _rows(found))


def _rows(found: Size) -> list[tuple[str, str]]:
    limit = found.limits_per_s[found.breaks_first]
    return [
        ("callbacks a second", f"{found.callbacks_per_s:g}"),
        ("cells", f"{found.cells}"),
        ("breaks first", f"{found.breaks_first}, at {limit:g} callbacks a second in one cell"),
        ("receivers", f"{found.receivers} machines with {found.workers} workers ({found.receiver_cores:g} processors)"),
        ("PostgreSQL", f"{found.postgres_cores:g} processors, log {found.wal_mb_per_s:g} MB/s"),
        *((f"PostgreSQL's disk, {name}", f"{value:g} GB") for name, value in found.postgres_disk_gb.items()),
        ("NATS", f"{found.nats_cores:g} processors, stream {found.stream_disk_gb:g} GB with all copies"),
        *((f"network {name}", f"{value:g} Mbit/s") for name, value in found.network_mbit_per_s.items()),
    ]
