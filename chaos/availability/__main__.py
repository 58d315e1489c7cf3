"""The command: the site, the drill, its table; exit status 1 on a finding. `--keep` leaves the site up instead."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

import click
import orjson
from rich.console import Console

from chaos.availability.drill import Felt, Outcome, drawn, drill
from chaos.availability.report import as_dict, line, table
from chaos.availability.site import Site
from chaos.availability.strikes import STRIKES
from chaos.plan import Plan
from esc_lab.simulator.delivery_faults import Faults
from receiver.cli.signals import until_signalled
from receiver.errors import SetupError

FAULTS = Faults(duplicate=0.05, reorder=0.1)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--seed", default=1, help="What is drawn from: traffic, victims, pairs.")
@click.option("--rate", default=60.0, help="Callbacks a second.")
@click.option("--only", multiple=True, metavar="STRIKE[+STRIKE]", help="These, in this order, instead of all.")
@click.option("--pairs", default=6, type=click.IntRange(0), help="How many pairs, after each strike alone.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the results there.")
@click.option("--keep", is_flag=True, help="No strikes: leave it up, print where it is, until Ctrl-C.")
def main(seed: int, rate: float, only: tuple[str, ...], pairs: int, json_file: Path | None, keep: bool) -> None:
    """Run the service with all it needs highly available, strike it, and tell what was felt.

    \b
    Examples:
      make cluster
      make cluster ARGS="--keep"
      make cluster ARGS="--only freeze-postgres --only kill-nats-leader+kill-receiver"
    """
    order = [_known(names) for names in only] or drawn(seed, pairs)
    folder = Path(tempfile.mkdtemp(prefix="esc-receiver-cluster-"))
    folder.chmod(0o711)
    site = Site(folder, Plan(seed, 2, 0, rate, FAULTS, workers=2))
    outcome = Outcome()
    try:
        asyncio.run(until_signalled(lambda: _kept(site) if keep else _drilled(site, order, outcome)))
    except SetupError as error:
        raise click.ClickException(str(error)) from error
    finally:
        if outcome.findings:
            click.echo(f"its files: {folder}", err=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    if keep:
        return
    Console(width=200).print(table(outcome))
    click.echo("\n".join([f"{outcome.sent} sent, {outcome.receipts} receipts", *(outcome.findings or ["no findings"])]))
    if json_file:
        json_file.write_bytes(orjson.dumps(as_dict(outcome), option=orjson.OPT_INDENT_2))
    sys.exit(bool(outcome.findings))


def _known(names: str) -> tuple[str, ...]:
    both = tuple(names.split("+"))
    if unknown := [name for name in both if name not in STRIKES]:
        raise click.BadParameter(f"{unknown[0]} is none of {', '.join(STRIKES)}", param_hint="--only")
    return both


async def _drilled(site: Site, order: list[tuple[str, ...]], outcome: Outcome) -> None:
    def told(felt: Felt) -> None:
        click.echo(line(felt), err=True)

    async with site.running():
        try:
            await drill(site, order, told, outcome)
        finally:
            site.thaw()


async def _kept(site: Site) -> None:
    async with site.running():
        click.echo(f"board and callbacks: {site.proxy.url}")
        click.echo(f"receivers: {', '.join(receiver.url for receiver in site.receivers)}")
        click.echo(f"PostgreSQL: {site.dsn}")
        click.echo(f"Patroni: {', '.join(f'{node.folder.name} {node.rest_url}' for node in site.postgres.nodes)}")
        click.echo(f"NATS: {site.nats.url}")
        click.echo(f"etcd: {', '.join(member.address for member in site.etcd)}")
        click.echo("Ctrl-C ends it")
        await asyncio.Event().wait()


if __name__ == "__main__":
    main()
