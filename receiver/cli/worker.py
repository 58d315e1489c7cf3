"""`esc-receiver worker`: one of the processes that `serve --workers` starts; of no use to people.

What it needs besides settings comes on standard input: its place, the sockets, the line to the supervisor.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Any

import click
import orjson

from receiver.app import running
from receiver.cli import options
from receiver.cli.collector import spare_the_collector
from receiver.cli.serve import allow_open_files
from receiver.cli.signals import until_signalled
from receiver.config.loading import load
from receiver.config.settings import Settings
from receiver.config.shares import share_of
from receiver.observability import logs
from receiver.observability.log_writer import LogWriter
from receiver.observability.tracing import traces
from receiver.workers.membership import Membership


@click.command("worker", hidden=True)
@options.config
def worker_command(config: Path | None) -> None:
    """Be a worker of the supervisor. It has started this process."""
    given = orjson.loads(sys.stdin.buffer.read())
    whole = load(config, os.environ, required=()).model_copy(update=given["settings"])
    settings = share_of(whole, given["workers"])
    writer = logs.standard_error(settings, given["log_lock"])
    logs.configure(settings, writer)
    try:
        allow_open_files(settings.connections_max)
        asyncio.run(until_signalled(lambda: _work(settings, writer, given), quiet=True))
    finally:
        writer.close(settings.log_flush_timeout_s)


async def _work(settings: Settings, writer: LogWriter, given: dict[str, Any]) -> None:
    listeners = [socket.socket(fileno=file) for file in given["listen"]]
    line = socket.socket(fileno=given["line"])
    callbacks = len(listeners) - given["admin_listeners"]
    membership = Membership(
        given["number"], given["workers"], listeners[:callbacks], line, settings, listeners[callbacks:]
    )
    async with running(settings, traces(os.environ), writer, membership) as app:
        spare_the_collector()
        await app.run()
