"""When each source was heard of last and what was refused of it, between two counts. Must not know who counts."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import NamedTuple


class Activity(NamedTuple):
    """What happened of one source."""

    source: str
    last_message_at: datetime | None = None
    refused: int = 0
    refused_at: datetime | None = None
    refused_because: str | None = None


class SourceActivity:
    """Collects it, of the configured sources, until it is taken."""

    def __init__(self, sources: Collection[str]) -> None:
        self._sources = frozenset(sources)
        self._known: dict[str, Activity] = {}
        self._heard_at: dict[str, datetime] = {}
        """Of each source, since it was taken last."""

    def kept(self, source: str, received_at: datetime) -> None:
        """A callback of it was kept."""
        if source in self._sources:
            self._heard_at[source] = received_at

    def refused(self, source: str, reason: str) -> None:
        """A callback of it was refused, for this reason."""
        if source in self._sources:
            known = self._of(source)
            self._known[source] = known._replace(
                refused=known.refused + 1, refused_at=datetime.now(UTC), refused_because=reason
            )

    def take(self) -> list[Activity]:
        """What happened since it was taken last."""
        for source, at in self._heard_at.items():
            self._known[source] = self._of(source)._replace(last_message_at=at)
        taken, self._known, self._heard_at = list(self._known.values()), {}, {}
        return taken

    def give_back(self, taken: Iterable[Activity]) -> None:
        """What could not be stored is taken once more."""
        for earlier in taken:
            later = self._of(earlier.source)
            self._known[earlier.source] = Activity(
                earlier.source, later.last_message_at or earlier.last_message_at, later.refused + earlier.refused,
                later.refused_at or earlier.refused_at, later.refused_because or earlier.refused_because,
            )  # fmt: skip

    def _of(self, source: str) -> Activity:
        return self._known.get(source, Activity(source))
