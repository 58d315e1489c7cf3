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
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Protocol

PROGRAM = "receiver.cli.main"


class Born(Protocol):
    """A process on its way."""

    @property
    def pid(self) -> int | None:
        """Its id."""

    @property
    def exitcode(self) -> int | None:
        """How it ended; negative for a signal, None while it lives."""


class Alone:
    """One that was started from a program file."""

    def __init__(self, popen: Popen[bytes]) -> None:
        self._popen = popen

    @property
    def pid(self) -> int | None:
        """Its id."""
        return self._popen.pid

    @property
    def exitcode(self) -> int | None:
        """How it ended; negative for a signal, None while it lives."""
        return self._popen.poll()


def born_alone(log: Path, environment: Mapping[str, str]) -> Born:
    """The same, from the beginning: for an environment that counts before Python begins."""
    with log.open("ab") as output:
        command = [sys.executable, "-m", "receiver", "serve"]
        return Alone(
            Popen(command, env=environment, stdin=DEVNULL, stdout=output, stderr=output, start_new_session=True)  # noqa: S603 - our own program
        )


def born(log: Path, environment: Mapping[str, str]) -> Born:
    """A receiver on its way, with this environment, writing to `log`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, PROGRAM])
    process = context.Process(target=_live, args=(str(log), dict(environment)), daemon=True)
    process.start()
    return process


def _live(log: str, environment: dict[str, str]) -> None:
    from receiver.cli.main import main  # noqa: PLC0415 - loaded once, by the process that this one is forked from

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
