"""The form of log lines: text for people on a terminal, JSON elsewhere. Must not know who logs.

The lines of callbacks (`CallbackLines`) bypass structlog's processors: thousands a second through them would cost a
tenth of the time that a callback takes.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping
from typing import Any

import orjson
import structlog

from receiver.config.settings import Settings


def configure(settings: Settings) -> None:
    """Send every log line to standard error, in the form that the settings ask for."""
    as_json = _is_json(settings)
    final = structlog.processors.JSONRenderer() if as_json else _console(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if as_json else _unchanged,
            final,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.log_level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def at_any_level() -> structlog.typing.FilteringBoundLogger:
    """A logger for the few lines that are written whatever `log_level` is."""
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        None, wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET)
    )
    return logger


class CallbackLines:
    """One line for each callback, at level info; those of one turn of the event loop are written together."""

    def __init__(self, settings: Settings) -> None:
        self.enabled = settings.log_callbacks and settings.log_level in ("debug", "info")
        self._as_json = _is_json(settings)
        self._lines: list[bytes] = []

    def write(self, facts: Mapping[str, Any]) -> None:
        """Write a line, `event` among its facts; to be called only when `enabled`."""
        if not self._as_json:
            structlog.get_logger().info(**{name: value for name, value in facts.items() if value is not None})
            return
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._flush)
        self._lines.append(orjson.dumps(facts))

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        sys.stderr.buffer.write(b"\n".join(lines) + b"\n")
        sys.stderr.buffer.flush()


def _is_json(settings: Settings) -> bool:
    return settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())


def _console(*, colors: bool) -> structlog.dev.ConsoleRenderer:
    """With plain tracebacks: the default shows local variables, so secrets, and takes seconds for a large batch."""
    return structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)


def _unchanged(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """The console draws tracebacks itself."""
    return event
