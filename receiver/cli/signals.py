"""Runs work until a signal ends it: the same for every command that goes on until Ctrl-C.

This file must not know what the work is.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterable

import structlog

log = structlog.get_logger()

EXIT_AT_ONCE = 130


async def until_signalled(
    work: Callable[[], Awaitable[None]],
    signals: Iterable[signal.Signals] = (signal.SIGINT, signal.SIGTERM),
    *,
    at_once: Callable[[], None] = lambda: None,
    quiet: bool = False,
) -> None:
    """Run `work` until it ends, or until one of `signals` cancels it; a second one does `at_once` and exits."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work())
    asked = False

    def asked_to_stop() -> None:
        nonlocal asked
        if asked:
            at_once()
            os._exit(EXIT_AT_ONCE)
        asked = True
        task.cancel()  # before the line: a log that cannot be written must not keep us
        if not quiet:
            log.info("stopping; a second signal exits at once")

    for number in signals:
        loop.add_signal_handler(number, asked_to_stop)
    try:
        await task
    except asyncio.CancelledError:
        if not asked:
            raise
