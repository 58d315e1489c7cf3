"""`make hostile`: the corpus against the whole service, and its figures. Exit status 1 when a bound is not kept.

Bounds on time are asked of this command alone, on a machine that does nothing else; the tests ask for what a busy
machine shows as well.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import click

from tests.hostile.corpus import corpus
from tests.hostile.judge import bounds, faults
from tests.hostile.trial import LATE_S_MAX, Report, tried

SHOWN = 15


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", default="", help="Inputs whose name holds this.")
def main(only: str) -> None:
    """Send every hostile input to the service, and say what it did.

    \b
    Examples:
      make hostile
      make hostile ARGS="--only gzip"
    """
    inputs = {name: data for name, data in corpus().items() if only in name}
    with tempfile.TemporaryDirectory(prefix="esc-receiver-hostile-") as folder:
        Path(folder).chmod(0o711)
        report = asyncio.run(tried(Path(folder), inputs))
    _tell(report)
    broken = faults(report) + [
        f"{name}: {value:.1f} > {most:g}" for name, value, most in bounds(report) if value > most
    ]
    click.echo("\n".join(broken))
    sys.exit(bool(broken))


def _tell(report: Report) -> None:
    click.echo(f"{len(report.seen)} inputs; the slowest for the loop:")
    for name, seen in sorted(report.seen.items(), key=lambda one: -one[1].late_s)[:SHOWN]:
        status = seen.answer.status if seen.answer else "closed"
        click.echo(f"  {seen.late_s * 1e3:8.1f} ms  {status}  {name}")
    late = sum(seen.late_s > LATE_S_MAX for seen in report.seen.values())
    click.echo(f"{late} made the loop later than {LATE_S_MAX * 1e3:.0f} ms")
    for name, value, most in bounds(report):
        click.echo(f"{name}: {value:.1f} (at most {most:g})")
    click.echo(f"counts: {dict(report.counts)}")


if __name__ == "__main__":
    main()
