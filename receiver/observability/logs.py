"""The form of log lines: text for people on a terminal, JSON elsewhere. Must not know who logs.

The service's lines are written by a `LogWriter`, also those of libraries; a command's go straight to standard error.
The lines of callbacks (`CallbackLines`) bypass structlog's processors: thousands a second through them would cost a
tenth of the time that a callback takes.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable, Mapping
from io import StringIO
from typing import Any, TextIO

import orjson
import stamina.instrumentation
import structlog

from receiver.config.settings import Settings
from receiver.model.sanitize import plain
from receiver.observability.log_writer import LogWriter

_DELETE = "\x7f"
"""The only control character of ASCII that JSON leaves as it is."""


def standard_error(settings: Settings, shared_lock: int | None = None) -> LogWriter:
    """The writer of the service's log; to be closed last. With `shared_lock` others write to it too."""
    file = sys.stderr.fileno() if sys.stderr else None
    return LogWriter(file, settings.log_queue_bytes_max, settings.log_gather_s, shared_lock)


def configure(settings: Settings, writer: LogWriter | None = None) -> None:
    """Send every log line to standard error, in the form that the settings ask for; through `writer` if there is one.

    With it, lines of libraries and warnings of Python take the same way.
    """
    as_json = _is_json(settings)
    final = structlog.processors.JSONRenderer(_to_json) if as_json else _console(colors=_is_terminal())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if as_json else _with_plain_texts,
            final,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.log_level.upper()]),
        logger_factory=(lambda *_: _Lines(writer.write)) if writer else structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Code that retries logs this itself, once per failure; stamina would log it again, with the arguments.
    stamina.instrumentation.set_on_retry_hooks(())
    if writer:
        writer.sum_up_dropped(_summary)
        logging.basicConfig(handlers=[_FromLibraries()], force=True)
        logging.root.handlers[0].addFilter(_is_news)
        logging.captureWarnings(True)


def at_any_level() -> structlog.typing.FilteringBoundLogger:
    """A logger for the few lines that are written whatever `log_level` is."""
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        None, wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET)
    )
    return logger


class CallbackLines:
    """One line for each callback, at level info; those of one turn of the event loop are written together.

    They go where other lines went when this was made.
    """

    def __init__(self, settings: Settings) -> None:
        self.enabled = settings.log_callbacks and settings.log_level in ("debug", "info")
        self._as_json = _is_json(settings)
        self._lines: list[bytes] = []
        self._log = structlog.get_config()["logger_factory"]()

    def write(self, facts: Mapping[str, Any]) -> None:
        """Write a line, `event` among its facts; to be called only when `enabled`."""
        if not self._as_json:
            structlog.get_logger().info(**{name: value for name, value in facts.items() if value is not None})
            return
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._flush)
        self._lines.append(orjson.dumps(facts))

    def _flush(self) -> None:
        lines, self._lines = b"\n".join(self._lines).decode(), []
        if not lines.isascii() or _DELETE in lines:
            lines = "\n".join(map(plain, lines.split("\n")))
        self._log.msg(lines)


class _Lines:
    """What structlog asks of a logger: a method for each level, which takes the finished line."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    def msg(self, line: str) -> None:
        """Write it; several lines may come as one."""
        self._write(line.encode(errors="backslashreplace") + b"\n")

    log = debug = info = warning = error = critical = msg


class _FromLibraries(logging.Handler):
    """What libraries say through `logging`, as lines like ours."""

    def emit(self, record: logging.LogRecord) -> None:
        """At its own level, with the library's name for itself."""
        structlog.get_logger().log(
            record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info or None
        )


def _is_news(record: logging.LogRecord) -> bool:
    """False of asyncio's complaint that nobody asked how a connection ended which had been given up before.

    asyncpg leaves such a thing behind when its time to connect is over just as the server takes the connection.
    """
    error = record.exc_info[1] if record.exc_info else None
    forgotten = record.name == "asyncio" and record.getMessage().startswith("Future exception was never retrieved")
    return not (forgotten and isinstance(error, ConnectionError))


def _summary(lines: int) -> bytes:
    """The line about lines that were dropped, whatever `log_level` is."""
    made: list[bytes] = []
    logger = structlog.wrap_logger(_Lines(made.append), wrapper_class=structlog.make_filtering_bound_logger(0))
    logger.warning("log lines were dropped: nobody took them, or they could not be written", lines=lines)
    return b"".join(made)


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _is_json(settings: Settings) -> bool:
    return settings.log_format == "json" or (settings.log_format == "auto" and not _is_terminal())


def _console(*, colors: bool) -> structlog.dev.ConsoleRenderer:
    """With plain tracebacks: the default shows local variables, so secrets, and takes seconds for a large batch."""
    return structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=_write_traceback)


def _write_traceback(file: TextIO, error: structlog.typing.ExcInfo) -> None:
    text = StringIO()
    structlog.dev.plain_traceback(text, error)
    file.write("\n".join(map(plain, text.getvalue().split("\n"))))


def _with_plain_texts(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Nothing that came from outside steers the terminal or begins a line; the console draws tracebacks itself."""
    return {name: plain(value) if isinstance(value, str) else value for name, value in event.items()}


def _to_json(event: structlog.typing.EventDict, **options: Any) -> str:
    return plain(json.dumps(event, ensure_ascii=False, **options))
