"""Callbacks to a source that nobody has configured, as by a mistyped URL: how many are kept as dead letters, what
their source is called, and the line that says so.

Must not know how a callback is kept, nor how a refusal is answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from shlex import quote
from typing import Final

import structlog

from receiver.config.settings import Settings
from receiver.errors import UnknownSourceError
from receiver.model.sanitize import sanitize
from receiver.redaction.redactor import Redactor

log = structlog.get_logger()

_HOUR_S: Final = 3_600
NAME_CHARACTERS_MAX: Final = 128
"""More than the name of a source may have (`config.sources`), so what is cut off cannot make it one."""
NAMES_MAX: Final = 1_000
"""Names that were told of; more are kept, and not told of one by one."""


class UnknownSources:
    """Those of one receiver."""

    def __init__(self, settings: Settings, redactor: Redactor, clock: Callable[[], float] = time.time) -> None:
        self._callbacks_max = settings.unknown_source_per_hour if settings.unknown_source == "keep" else 0
        self._redactor = redactor
        self._clock = clock
        self._hour, self._kept = 0, 0
        self._told: set[str] = set()

    def name(self, asked: str) -> str:
        """A name from outside as it may be kept."""
        return self._redactor.text(sanitize(asked))[:NAME_CHARACTERS_MAX]

    def take(self, name: str, peer: str | None) -> None:
        """One more callback is kept. Raises UnknownSourceError where none is, or no more of this hour."""
        hour = int(self._clock() // _HOUR_S)
        if hour != self._hour:
            self._hour, self._kept = hour, 0
        if self._kept >= self._callbacks_max:
            kept = f"; {self._callbacks_max} are kept an hour (unknown_source_per_hour)" if self._callbacks_max else ""
            raise UnknownSourceError(f"no such source{kept}")
        self._kept += 1
        self._tell(name, peer)

    def _tell(self, name: str, peer: str | None) -> None:
        if name in self._told or len(self._told) >= NAMES_MAX:
            return
        self._told.add(name)
        log.warning(
            "callbacks come to a source that is not configured; they are kept as dead letters, not applied",
            source=name, peer=peer, move=f"esc-receiver replay --source {quote(name)} --to-source NAME",
        )  # fmt: skip
