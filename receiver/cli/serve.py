"""`esc-receiver serve`: runs the service, with PostgreSQL and NATS of its own where that is asked for."""

from __future__ import annotations

import asyncio
import os
import resource
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import structlog

from receiver.cli import PROGRAM, options
from receiver.cli.collector import spare_the_collector, uncollected
from receiver.cli.endpoints_file import forget_endpoints, write_endpoints
from receiver.cli.signals import until_signalled
from receiver.config.exposure import open_doors
from receiver.config.loading import load
from receiver.config.settings import PREFIX, Settings
from receiver.config.shares import workers_of
from receiver.embedded.servers import Embedded
from receiver.errors import SettingsError
from receiver.observability import logs
from receiver.observability.log_writer import LogWriter
from receiver.observability.tracing import traces
from receiver.workers.supervisor import Supervisor
from receiver.workers.worker_process import Command

if TYPE_CHECKING:
    from receiver.app import App

log = structlog.get_logger()

FILES_BESIDE = 128
"""Open files that are no connections of clients: databases, the broker, the spool, logs."""
HOW_TO_LOOK = """\
the feed   nats sub --server '{nats_url}' 'esc.v1.>'
           {program} tail --data-dir {folder}
the state  psql '{postgres_dsn}'
"""


@click.command("serve")
@options.config
@click.option(
    "--embedded", "is_embedded", is_flag=True, help="Run PostgreSQL and NATS too, in --data-dir, kept across restarts."
)
@options.data_dir("Folder of the embedded servers.")
@click.option("--host", help="Address to serve on.")
@click.option("--port", type=int, help="Port to serve on; 0 takes a free one.")
@click.option("--workers", metavar="N|auto", help="Processes that serve; `auto`: one for each processor.")
def serve_command(config: Path | None, is_embedded: bool, **flags: Any) -> None:
    """Run the service, until SIGTERM or Ctrl-C.

    \b
    Examples:
      ESC_RECEIVER_POSTGRES_DSN=postgresql://esc@db/esc esc-receiver serve
      esc-receiver serve --config /etc/esc-receiver.toml
      esc-receiver serve --embedded --data-dir ./data
      esc-receiver serve --workers auto
    """
    # Flags are the same settings as the variables, and win over them.
    given = {f"{PREFIX}{name.upper()}": str(value) for name, value in flags.items() if value is not None}
    environment = {**os.environ, **given}
    settings = load(config, environment, required=() if is_embedded else ("postgres_dsn",))
    if settings.refuse_open and (doors := list(open_doors(settings))):
        raise SettingsError("\n".join((*doors, f"{PREFIX}REFUSE_OPEN is on, so it is not started like this")))
    writer = logs.standard_error(settings)
    logs.configure(settings, writer)
    program = Program(settings, config, environment, writer)
    try:
        allow_open_files(settings.connections_max)
        asyncio.run(until_signalled(program.serve_embedded if is_embedded else program.serve, at_once=program.abandon))
    finally:
        writer.close(settings.log_flush_timeout_s)


def allow_open_files(connections_max: int) -> None:
    """Let as many connections be open as the settings allow: many systems begin with 1,024 files for a process."""
    wanted = connections_max + FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < ceiling:
        resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))
    if ceiling < wanted:
        log.warning(
            "the system lets this process open fewer files than ESC_RECEIVER_CONNECTIONS_MAX asks for (ulimit -n)",
            files_max=hard,
            wanted=wanted,
        )


@dataclass(slots=True)
class Program:
    """What `serve` runs: one receiver, or a supervisor and its workers."""

    settings: Settings
    config: Path | None
    environment: Mapping[str, str]
    writer: LogWriter
    _supervisor: Supervisor | None = None

    async def serve(self) -> None:
        """On the PostgreSQL and NATS of the settings."""
        self._take_hangups()
        async with self._running({}) as service:
            await service.run()

    async def serve_embedded(self) -> None:
        """With both of its own."""
        self._take_hangups()
        folder = self.settings.data_dir
        async with Embedded(folder) as servers:
            forget_endpoints(folder)
            where = {"postgres_dsn": servers.postgres_dsn, "nats_url": servers.nats_url}
            async with self._running(where) as service:
                await service.until_ready()
                write_endpoints(folder, service.url, service.admin_url, service.settings)
                click.echo(HOW_TO_LOOK.format(program=PROGRAM, folder=shlex.quote(str(folder)), **where))
                try:
                    await service.run()
                finally:
                    forget_endpoints(folder)

    def abandon(self) -> None:
        """Let no worker outlive this process when it ends at once."""
        if self._supervisor:
            self._supervisor.kill()

    def _take_hangups(self) -> None:
        """From the first moment on: SIGHUP ends whoever does not listen for it, and workers may take long to start."""
        if workers_of(self.settings) > 1:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._replace_workers)

    def _replace_workers(self) -> None:
        if self._supervisor:  # else all are being started, and read everything anew
            self._supervisor.replace_all()

    @asynccontextmanager
    async def _running(self, where: Mapping[str, str]) -> AsyncIterator[App | Supervisor]:
        settings = self.settings.model_copy(update=where)
        command = worker_command(self.config, self.environment, where)
        async with service(settings, command, self.writer) as running_now:
            if isinstance(running_now, Supervisor):
                self._supervisor = running_now
            else:
                _reload_on_hangup(running_now)
            yield running_now


@asynccontextmanager
async def service(
    settings: Settings, command: Command, writer: LogWriter | None = None
) -> AsyncIterator[App | Supervisor]:
    """One receiver in this process; or a supervisor, and as many workers as the settings say."""
    workers = workers_of(settings)
    if workers == 1:
        with uncollected():
            from receiver.app import running  # noqa: PLC0415 - a supervisor has no use for all that it loads

        async with running(settings, traces(os.environ), writer) as app:
            spare_the_collector()
            yield app
        return
    supervisor = Supervisor(settings, workers, command)
    await supervisor.start()
    try:
        yield supervisor
    finally:
        await supervisor.stop()


def worker_command(config: Path | None, environment: Mapping[str, str], where: Mapping[str, str]) -> Command:
    """How a worker of this program is started; `where` overrules its settings."""
    arguments = [sys.executable, "-m", "receiver", "worker", *(["--config", str(config)] if config else [])]
    return Command(arguments, environment, where)


def _reload_on_hangup(app: App) -> None:
    """SIGHUP has the TLS files read again, without waiting for it to be seen that they changed."""
    if app.tls.configured:
        loop, reloads = asyncio.get_running_loop(), set[asyncio.Task[None]]()
        loop.add_signal_handler(signal.SIGHUP, lambda: reloads.add(loop.create_task(app.tls.reload())))
