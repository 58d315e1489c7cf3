"""`esc-receiver demo`: orchestrators, emulated ESCs and the whole service, in a throw-away folder, shown as it happens.

Wires together what `serve` and `emulate` are made of; must not know how a callback is judged, nor how the view is
drawn (`demo_view`). Nothing of the environment counts here: a demo must never reach somebody's real database.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from secrets import randbelow
from typing import Any

import click
import orjson
from rich.console import Console, RenderableType
from rich.live import Live

from esc_lab.demo.orchestrator import escs, orchestrate
from esc_lab.demo.view import Counts, Facts, draw, event_line, status_line
from esc_lab.emulator import Emulator
from receiver import __version__
from receiver.app import App, running
from receiver.cli.endpoints_file import write_endpoints
from receiver.cli.signals import until_signalled
from receiver.cli.tail import follow
from receiver.config.loading import load
from receiver.config.settings import Settings
from receiver.embedded.servers import Embedded
from receiver.errors import SetupError
from receiver.events.cloudevents import SUBJECTS
from receiver.model.notification import Outcome
from receiver.observability import logs
from receiver.observability.definition import total

SOURCES = ("lab1", "lab2", "lab3")
DEPLOYMENTS = 24
PACE = 0.6
"""Time scale times rate: at this pace so many deployments have somewhat more to say than the rate lets through."""
DRAWN_EVERY_S = 0.25
TOLD_EVERY_S = 2.0
CATCH_UP_S = 2.0
"""How long the end waits for the feed to show what the last callbacks did."""
POLL_S = 0.05
VIEW_LINES_MIN = 14

CURL = (
    "curl -i {url}/esc/{source}/callback -H 'ESC-Transaction-Id: try-1' -H 'ESC-Status-Code: 200' -d "
    "'<deployment><internal_deployment_id>mine</internal_deployment_id>"
    "<deployment_stage>SERVICE_ALIVE</deployment_stage></deployment>'"
)
TAIL = "{program} tail --data-dir {folder}"


@click.command("demo")
@click.option("--port", type=click.IntRange(0, 65535), default=9010, show_default=True, help="0 takes a free one.")
@click.option(
    "--rate", type=click.FloatRange(0), default=20.0, show_default=True, help="Callbacks a second; 0: as many as go."
)
@click.option("--seed", type=int, help="Of the orders and of what ESC does; drawn and printed when not given.")
@click.option("--duration", type=click.FloatRange(0), default=0.0, help="Seconds after which it ends by itself.")
def demo_command(port: int, rate: float, seed: int | None, duration: float) -> None:
    """Watch the whole service at work on emulated ESCs and their orchestrators, until Ctrl-C.

    PostgreSQL and NATS are run in a throw-away folder; Ctrl-C ends all of it and leaves no process and no file.

    \b
    Examples:
      esc-receiver demo
      esc-receiver demo --port 0 --rate 200 --seed 7
    """
    settings = load(None, _environment(port), required=())
    _require_free(settings)
    logs.configure(settings)
    demo = Demo(settings, rate, randbelow(2**31) if seed is None else seed, duration)
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    asyncio.run(until_signalled(demo.run, signals=signals, at_once=demo.abandon))


def _environment(port: int) -> dict[str, str]:
    sources = orjson.dumps({name: {} for name in SOURCES}).decode()
    return {
        "ESC_RECEIVER_PORT": str(port),
        "ESC_RECEIVER_SOURCES": sources,
        "ESC_RECEIVER_LOG_LEVEL": "warning",
        "ESC_RECEIVER_QUERY_RATE_PER_S": "10000",  # all orchestrators ask from one address
    }


def _require_free(settings: Settings) -> None:
    """Better to hear it now than after the servers were started; who takes it in between is told later."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            why = "is taken by another program" if taken else f"cannot be served on ({error.strerror})"
            raise SetupError(f"{settings.host}:{settings.port} {why}; choose another port with --port") from error


class Demo:
    """One demo: `run` until cancelled, or until its duration is over."""

    def __init__(self, settings: Settings, rate: float, seed: int, duration_s: float) -> None:
        self._settings = settings
        self._rate = rate
        self._seed = seed
        self._duration_s = duration_s
        self._console = Console(highlight=False)
        self._on_terminal = self._console.is_terminal and not self._console.is_dumb_terminal
        self._servers = Embedded()
        self._facts = Facts()
        self._news = asyncio.Event()
        self._header_lines = 0

    async def run(self) -> None:
        """Start all, play and show, stop all."""
        self._say("starting PostgreSQL and NATS in a throw-away folder …")
        try:
            async with self._servers:
                await self._serve()
        finally:
            self._say("ended; no process and no file is left")

    def abandon(self) -> None:
        """End at once: kill the servers and remove their folder, waiting for nothing."""
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
        async with running(self._settings.model_copy(update=where)) as app, self._following(app):
            await app.until_ready()
            write_endpoints(folder, app)
            try:
                async with escs(SOURCES, self._seed, PACE / self._rate if self._rate else 0.0) as found:
                    self._tell_where(app, folder, found)
                    await self._play(app, {source: emulator.url for source, emulator in found.items()})
            finally:
                await self._catch_up(app)
                self._tell_sums(app)

    async def _play(self, app: App, urls: Mapping[str, str]) -> None:
        self._facts.rate(0)  # the first look
        stop = asyncio.Event()
        playing = asyncio.create_task(self._orchestrate(urls, app.url, stop))
        serving = asyncio.create_task(app.run())
        try:
            await self._show(app, (playing, serving))
        finally:
            self._say("stopping …")
            stop.set()
            await playing
            serving.cancel()

    async def _orchestrate(self, urls: Mapping[str, str], receiver: str, stop: asyncio.Event) -> None:
        """Until it is to stop, or the duration is over."""
        if self._duration_s:
            asyncio.get_running_loop().call_later(self._duration_s, stop.set)
        await orchestrate(urls, receiver, seed=self._seed, rate=self._rate, deployments=DEPLOYMENTS, stop=stop)

    # What is shown.

    async def _show(self, app: App, tasks: Sequence[asyncio.Task[Any]]) -> None:
        """Until one of the tasks is over."""
        if not self._on_terminal:
            while not await _any_done(tasks, TOLD_EVERY_S):
                self._say(status_line(self._facts, self._counts(app)))
            return
        with Live(console=self._console, auto_refresh=False) as live:
            logs.configure(self._settings)  # anew, because the view stands in for standard error
            while not await _any_done(tasks, DRAWN_EVERY_S):
                live.update(self._view(app), refresh=True)
        logs.configure(self._settings)

    def _view(self, app: App) -> RenderableType:
        size = self._console.size
        lines = max(VIEW_LINES_MIN, size.height - self._header_lines - 1)
        return draw(self._facts, self._counts(app), width=size.width, lines=min(lines, size.height - 1))

    def _counts(self, app: App) -> Counts:
        sums = app.metrics.sums()
        outcomes = dict.fromkeys(Outcome, 0)
        for family in app.metrics.stored.collect():
            for sample in family.samples:
                outcomes[Outcome(sample.labels["outcome"])] += int(sample.value)
        messages = total(app.metrics.transitions) + outcomes[Outcome.UNCLASSIFIED]
        return Counts(sums["received"], sums["refused"], outcomes, messages)

    def _say(self, text: str) -> None:
        """A line as it is: what is to be copied must not be broken."""
        self._console.print(text, soft_wrap=True, markup=False)

    def _tell_where(self, app: App, folder: Path, found: Mapping[str, Emulator]) -> None:
        """Everything to try beside it."""
        url = app.url
        lines = (
            f"esc-receiver {__version__} demo, seed {self._seed}; all it writes lies in {folder} and goes with it",
            "",
            f"the board  {url}/",
            f"callbacks  {url}/esc/{SOURCES[0]}/callback  ({', '.join(SOURCES[1:])}; …/events)",
            f"an ESC     {found[SOURCES[0]].url}/ESCManager/v0/deployments  (and {len(found) - 1} more; …/emulator)",
            f"try one    {CURL.format(url=url, source=SOURCES[0])}",
            f"health     {url}/readyz  {url}/metrics",
            f"the feed   {TAIL.format(program=_program(), folder=folder)}",
            f"the state  psql {self._servers.postgres_dsn}",
            "",
            "Ctrl-C ends it all and leaves nothing",
            "",
        )
        for line in lines:
            self._say(line)
        width = self._console.width
        self._header_lines = sum(-(-max(1, len(line)) // width) for line in lines)

    def _tell_sums(self, app: App) -> None:
        sums, due = app.metrics.sums(), self._counts(app).messages
        kept = f"kept {sums['stored']} + refused {sums['refused']} + in flight {sums['in_flight']}"
        self._say(f"received {sums['received']} = {kept}; {due} messages due on the feed, {self._facts.messages} came")

    # The feed.

    @asynccontextmanager
    async def _following(self, app: App) -> AsyncIterator[None]:
        """Read the feed as any consumer does, in order, from its beginning."""
        following = asyncio.create_task(self._follow(app.settings))
        try:
            yield
        finally:
            following.cancel()
            await asyncio.wait([following])

    async def _follow(self, settings: Settings) -> None:
        while True:
            feed = follow(settings.nats_url, settings.stream_name, [f"{SUBJECTS}.>"], from_start=True)
            try:
                async with aclosing(feed) as messages:
                    async for message in messages:
                        self._heard(orjson.loads(message.data))
            except SetupError:  # the stream is about to be made
                await asyncio.sleep(POLL_S)

    def _heard(self, event: dict[str, Any]) -> None:
        self._facts.hear(event, datetime.now(UTC))
        self._news.set()
        if not self._on_terminal and event["entity"] == "deployment":
            self._say(event_line(event))

    async def _catch_up(self, app: App) -> None:
        """Give the feed a moment to show what the last callbacks did."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CATCH_UP_S):
                while self._facts.messages < self._counts(app).messages:
                    self._news.clear()
                    await self._news.wait()


async def _any_done(tasks: Sequence[asyncio.Task[Any]], timeout_s: float) -> bool:
    done, _ = await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    return bool(done)


def _program() -> str:
    """How this program is called from here."""
    if shutil.which("esc-receiver"):
        return "esc-receiver"
    program = Path(sys.executable).with_name("esc-receiver")
    return os.path.relpath(program) if program.exists() else f"{sys.executable} -m receiver"
