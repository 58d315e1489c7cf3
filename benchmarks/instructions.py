"""How many instructions a callback costs, step by step, counted by valgrind: the same figure whoever else is at work.

Processor time on a shared machine differs by a third from minute to minute; this tells a change of one percent. It
needs Debian's valgrind, and takes two minutes. Must not know how a step is done: `benchmarks.counted` does it.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime

import asyncpg
import click
import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.counted import BATCH, COUNTED, WRITE
from benchmarks.stand import new_database
from receiver.config.settings import Settings
from receiver.embedded.servers import Embedded
from receiver.postgres.migrations import migrate
from receiver.postgres.partitions import Partitions

WHAT = {
    "redact": "secrets looked for in the body",
    "head": "header fields, secrets in them, stamp, envelope",
    "parse": "XML and its meaning",
    WRITE: f"a batch of {BATCH}: rows read, decided, events made, rows written; without PostgreSQL's own",
    "judge": "of that: decided",
    "events": "of that: events made",
}
ALL = ("redact", "head", "parse", WRITE)
"""What makes up the whole."""
COLLECTED = re.compile(r"Collected : (\d+)")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def main(*, as_json: bool) -> None:
    """Count the instructions of a callback."""
    if not shutil.which("valgrind"):
        raise click.ClickException("valgrind is not installed (Debian: apt install valgrind)")
    found = asyncio.run(_counted())
    if as_json:
        click.echo(orjson.dumps(found))
        return
    table = Table("step", "what", "instructions of a callback")
    for step, instructions in found.items():
        table.add_row(step, WHAT.get(step, ""), f"{instructions:,}")
    Console().print(table)


async def _counted() -> dict[str, int]:
    async with Embedded() as servers:
        dsn = await new_database(servers.postgres_dsn, "counted")
        await _prepare(dsn)
        found = {step: await asyncio.to_thread(_count, step, dsn) for step in WHAT}
    return found | {"all": sum(found[step] for step in ALL)}


async def _prepare(postgres_dsn: str) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    await migrate(connection)
    await Partitions(Settings()).make_ahead(connection, datetime.now(UTC))
    await connection.close()


def _count(step: str, postgres_dsn: str) -> int:
    valgrind = ("valgrind", "--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=/dev/null")
    program = (sys.executable, "-m", "benchmarks.counted", step, postgres_dsn)
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    command = (*valgrind, *program)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if done.returncode or not (collected := COLLECTED.search(done.stderr)):
        raise click.ClickException(f"{step} could not be counted: {done.stderr[-2000:]}")
    return int(collected[1]) // COUNTED


if __name__ == "__main__":
    main()
