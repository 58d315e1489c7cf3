"""`esc-receiver emulate`: an ESC to practise on, in a terminal.

This file must not know what an operation does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import click

from esc_lab.emulator.emulator_server import Emulator, emulating
from esc_lab.emulator.endpoint_model import BASES
from esc_lab.emulator.injected_faults import ANSWERS, DELIVERY, WORK, Faults
from esc_lab.emulator.options import Habits, Options, Recovery
from esc_lab.simulator.esc_messages import HEADER_STYLES
from receiver.cli.signals import until_signalled
from receiver.config.settings import Settings
from receiver.errors import SettingsError
from receiver.observability import logs

_PORT, _FROM_0 = click.IntRange(0, 65535), click.FloatRange(0)


def _option(*names: str, **more: Any) -> Callable[[Any], Any]:
    """An option whose default is shown in the help."""
    return click.option(*names, show_default=True, **more)


@click.command("emulate", epilog=f"Faults: {', '.join((*WORK, *DELIVERY, *ANSWERS))}.")
@_option("--host", default="127.0.0.1", help="Address to serve on.")
@_option("--port", type=_PORT, default=8080, help="Port of HTTP; 0 takes a free one.")
@click.option("--https-port", type=_PORT, help="Port of HTTPS, with a certificate made at start; ESC's is 8443.")
@click.option("--basic", metavar="USER:PASSWORD", help="Ask for these credentials (HTTP Basic).")
@_option("--time-scale", type=_FROM_0, default=1.0, help="Pace; 1 is ESC's, 0 has no pauses.")
@click.option("--seed", type=int, help="Repeats a run; drawn and printed when not given.")
@click.option(
    "--data-dir", type=click.Path(path_type=Path, file_okay=False), help="Keep the state here; else it ends with us."
)
@_option(
    "--header-style",
    type=click.Choice(list(HEADER_STYLES)),
    default="printed",
    help="Spelling of the callbacks' headers.",
)
@_option(
    "--events-to",
    type=click.Choice(["events", "callback"]),
    default="events",
    help="Where VM events go: Callback-ESC-Events, or Callback like all others.",
)
@_option("--suspected/--no-suspected", default=True, help="Send also messages that no source prints.")
@_option(
    "--vim",
    type=click.Choice(["auto", "openstack", "vmware"]),
    default="auto",
    help="What the VMs look like; auto: VMware for the admin tenant, unless a VIM connector says else.",
)
@_option(
    "--updated-stage",
    type=click.Choice(["VM_ALIVE", "VM_UPDATED"]),
    default="VM_ALIVE",
    help="Stage of a changed VM: as the printed example has it, or as its text does.",
)
@_option("--recovery", type=click.Choice(get_args(Recovery)), default="policy", help="How a VM that dies comes back.")
@click.option("--faults", default="", metavar="NAME=CHANCE,…", help="What goes wrong, and how often.")
@_option("--delay", type=_FROM_0, default=10.0, help="Seconds of the fault delay, unscaled.")
@click.option(
    "--failover-every",
    type=_FROM_0,
    default=0.0,
    help="Seconds after which the other ESC of the pair takes over, again and again; 0: only when asked for.",
)
@_option("--retries", type=click.IntRange(0, 100), default=0, help="Of a callback that fails.")
@_option(
    "--callback-timeout", type=click.FloatRange(0.1), default=10.0, help="Seconds to wait for the answer to a callback."
)
@click.option(
    "--truststore",
    type=click.Path(path_type=Path, dir_okay=False),
    help="CA certificates (PEM) by which HTTPS callback targets are judged.",
)
@click.option(
    "--source-address",
    "source_addresses",
    multiple=True,
    help="Where callbacks come from; several: the next one after each failover.",
)
def emulate_command(*, basic: str | None, faults: str, delay: float, seed: int | None, **given: Any) -> None:
    """Be an ESC from outside: its REST northbound API, and the callbacks that follow.

    \b
    Examples:
      esc-receiver emulate
      esc-receiver emulate --time-scale 0.01 --seed 7 --faults vm-fails=0.1,double=0.05
      esc-receiver emulate --https-port 8443 --basic admin:secret --data-dir ./esc
    """
    habits = Habits(**{one.name: given.pop(one.name) for one in fields(Habits)})
    if seed is not None:
        given["seed"] = seed
    options = Options(
        basic=_credentials(basic),
        faults=Faults.of(faults, delay),
        habits=habits,
        callback_timeout_s=given.pop("callback_timeout"),
        failover_every_s=given.pop("failover_every"),
        **given,
    )
    logs.configure(Settings(log_format="text", log_level="warning"))
    asyncio.run(until_signalled(lambda: _run(options)))


async def _run(options: Options) -> None:
    async with emulating(options) as emulator:
        _print_urls(emulator)
        await asyncio.get_running_loop().create_future()


def _print_urls(emulator: Emulator) -> None:
    base, options = BASES[0], emulator.options
    pace = f"at {options.time_scale:g} of ESC's pauses" if options.time_scale else "without pauses"
    click.echo(f"ESC emulated, seed {options.seed}, {pace}; Ctrl-C ends it")
    click.echo(f"northbound  {emulator.url}{base}/v0/deployments")
    if emulator.https_url:
        click.echo(
            f"over TLS    {emulator.https_url}{base}/v0/deployments  (certificate: {emulator.url}/emulator/certificate)"
        )
    click.echo(f"control     {emulator.url}/emulator  {emulator.url}/emulator/deliveries")
    click.echo(f"OpenAPI     {emulator.url}/emulator/openapi.json")


def _credentials(given: str | None) -> tuple[str, str] | None:
    if given is None:
        return None
    user, colon, password = given.partition(":")
    if not (user and colon and password):
        raise SettingsError("--basic should be USER:PASSWORD")
    return user, password
