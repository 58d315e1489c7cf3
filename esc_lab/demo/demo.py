"""`esc-receiver demo`: orchestrators, emulated ESCs and the whole service, in a throw-away folder, shown as it happens.

Wires together what `serve` and `emulate` are made of; must not know how a callback is judged, nor how the view is
drawn (`view`). The environment is ignored: a demo must never reach somebody's real database.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from secrets import randbelow
from typing import Any

import click
import orjson
from rich.console import Console
from rich.live import Live

from esc_lab.demo.orchestrator import escs, orchestrate
from esc_lab.demo.view import Counts, Facts, draw, event_line, status_line
from esc_lab.emulator import Emulator
from esc_lab.emulator.emulator_server import port_error
from esc_receiver_client import EscFeed, FeedError
from receiver import __version__
from receiver.app import App
from receiver.cli.endpoints_file import write_endpoints
from receiver.cli.serve import service, worker_command
from receiver.cli.signals import until_signalled
from receiver.config.loading import load
from receiver.config.settings import PREFIX, Settings
from receiver.embedded.servers import Embedded
from receiver.model.notification import Outcome
from receiver.observability import logs
from receiver.observability.catalogue import Catalogue
from receiver.workers.supervisor import Supervisor
from receiver.workers.tally import Report, figure

Service = App | Supervisor
SERVERS = ("postgres_dsn", "nats_url")
SOURCES = ("lab1", "lab2", "lab3")
DEPLOYMENTS = 24
PACE = 0.6
"""Time scale times rate: at this pace so many deployments send somewhat more than the rate lets through."""
DRAWN_EVERY_S, PRINTED_EVERY_S = 0.25, 2.0
CATCH_UP_S = 2.0
"""How long the end waits for the feed to bring the last messages."""
POLL_S = 0.05
VIEW_LINES_MIN = 14

INTRODUCTION = """\
esc-receiver {version} demo, seed {seed}; all it writes lies in {folder} and goes with it

the board  {url}/
callbacks  {url}/esc/{source}/callback  ({others}; …/events)
an ESC     {esc}/ESCManager/v0/deployments  (and {more} more; …/emulator)
try one    curl -i {url}/esc/{source}/callback -H 'ESC-Transaction-Id: try-1' -H 'ESC-Status-Code: 200' -d \
'<deployment><internal_deployment_id>mine</internal_deployment_id>\
<deployment_stage>SERVICE_ALIVE</deployment_stage></deployment>'
health     {url}/readyz  {url}/metrics
the feed   {program} tail --data-dir {folder}
           nats sub --server '{nats_url}' 'esc.v1.>'
the state  psql '{postgres_dsn}'

Ctrl-C ends it all and leaves nothing
"""


@click.command("demo")
@click.option("--port", type=click.IntRange(0, 65535), default=9010, show_default=True, help="0 takes a free one.")
@click.option(
    "--rate", type=click.FloatRange(0), default=20.0, show_default=True, help="Callbacks a second; 0: as many as go."
)
@click.option("--seed", type=int, help="Of the orders and of what ESC does; drawn and printed when not given.")
@click.option("--workers", default="1", show_default=True, metavar="N|auto", help="Processes of the receiver.")
@click.option("--duration", type=click.FloatRange(0), default=0.0, help="Seconds after which it ends by itself.")
def demo_command(port: int, rate: float, seed: int | None, workers: str, duration: float) -> None:
    """Watch the whole service at work on emulated ESCs and their orchestrators, until Ctrl-C.

    PostgreSQL and NATS are run in a throw-away folder; Ctrl-C ends all of it and leaves no process and no file.

    \b
    Examples:
      esc-receiver demo
      esc-receiver demo --port 0 --rate 200 --seed 7
      esc-receiver demo --workers 2 --rate 200
    """
    environment = {
        "ESC_RECEIVER_PORT": str(port),
        "ESC_RECEIVER_SOURCES": orjson.dumps({name: {} for name in SOURCES}).decode(),
        "ESC_RECEIVER_LOG_LEVEL": "warning",
        "ESC_RECEIVER_WORKERS": workers,
        "ESC_RECEIVER_WORKER_REPORT_S": "0.25",  # as often as the view is drawn
        "ESC_RECEIVER_QUERY_RATE_PER_S": "10000",  # all orchestrators ask from one address
    }
    settings = load(None, environment, required=())
    _require_free(settings)
    logs.configure(settings)
    demo = Demo(settings, environment, rate, randbelow(2**31) if seed is None else seed, duration)
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    asyncio.run(until_signalled(demo.run, signals=signals, at_once=demo.abandon))


def _require_free(settings: Settings) -> None:
    """Raises SetupError before any server is started when the port is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise port_error(error, settings.host, settings.port, " with --port") from error


@dataclass(slots=True)
class Demo:
    """One demo: `run` until cancelled, or until its duration is over."""

    settings: Settings
    environment: Mapping[str, str]
    """What they were read from."""
    rate: float
    seed: int
    duration_s: float
    _console: Console = field(default_factory=lambda: Console(highlight=False))
    _servers: Embedded = field(default_factory=Embedded)
    _facts: Facts = field(default_factory=Facts)
    _new_message: asyncio.Event = field(default_factory=asyncio.Event)
    _header_lines: int = 0
    _app: Service | None = None

    @property
    def _is_drawn(self) -> bool:
        return self._console.is_terminal and not self._console.is_dumb_terminal

    async def run(self) -> None:
        """Start all, play and show, stop all."""
        self._print("starting PostgreSQL and NATS in a throw-away folder …")
        try:
            async with self._servers:
                await self._serve()
        finally:
            self._print("ended; no process and no file is left")

    def abandon(self) -> None:
        """End at once: kill the servers and remove their folder, waiting for nothing."""
        if isinstance(self._app, Supervisor):
            self._app.kill()
        for pid in self._servers.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._servers.folder:
            shutil.rmtree(self._servers.folder, ignore_errors=True)
        self._console.show_cursor()

    async def _serve(self) -> None:
        assert self._servers.folder is not None  # started
        folder = self._servers.folder
        where = {"postgres_dsn": self._servers.postgres_dsn, "nats_url": self._servers.nats_url, "data_dir": folder}
        command = worker_command(None, self._environment(folder), {name: str(where[name]) for name in SERVERS})
        async with service(self.settings.model_copy(update=where), command) as app:
            self._app = app
            following = asyncio.create_task(self._follow_feed(app.settings))
            try:
                await app.until_ready()
                write_endpoints(folder, app.url, app.admin_url, app.settings)
                async with escs(SOURCES, self.seed, PACE / self.rate if self.rate else 0.0) as found:
                    self._introduce(app, folder, found)
                    await self._play(app, {source: emulator.url for source, emulator in found.items()})
            finally:
                await self._catch_up(app)
                self._print_sums(await app.fresh_report())
                following.cancel()
                await asyncio.wait([following])

    def _environment(self, folder: Path) -> dict[str, str]:
        """Of a worker: the machine's, without settings of somebody's real receiver."""
        others = {name: value for name, value in os.environ.items() if not name.startswith((PREFIX, "PG"))}
        return {**others, **self.environment, f"{PREFIX}DATA_DIR": str(folder)}

    async def _play(self, app: Service, urls: Mapping[str, str]) -> None:
        self._facts.rate(0)  # the first sample
        stop = asyncio.Event()
        if self.duration_s:
            asyncio.get_running_loop().call_later(self.duration_s, stop.set)
        playing = asyncio.create_task(
            orchestrate(urls, app.url, seed=self.seed, rate=self.rate, deployments=DEPLOYMENTS, stop=stop)
        )
        serving = asyncio.create_task(app.run())
        try:
            await self._show(app, playing, serving)
        finally:
            self._print("stopping …")
            stop.set()
            await playing
            serving.cancel()

    async def _show(self, app: Service, *tasks: asyncio.Task[Any]) -> None:
        """Until one of the tasks is over."""
        if not self._is_drawn:
            while not await _any_done(tasks, PRINTED_EVERY_S):
                self._print(status_line(self._facts, _counts(app.report())))
            return
        with Live(console=self._console, auto_refresh=False) as live:
            logs.configure(self.settings)  # anew, because the view stands in for standard error
            while not await _any_done(tasks, DRAWN_EVERY_S):
                size = self._console.size
                lines = min(max(VIEW_LINES_MIN, size.height - self._header_lines - 1), size.height - 1)
                live.update(draw(self._facts, _counts(app.report()), width=size.width, lines=lines), refresh=True)
        logs.configure(self.settings)

    def _print(self, text: str) -> None:
        """A line as it is: what is to be copied must not be broken."""
        self._console.print(text, soft_wrap=True, markup=False)

    def _introduce(self, app: Service, folder: Path, found: Mapping[str, Emulator]) -> None:
        """Everything to try beside it."""
        first, *others = SOURCES
        text = INTRODUCTION.format(
            version=__version__,
            seed=self.seed,
            folder=folder,
            url=app.url,
            source=first,
            others=", ".join(others),
            esc=found[first].url,
            more=len(others),
            program=_program(),
            postgres_dsn=self._servers.postgres_dsn,
            nats_url=self._servers.nats_url,
        )
        self._print(text)
        self._header_lines = sum(-(-max(1, len(line)) // self._console.width) for line in text.split("\n"))

    def _print_sums(self, report: Report) -> None:
        sums, due = report.sums, _counts(report).messages
        kept = f"kept {sums['stored']} + refused {sums['refused']} + in flight {sums['in_flight']}"
        came = self._facts.messages
        self._print(f"received {sums['received']} = {kept}; {due} messages due on the feed, {came} came")

    async def _follow_feed(self, settings: Settings) -> None:
        """Reads the feed as any consumer does, in order, from its beginning."""
        while True:
            try:
                async with EscFeed(settings.nats_url, stream=settings.stream_name, name="esc-receiver demo") as feed:
                    async for event in feed.subscribe():
                        self._add(event.json())
            except FeedError:  # the stream is about to be made
                await asyncio.sleep(POLL_S)

    def _add(self, event: dict[str, Any]) -> None:
        self._facts.add(event, datetime.now(UTC))
        self._new_message.set()
        if not self._is_drawn and event["entity"] == "deployment":
            self._print(event_line(event))

    async def _catch_up(self, app: Service) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CATCH_UP_S):
                while self._facts.messages < _counts(await app.fresh_report()).messages:
                    self._new_message.clear()
                    await self._new_message.wait()


def _counts(report: Report) -> Counts:
    outcomes = dict.fromkeys(Outcome, 0)
    for name, labels, value, _ in chain.from_iterable(family.samples for family in report.families):
        if name == Catalogue.stored.series:
            outcomes[Outcome(labels["outcome"])] += int(value)
    dead = outcomes[Outcome.UNCLASSIFIED] + outcomes[Outcome.MALFORMED]
    messages = int(figure(report, Catalogue.transitions.series)) + dead
    return Counts(report.sums["received"], report.sums["refused"], outcomes, messages)


async def _any_done(tasks: tuple[asyncio.Task[Any], ...], timeout_s: float) -> bool:
    done, _ = await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    return bool(done)


def _program() -> str:
    """How to call this program from here."""
    if shutil.which("esc-receiver"):
        return "esc-receiver"
    program = Path(sys.executable).with_name("esc-receiver")
    return os.path.relpath(program) if program.exists() else f"{sys.executable} -m receiver"
