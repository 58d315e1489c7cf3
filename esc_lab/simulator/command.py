"""`esc-receiver simulate`: the traffic, played at a target, with a progress bar and a summary.

`simulate` is what `demo`, benchmarks and tests call; `simulate_command` is the same for a terminal. This file must not
know what a receiver does with the messages.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from esc_lab.simulator.audit_log import AuditLog
from esc_lab.simulator.delivery_faults import Faults
from esc_lab.simulator.esc_messages import HEADER_STYLES
from esc_lab.simulator.player import Player, Target
from esc_lab.simulator.report import Summary, print_summary
from esc_lab.simulator.traffic import Traffic
from receiver.errors import SettingsError, SetupError


@dataclass(frozen=True, slots=True)
class SimulateOptions:
    """What to play and where; the defaults are those of the command line."""

    target: str = "http://127.0.0.1:9010"
    seed: int = field(default_factory=lambda: secrets.randbelow(2**31))
    sources: tuple[str, ...] = ("default",)
    tokens: Mapping[str, str] = field(default_factory=dict)
    """Path token by source; "" stands for all others."""
    deployments: int = 10
    operations: int = 8
    rate: float = 50.0
    """Messages per second; 0: as fast as answers come."""
    concurrency: int = 32
    duration_s: float = 0.0
    """How long to go on with ever new lives; 0: until all have been lived once."""
    loop: bool = False
    """Go on until stopped."""
    time_scale: float = 0.0
    """1: ESC's own pace between messages; 0: no pauses."""
    faults: Faults = field(default_factory=Faults)
    header_style: str = "printed"
    suspected: bool = False
    retries: int = 0
    timeout_s: float = 30.0
    keep_audit_log: bool = False
    """Keep expected state and receipts for an auditor; memory grows with every message."""


async def simulate(
    options: SimulateOptions, console: Console | None = None, *, stop: asyncio.Event | None = None
) -> Summary:
    """Plays the traffic until it is over or `stop` is set; draws its progress on a console that is a terminal.

    Raises SettingsError for options that make no traffic, SetupError when the target refuses or does not answer.
    """
    traffic = _traffic(options)
    target = Target(options.target, {source: _token(options, source) for source in options.sources})
    summary = Summary(options.seed, options.target, AuditLog() if options.keep_audit_log else None)
    stop = stop or asyncio.Event()
    timeout = aiohttp.ClientTimeout(total=options.timeout_s)
    connector = aiohttp.TCPConnector(limit=0)  # the player's own limit is the one that counts
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        await _probe(session, target, options.sources)
        with _progress(options, traffic, summary, console) as on_message, _timed(options, summary, stop):
            player = Player(
                session,
                target,
                summary,
                stop=stop,
                rate=options.rate,
                concurrency=options.concurrency,
                time_scale=options.time_scale,
                retries=options.retries,
                on_message=on_message,
            )
            await player.play(traffic.lives(endless=_is_endless(options)), traffic.size)
    return summary


def _is_endless(options: SimulateOptions) -> bool:
    return options.loop or options.duration_s > 0


def _token(options: SimulateOptions, source: str) -> str:
    return options.tokens.get(source, options.tokens.get("", ""))


def _traffic(options: SimulateOptions) -> Traffic:
    if options.faults.wrong_token and not all(_token(options, source) for source in options.sources):
        raise SettingsError("faults: wrong-token needs a token for every source, else no token is wrong")
    if not options.target.startswith(("http://", "https://")):
        raise SettingsError(f"target {options.target!r} is no http:// or https:// URL")
    return Traffic(
        options.seed,
        sources=options.sources,
        deployments=options.deployments,
        operations=options.operations,
        faults=options.faults,
        header_style=options.header_style,
        suspected=options.suspected,
    )


async def _probe(session: aiohttp.ClientSession, target: Target, sources: tuple[str, ...]) -> None:
    """Asks each path, as ETSI SOL003 does of notification targets, before anything is posted."""
    for source in sources:
        try:
            async with session.get(target.url(source, "callback")) as response:
                status = response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = str(error) or "no answer in time"
            raise SetupError(f"nothing answers at {target.base}: {reason}") from error
        if status in {401, 403}:
            raise SetupError(f"{target.base} refuses source {source!r} ({status}): is its token right?")
        if status == 404:
            raise SetupError(f"{target.base} knows no source {source!r} (404)")


@contextmanager
def _timed(options: SimulateOptions, summary: Summary, stop: asyncio.Event) -> Iterator[None]:
    """Ends a run that has a duration, and measures every run."""
    loop = asyncio.get_running_loop()
    timer = loop.call_later(options.duration_s, stop.set) if options.duration_s else None
    summary.began = monotonic()
    try:
        yield
    finally:
        summary.elapsed_s = monotonic() - summary.began
        if timer is not None:
            timer.cancel()


@contextmanager
def _progress(
    options: SimulateOptions, traffic: Traffic, summary: Summary, console: Console | None
) -> Iterator[Callable[[], None]]:
    """A bar, and what to call after every message: it counts operations or seconds, or has no end."""
    if console is None or not console.is_terminal:
        yield lambda: None
        return
    operations = None if options.loop else traffic.size * traffic.operations
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("playing", total=options.duration_s or operations)

        def show() -> None:
            done = monotonic() - summary.began if options.duration_s else summary.operations.total()
            unexpected = f", {summary.surprises.total()} not as expected" if summary.surprises else ""
            text = f"{summary.operations.total()} operations, {summary.sent.total()} messages{unexpected}"
            progress.update(bar, completed=done, description=text)

        yield show
        show()


_EPILOG = """
\b
Examples:
  esc-receiver simulate
  esc-receiver simulate --deployments 200 --rate 500 --seed 7
  esc-receiver simulate --sources lab1,lab2 --token lab1=SECRET --token lab2=SECRET
  esc-receiver simulate --faults duplicate=0.05,reorder=0.1,gap=0.02,malformed=0.01
  esc-receiver simulate --loop --time-scale 0.1 --rate 20
  esc-receiver simulate --json --truth truth.json
"""


def _option(*names: str, **more: Any) -> Callable[[Any], Any]:
    """An option whose default is shown in the help."""
    return click.option(*names, show_default=True, **more)


@click.command("simulate", epilog=_EPILOG)
@_option("--target", default="http://127.0.0.1:9010", help="Base URL of the receiver.")
@_option("--deployments", type=click.IntRange(1), default=10, help="How many side by side.")
@_option("--operations", type=click.IntRange(1), default=8, help="How many in each life.")
@_option("--rate", type=click.FloatRange(0), default=50.0, help="Messages a second; 0: without limit.")
@click.option("--seed", type=int, help="Repeats a run exactly; drawn and printed when not given.")
@_option("--sources", default="default", help="ESC instances to play, comma between.")
@click.option("--token", "tokens", multiple=True, help="Path token: TOKEN for all sources, or SOURCE=TOKEN.")
@_option("--concurrency", type=click.IntRange(1), default=32, help="Messages under way at most.")
@click.option("--duration", type=click.FloatRange(0), default=0.0, help="Seconds to go on, with ever new lives.")
@click.option("--loop", is_flag=True, help="Go on until Ctrl-C.")
@_option(
    "--time-scale", type=click.FloatRange(0), default=0.0, help="Pauses between messages: 1 is ESC's own pace, 0 none."
)
@click.option(
    "--faults",
    default="",
    metavar="NAME=CHANCE,…",
    help="duplicate, gap, malformed, unknown, wrong-token: of each message; reorder: of each operation.",
)
@_option(
    "--header-style", type=click.Choice(list(HEADER_STYLES)), default="printed", help="How the ESC headers are spelled."
)
@click.option("--suspected", is_flag=True, help="Also stages and events that are only suspected to exist.")
@_option("--retries", type=click.IntRange(0), default=0, help="ESC is not known to retry.")
@_option("--timeout", type=click.FloatRange(0.1), default=30.0, help="Seconds to wait for an answer.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option(
    "--truth",
    "truth_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what must now be true, and all receipts, to this file (JSON).",
)
def simulate_command(
    *, faults: str, sources: str, tokens: tuple[str, ...], as_json: bool, truth_file: Path | None, **given: Any
) -> None:
    """Play realistic ESC traffic at a receiver: deploys, updates, recoveries, scaling, undeploys, good and bad.

    Exit status 0: every message was answered as it should be; 1: some were not; 2: nothing could be played.
    """
    names = tuple(filter(None, (name.strip() for name in sources.split(","))))
    if given["seed"] is None:
        del given["seed"]
    options = SimulateOptions(
        sources=names,
        tokens=_tokens(tokens, names),
        faults=Faults.of(faults),
        keep_audit_log=truth_file is not None,
        duration_s=given.pop("duration"),
        timeout_s=given.pop("timeout"),
        **given,
    )
    summary = asyncio.run(_until_interrupted(options, Console(stderr=True)))
    if truth_file is not None and summary.audit_log is not None:
        truth_file.write_text(json.dumps({"seed": summary.seed, **summary.audit_log.as_dict()}, indent=1))
    if as_json:
        click.echo(json.dumps(summary.as_dict(), indent=1))
    else:
        print_summary(summary, Console())
    sys.exit(1 if summary.surprises else 0)


def _tokens(given: tuple[str, ...], sources: tuple[str, ...]) -> dict[str, str]:
    """By source; "" is for all. A token may hold a "=" itself, so only the name of a source is taken for one."""
    tokens: dict[str, str] = {}
    for text in given:
        name, equals, token = text.partition("=")
        tokens.update({name: token} if equals and name in sources else {"": text})
    return tokens


async def _until_interrupted(options: SimulateOptions, console: Console) -> Summary:
    """Ctrl-C ends the run, and the summary still comes; a second one ends the program."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        stop.set()

    loop.add_signal_handler(signal.SIGINT, end)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    return await simulate(options, console, stop=stop)
