"""Logs a trouble that lasts once, not at every attempt that meets it. Must not know what is attempted."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from receiver.errors import describe

log = structlog.get_logger()


class TroubleLog:
    """One line when a trouble begins; another only after it has passed or, if wanted, for another reason."""

    def __init__(self, event: str, level: int = logging.WARNING, *, each_reason: bool = True) -> None:
        self._event = event
        self._level = level
        self._each_reason = each_reason
        self.why = ""
        """Of the last attempt that failed; empty while there is no trouble."""

    @contextmanager
    def attempt(self, expected: tuple[type[Exception], ...], *, bug: str) -> Iterator[None]:
        """One of a background job, which goes on: an expected error is reported, any other is logged as `bug`."""
        try:
            yield
        except expected as error:
            self.report(describe(error))
        except Exception:
            log.exception(bug)
        else:
            self.clear()

    def report(self, why: str) -> None:
        """The attempt failed because of this."""
        if not self.why or (self._each_reason and why != self.why):
            log.log(self._level, self._event, why=why)
        self.why = why

    def clear(self) -> None:
        """The attempt succeeded: the next trouble is a new one."""
        self.why = ""
