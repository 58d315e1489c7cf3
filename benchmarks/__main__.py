"""`python -m benchmarks`: runs the comparison, shows it. The method is told in the package's docstring."""

from __future__ import annotations

import asyncio
import os
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click
import orjson
from rich.console import Console
from rich.progress import Progress

from benchmarks import consume, instructions, wall, windows
from benchmarks.compare import CONNECTIONS, NOTHING, ORDINARY, SERVICE, Comparison, Plan, Results
from benchmarks.outage import HELD, Outage
from benchmarks.report import document, outage_table, shapes_table, tables
from benchmarks.shapes import FILLED, ONE, STORED, Runs, Shapes
from receiver.cli.about import is_compiled
from receiver.embedded.servers import Embedded

OUTAGE = "outage"
SHAPES = (ONE, FILLED)
BESIDE = {"consume": consume.main, "windows": windows.main, "wall": wall.main, "instructions": instructions.main}
"""Runs of their own, with options of their own: `python -m benchmarks.windows --help`."""
QUICK = {"rounds": 2, "seconds": 1.5, "feed_seconds": 4.0, "drained": 8_000}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", type=click.IntRange(1), help="Rounds of each program at each number of connections.  [5]")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Length of a round.  [3]")
@click.option("--quick", is_flag=True, help="Within a minute; the figures are rough.")
@click.option(
    "--only",
    "programs",
    multiple=True,
    type=click.Choice([NOTHING, ORDINARY, SERVICE, OUTAGE, *SHAPES, *BESIDE]),
    help="Only this: a program, an outage of PostgreSQL, traffic of another shape, the query API, the board, the kit, "
    "instructions counted by valgrind.",
)
@click.option("--held", default=HELD, show_default=True, help="With an outage: callbacks that wait at its end.")
@click.option("--stored", default=STORED, show_default=True, help="With a filled database: callbacks in it.")
@click.option("--connections", multiple=True, type=click.IntRange(1), help=f"Only so many.  {list(CONNECTIONS)}")
@click.option("--workers", type=click.IntRange(1), help="Workers of the service.  [1]")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def main(*, quick: bool, as_json: bool, held: int, stored: int, **chosen: Any) -> None:
    """Compare the receiver with a server that does nothing and with the ordinary way.

    \b
    Examples:
      make bench
      make bench ARGS=--quick
      make bench ARGS="--only outage"
      make bench ARGS="--only 'one deployment' --only filled"
      make bench ARGS="--only windows --only wall"
      make bench ARGS="--only instructions"
      make bench ARGS="--workers 2"
      python -m benchmarks --only service --connections 128 --rounds 3
    """
    plan = Plan(**(QUICK if quick else {}) | {name: value for name, value in chosen.items() if value})
    if beside := [BESIDE[name] for name in plan.programs if name in BESIDE]:
        for command in beside:
            command.main(["--json"] if as_json else [], standalone_mode=False)
        return
    if OUTAGE in plan.programs:
        _outage(plan, held, as_json=as_json)
        return
    if shapes := [name for name in plan.programs if name in SHAPES]:
        for name in shapes:
            Console().print(shapes_table(asyncio.run(_shaped(plan, name, stored))))
        return
    results = asyncio.run(_measured(plan))
    if as_json:
        click.echo(orjson.dumps(document(plan, results), option=orjson.OPT_INDENT_2))
        return
    for table in tables(plan, results):
        Console().print(table)
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    Console().print(f"{os.cpu_count()} processors; load averages {load} (above their number: others were at work)")
    Console().print("the pure rooms are compiled" if is_compiled() else "nothing is compiled (docs/speed.md#compiled)")


def _outage(plan: Plan, held: int, *, as_json: bool) -> None:
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="esc-receiver-bench-") as name, Progress(console=console) as progress:
        folder = Path(name)
        folder.chmod(0o711)  # for PostgreSQL, who is nobody where root runs this
        bar = progress.add_task("PostgreSQL and NATS", total=plan.rounds + 4)
        tell = partial(progress.update, bar, advance=1)
        run = Outage(
            folder, lambda step: tell(description=step), rounds=plan.rounds, seconds=plan.seconds, held=held
        ).run()
        found = asyncio.run(run)
    if as_json:
        click.echo(orjson.dumps(asdict(found) | {"ratio": found.ratio, "drain_rate": found.drain_rate}))
    else:
        Console().print(outage_table(found))


async def _shaped(plan: Plan, name: str, stored: int) -> Shapes:
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="esc-receiver-bench-") as folder, Progress(console=console) as progress:
        bar = progress.add_task("PostgreSQL", total=None)
        async with Embedded() as servers:
            runs = Runs(Path(folder), servers, lambda step: progress.update(bar, description=step, advance=1))
            if name == ONE:
                return await runs.one_deployment(plan.rounds, plan.seconds)
            return await runs.filled(plan.rounds, plan.seconds, stored)


async def _measured(plan: Plan) -> Results:
    with (
        tempfile.TemporaryDirectory(prefix="esc-receiver-bench-") as folder,
        Progress(console=Console(stderr=True), transient=True) as progress,
    ):
        bar = progress.add_task("PostgreSQL and NATS", total=None)
        async with Embedded() as servers:
            comparison = Comparison(
                plan, servers, Path(folder), lambda step: progress.update(bar, description=step, advance=1)
            )
            progress.update(bar, total=comparison.steps)
            return await comparison.run()


main()
