"""The command: so many seeds, some at a time, with a progress bar and a table; exit status 1 on a finding."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import click
import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from chaos.plan import ALL_FAULTS, Plan, drawn
from chaos.run import Result, run
from chaos.stage import World
from receiver.cli.signals import until_signalled

Draw = Callable[[int], Plan]
MakeWorld = Callable[[Path], World]
"""Makes the plan of a seed."""


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--seeds", default=20, type=click.IntRange(1), help="How many seeds, counted up from --first.")
@click.option("--first", default=1, help="The first of them.")
@click.option("--seed", "one", type=int, help="This seed alone.")
@click.option("--jobs", default=2, type=click.IntRange(1), help="How many at a time, each on servers of its own.")
@click.option("--only", multiple=True, type=click.Choice(ALL_FAULTS), help="Strike with this instead of what is drawn.")
@click.option("--workers", default=1, type=click.IntRange(1), help="Of each receiver; single ones are killed, too.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the results there.")
@click.option("--keep", is_flag=True, help="Keep the receivers' logs and spools of every run, not only of bad ones.")
def main(
    seeds: int,
    first: int,
    one: int | None,
    jobs: int,
    only: tuple[str, ...],
    workers: int,
    json_file: Path | None,
    keep: bool,
) -> None:
    """Strike real receivers with faults drawn from seeds, and audit what is left.

    \b
    Examples:
      make chaos                          20 seeds
      make chaos ARGS="--seeds 200"
      make chaos ARGS="--workers 2"
      make chaos ARGS="--seed 17"         again what seed 17 did
    """
    wanted = [one] if one is not None else list(range(first, first + seeds))
    results: list[Result] = []
    draw = partial(drawn, only=only, workers=workers)
    world = partial(World, workers=workers)
    asyncio.run(until_signalled(lambda: _run_all(wanted, min(jobs, len(wanted)), world, draw, results, keep=keep)))
    results.sort(key=lambda result: result.plan.seed)
    Console().print(summary(results))
    if json_file:
        json_file.write_bytes(orjson.dumps([as_dict(result) for result in results], option=orjson.OPT_INDENT_2))
    bad = [result.plan.seed for result in results if result.findings]
    click.echo(f"{len(results)} seeds, {len(bad)} with findings" + (f": {bad}" if bad else ""))
    sys.exit(bool(bad))


async def _run_all(
    seeds: list[int], jobs: int, world: MakeWorld, draw: Draw, results: list[Result], *, keep: bool
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="esc-receiver-chaos-"))
    folder.chmod(0o711)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("seeds", total=len(seeds))

        def note(result: Result, left: Path) -> None:
            results.append(result)
            progress.update(task, advance=1)
            progress.console.print(line(result), soft_wrap=True, markup=False, highlight=False)
            if result.findings:
                progress.console.print(f"    its files: {left}", markup=False, highlight=False)
            elif not keep:
                shutil.rmtree(left, ignore_errors=True)

        waiting = iter(seeds)
        async with asyncio.TaskGroup() as tasks:
            for number in range(jobs):
                tasks.create_task(_work(world(folder / f"job-{number}"), waiting, draw, note))
    if not keep and not any(result.findings for result in results):
        shutil.rmtree(folder, ignore_errors=True)


async def _work(world: World, seeds: Iterator[int], draw: Draw, note: object) -> None:
    assert callable(note)
    world.folder.mkdir(mode=0o711)
    async with world.running():
        for seed in seeds:
            left = world.folder / f"seed-{seed}"
            left.mkdir()
            note(await run(world, draw(seed), left), left)


def line(result: Result) -> str:
    """One seed on one line, and what was found on lines of their own."""
    plan = result.plan
    told = "; ".join(result.told) or ", ".join(plan.names)
    head = (
        f"seed {plan.seed}: {'FAILED' if result.findings else 'ok'} in {result.took_s:.1f} s, "
        f"{plan.receivers} receiver(s), {result.kept} receipts, answers {_counts(result.answers)}, "
        f"{result.recovered} recovered: {told}"
    )
    return "\n    ".join([head, *result.findings])


def _counts(answers: Counter[str]) -> str:
    return ", ".join(f"{number} x {answer}" for answer, number in sorted(answers.items()))


def summary(results: list[Result]) -> Table:
    """Faults, seeds, results."""
    struck: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for result in results:
        struck.update(result.plan.names)
        failed.update(result.plan.names if result.findings else ())
    table = Table("fault", "seeds", "bad", title=f"{len(results)} seeds, {sum(r.messages for r in results)} callbacks")
    for fault in ALL_FAULTS:
        if struck[fault]:
            table.add_row(fault, str(struck[fault]), str(failed[fault] or ""))
    return table


def as_dict(result: Result) -> dict[str, object]:
    """For a file."""
    plan = result.plan
    return {
        "seed": plan.seed, "faults": [str(event) for event in plan.events], "told": result.told,
        "receivers": plan.receivers, "settings": dict(plan.settings), "findings": result.findings,
        "answers": result.answers, "receipts": result.kept, "recovered": result.recovered,
        "took_s": round(result.took_s, 2), "root": os.geteuid() == 0,
    }  # fmt: skip


if __name__ == "__main__":
    main()
