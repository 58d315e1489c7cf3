"""`make fuzz`: each target in a process of its own; says the seed, and what was tried. Exit status 1 when one broke.

With atheris, which knows what code an input reaches; where it is not there (it is made for Linux), or with `--drawn`,
inputs are drawn blindly.
"""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import click

from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
RUNS = re.compile(r"(?:Done |number_of_executed_units: )(\d+)")
FOREVER = 2**62


class Tried(NamedTuple):
    """What became of a target."""

    name: str
    runs: int
    said: str
    broke: bool


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--target", "names", multiple=True, type=click.Choice(list(TARGETS)), help="This alone; may be repeated.")
@click.option("--minutes", default=4.0, type=click.FloatRange(0, min_open=True), help="For all of them together.")
@click.option(
    "--runs", default=0, type=click.IntRange(0), help="Most inputs for each; 0: as many as there is time for."
)
@click.option("--seed", type=click.IntRange(1, 2**31 - 1), help="Draw as in a run that printed this; else a new one.")
@click.option("--drawn", is_flag=True, help="Without a look at coverage: twenty times as quick.")
@click.option("--bytes-max", type=click.IntRange(1), help="Longest input; else what suits the target.")
@click.option("--folder", default=ROOT / ".fuzz", type=click.Path(path_type=Path), help="What is kept from run to run.")
def main(
    names: tuple[str, ...],
    minutes: float,
    runs: int,
    seed: int | None,
    drawn: bool,
    bytes_max: int | None,
    folder: Path,
) -> None:
    """Look for bytes that break a property.

    \b
    Examples:
      make fuzz
      make fuzz ARGS="--target redaction --minutes 30"
      make fuzz ARGS="--drawn --target redaction --bytes-max 24 --runs 10000000 --minutes 90"
    """
    chosen, seed = names or tuple(TARGETS), seed or secrets.randbelow(2**31 - 1) + 1
    drawn = drawn or find_spec("atheris") is None
    seconds = max(1, round(minutes * 60 / len(chosen)))
    click.echo(f"seed {seed}, {seconds} s for each target, {'drawn' if drawn else 'guided by coverage'}")
    tried = [_try(name, runs or FOREVER, seconds, seed, bytes_max, folder, drawn=drawn) for name in chosen]
    for one in tried:
        click.echo(f"{one.name:18} {one.runs:>12,} inputs  {'BROKEN' if one.broke else 'held'}")
    sys.exit(_judge(tried, folder))


def _try(name: str, runs: int, seconds: int, seed: int, bytes_max: int | None, folder: Path, *, drawn: bool) -> Tried:
    longest = bytes_max or TARGETS[name].bytes_max
    options: Iterable[object]
    if drawn:
        options = (runs, seconds, seed, longest)
    else:
        options = (
            f"-runs={min(runs, 2**31 - 1)}",
            f"-max_total_time={seconds}",
            f"-seed={seed}",
            f"-max_len={longest}",
        )
    module = "drawn" if drawn else "guided"
    command = [sys.executable, "-m", f"tests.fuzz.{module}", name, str(folder), *map(str, options)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)  # noqa: S603 - our own module
    said = (done.stderr + done.stdout).decode("utf-8", "replace")
    counts = RUNS.findall(said)
    return Tried(name, int(counts[-1]) if counts else 0, said, done.returncode != 0)


def _judge(tried: Iterable[Tried], folder: Path) -> int:
    """The exit status; what broke is shown whole."""
    broke = [one for one in tried if one.broke]
    for one in broke:
        click.echo(f"\n{one.name}:\n{one.said[-4000:]}")
    if broke:
        click.echo(f"\nThe inputs are in {folder / 'broken'}; once mended, keep them in tests/fuzz/found/TARGET/.")
    return bool(broke)


if __name__ == "__main__":
    main()
