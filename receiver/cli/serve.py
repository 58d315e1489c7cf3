"""`esc-receiver serve`: runs the service, with PostgreSQL and NATS of its own where that is asked for."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
from pathlib import Path
from typing import Any

import click
import structlog

from receiver.app import App, running
from receiver.cli import options
from receiver.cli.endpoints_file import forget_endpoints, write_endpoints
from receiver.cli.signals import until_signalled
from receiver.config.exposure import open_doors
from receiver.config.loading import load
from receiver.config.settings import PREFIX, Settings
from receiver.embedded.servers import Embedded
from receiver.errors import SettingsError
from receiver.observability import logs
from receiver.observability.log_writer import LogWriter
from receiver.observability.tracing import traces

log = structlog.get_logger()

COLLECTOR_THRESHOLD = 50_000
"""More objects than a group of callbacks is made of."""
FILES_BESIDE = 128
"""Open files that are no connections of clients: databases, the broker, the spool, logs."""


@click.command("serve")
@options.config
@click.option(
    "--embedded", "is_embedded", is_flag=True, help="Run PostgreSQL and NATS too, in --data-dir, kept across restarts."
)
@options.data_dir("Folder of the embedded servers.")
@click.option("--host", help="Address to serve on.")
@click.option("--port", type=int, help="Port to serve on; 0 takes a free one.")
def serve_command(config: Path | None, is_embedded: bool, **flags: Any) -> None:
    """Run the service, until SIGTERM or Ctrl-C.

    \b
    Examples:
      ESC_RECEIVER_POSTGRES_DSN=postgresql://esc@db/esc esc-receiver serve
      esc-receiver serve --config /etc/esc-receiver.toml
      esc-receiver serve --embedded --data-dir ./data
    """
    # Flags are the same settings as the variables, and win over them.
    given = {f"{PREFIX}{name.upper()}": str(value) for name, value in flags.items() if value is not None}
    settings = load(config, {**os.environ, **given}, required=() if is_embedded else ("postgres_dsn",))
    if settings.refuse_open and (doors := list(open_doors(settings))):
        raise SettingsError("\n".join((*doors, f"{PREFIX}REFUSE_OPEN is on, so it is not started like this")))
    writer = logs.standard_error(settings)
    logs.configure(settings, writer)
    try:
        allow_open_files(settings.connections_max)
        serve = _serve_embedded if is_embedded else _serve
        asyncio.run(until_signalled(lambda: serve(settings, writer)))
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


async def _serve(settings: Settings, writer: LogWriter) -> None:
    async with running(settings, traces(os.environ), writer) as app:
        _spare_the_collector()
        _reload_on_hangup(app)
        await app.run()


async def _serve_embedded(settings: Settings, writer: LogWriter) -> None:
    folder = settings.data_dir
    async with Embedded(folder) as servers:
        forget_endpoints(folder)
        where = {"postgres_dsn": servers.postgres_dsn, "nats_url": servers.nats_url}
        async with running(settings.model_copy(update=where), traces(os.environ), writer) as app:
            await app.until_ready()
            _spare_the_collector()
            _reload_on_hangup(app)
            write_endpoints(folder, app)
            try:
                await app.run()
            finally:
                forget_endpoints(folder)


def _reload_on_hangup(app: App) -> None:
    """SIGHUP has the TLS files read again, without waiting for it to be seen that they changed."""
    if app.tls.configured:
        loop, reloads = asyncio.get_running_loop(), set[asyncio.Task[None]]()
        loop.add_signal_handler(signal.SIGHUP, lambda: reloads.add(loop.create_task(app.tls.reload())))


def _spare_the_collector() -> None:
    """For a process that only serves: what is loaded by now stays for good, and callbacks leave next to no cycles
    behind. Else the collector looks at all of it again and again, for a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTOR_THRESHOLD)
