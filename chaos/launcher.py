"""Starts receivers as processes, most of them forked from one that has the receiver's program loaded already.

Loading takes seconds of a run that lasts a few. From `main` on all is as with `esc-receiver serve`.
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

LOADED = ("receiver.cli.main", "receiver.cli.serve", "receiver.app")
"""The program, the command that it is started with, and what that loads."""


class ReceiverProcess(Protocol):
    """A running receiver."""

    @property
    def pid(self) -> int | None:
        """Its id."""

    @property
    def exitcode(self) -> int | None:
        """How it ended; negative for a signal, None while it lives."""


class SpawnedProcess:
    """A receiver started from its program file."""

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


def spawn_receiver(log: Path, environment: Mapping[str, str]) -> ReceiverProcess:
    """A receiver started from its program file: for an environment that must be set before Python starts."""
    with log.open("ab") as output:
        command = [sys.executable, "-m", "receiver", "serve"]
        return SpawnedProcess(
            Popen(command, env=environment, stdin=DEVNULL, stdout=output, stderr=output, start_new_session=True)  # noqa: S603 - our own program
        )


def fork_receiver(log: Path, environment: Mapping[str, str]) -> ReceiverProcess:
    """A receiver forked from a process that has loaded it, with this environment, writing to `log`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *LOADED])
    process = context.Process(target=_run_receiver, args=(str(log), dict(environment)), daemon=True)
    process.start()
    return process


def _run_receiver(log: str, environment: dict[str, str]) -> None:
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
    signal.signal(signal.SIGUSR1, _print_tasks)
    os.environ.clear()
    os.environ.update(environment)
    main(["serve"])


def _print_tasks(*_: object) -> None:
    """Prints what each task waits for into the log, to explain a receiver that does not end."""
    for task in asyncio.all_tasks():
        task.print_stack()
    sys.stderr.flush()
