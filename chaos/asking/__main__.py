"""The command: seed after seed, a line each, and a summary; exit status 1 on a finding."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

import click

from chaos.asking.asked import Result, run
from chaos.stage import World
from receiver.cli.signals import until_signalled


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--seeds", default=10, type=click.IntRange(1), help="How many seeds, counted up from --first.")
@click.option("--first", default=1, help="The first of them.")
@click.option("--seed", "one", type=int, help="This seed alone.")
@click.option("--lost", default=0.05, type=click.FloatRange(0, 1), help="Of the callbacks, lost for good.")
@click.option("--keep", is_flag=True, help="Keep the logs of every run, not only of bad ones.")
def main(seeds: int, first: int, one: int | None, lost: float, keep: bool) -> None:
    """Have an emulated ESC lose callbacks and fail over, and see that asking finds out all that can be found out.

    \b
    Examples:
      make asking
      make asking ARGS="--seeds 50 --lost 0.2"
      make asking ARGS="--seed 17"
    """
    wanted = [one] if one is not None else list(range(first, first + seeds))
    results: list[Result] = []
    asyncio.run(until_signalled(lambda: _run_all(wanted, lost, results, keep=keep)))
    click.echo(summary(results))
    sys.exit(any(result.findings for result in results))


async def _run_all(seeds: list[int], lost: float, results: list[Result], *, keep: bool) -> None:
    folder = Path(tempfile.mkdtemp(prefix="esc-receiver-asking-"))
    folder.chmod(0o711)
    world = World(folder / "servers")
    world.folder.mkdir(mode=0o711)
    async with world.running():
        for seed in seeds:
            left = folder / f"seed-{seed}"
            left.mkdir()
            results.append(await run(world, seed, lost, left))
            click.echo(line(results[-1]))
            if results[-1].findings:
                click.echo(f"    its files: {left}")
            elif not keep:
                shutil.rmtree(left, ignore_errors=True)
    if not keep and not any(result.findings for result in results):
        shutil.rmtree(folder, ignore_errors=True)


def line(result: Result) -> str:
    """One seed on one line, and what was found on lines of their own."""
    compared, lost = result.compared, result.esc.lost if result.esc else 0
    head = (
        f"seed {result.seed}: {'FAILED' if result.findings else 'ok'} in {result.took_s:.1f} s, "
        f"{result.esc.delivered if result.esc else 0} callbacks kept, {lost} lost; equal: {compared.deployments} "
        f"deployments, {compared.vms} VMs, {compared.operations} operations ({compared.inferred} closed by asking, "
        f"{compared.untold} overdue, which asking cannot tell): {', '.join(map(str, result.mishaps))}"
    )
    return "\n    ".join([head, *result.findings])


def summary(results: list[Result]) -> str:
    """All seeds in two lines."""
    bad = [result.seed for result in results if result.findings]
    lost = sum(result.esc.lost for result in results if result.esc)
    failovers = sum(one.what.startswith("failover") for result in results for one in result.mishaps)
    kinds = {name: sum(getattr(r.compared, name) for r in results) for name in ("deployments", "vms", "operations")}
    told = ", ".join(f"{number} {name}" for name, number in kinds.items())
    inferred, untold = (sum(getattr(r.compared, name) for r in results) for name in ("inferred", "untold"))
    return (
        f"compared: {told}; {inferred} operations closed by asking, {untold} overdue; {lost} callbacks lost, "
        f"{failovers} failovers\n{len(results)} seeds, {len(bad)} with findings" + (f": {bad}" if bad else "")
    )


if __name__ == "__main__":
    main()
