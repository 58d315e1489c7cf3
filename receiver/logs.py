"""How log lines look: text for people on a terminal, JSON elsewhere. Must not know who logs."""

from __future__ import annotations

import logging
import sys

import structlog

from receiver.settings import Settings


def configure(settings: Settings) -> None:
    """Send every log line to standard error, in the form that the settings ask for."""
    on_terminal = sys.stderr.isatty()
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not on_terminal)
    final = structlog.processors.JSONRenderer() if as_json else _console(colors=on_terminal)
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


def _console(*, colors: bool) -> structlog.dev.ConsoleRenderer:
    """Tracebacks are plain: the default shows local variables, so secrets, and takes seconds over a large batch."""
    return structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)


def _unchanged(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """The console draws tracebacks itself."""
    return event
