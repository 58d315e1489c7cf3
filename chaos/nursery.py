"""Processes that serve, forked from one that has the receiver's program loaded already.

To load it takes seconds of a run that lasts a few. From `main` on all is as with `esc-receiver serve`.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path

PROGRAM = "receiver.cli"


def born(log: Path, environment: Mapping[str, str]) -> ForkServerProcess:
    """A receiver on its way, with this environment, writing to `log`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, PROGRAM])
    process = context.Process(target=_live, args=(str(log), dict(environment)), daemon=True)
    process.start()
    return process


def _live(log: str, environment: dict[str, str]) -> None:
    from receiver.cli import main  # noqa: PLC0415 - loaded once, by the process that this one is forked from

    os.setsid()
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, log, os.O_WRONLY | os.O_APPEND | os.O_CREAT),
        (2, log, os.O_WRONLY | os.O_APPEND),
    ):
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    signal.signal(signal.SIGUSR1, _tell)
    os.environ.clear()
    os.environ.update(environment)
    main(["serve"])


def _tell(*_: object) -> None:
    """What it waits for, in its log: for one that does not end."""
    for task in asyncio.all_tasks():
        task.print_stack()
    sys.stderr.flush()
