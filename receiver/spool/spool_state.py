"""What is known of the spool: how much it holds, how much of the disk it takes, when it is tried again.

Must not know files or SQL: it is given what was measured (`table`, `folder`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import structlog

from receiver.errors import SpoolBrokenError
from receiver.spool.table import COMMIT_BYTES, FileSize

SHRINK_BYTES = 1_048_576
"""A file that has nothing in it is made small again when it is larger."""
RESERVE_BYTES_MAX = 16_777_216
"""More than the log and a group in it: so much may have to be copied into the database before space is won."""
RESERVE_SHARE = 8
LOG_BYTES_MAX = 4_194_304
LOG_BYTES_MIN = 65_536
LOG_SHARE = 32
"""Of a small spool these are not more than such a part."""
LONG_S = 1.0
RETRY_RATIO = 10
"""What took longer than that and failed is tried again only after so many times as long."""

log = structlog.get_logger()


class SpoolState(NamedTuple):
    """What is in the file; replaced as a whole, so that another thread may look."""

    callbacks: int = 0
    bytes: int = 0
    """Pages in use, and the log. Free pages inside the file are not counted: they are used before it grows."""
    full: bool = False
    """Whether the next group could go beyond the ceiling."""
    oldest: datetime | None = None
    trouble: str | None = None
    """Why the last operation failed; None when it succeeded."""


class SpoolStatistics:
    """Callbacks in the file, and those found or missing at an opening. Of one process."""

    def __init__(self) -> None:
        self.count = 0
        """In the file now, by our own operations."""
        self.recovered = 0
        """Found in it that this process had not put there, or had taken for deleted."""
        self.lost = 0
        """Known to have been in it, that a damaged file no longer gives back."""
        self._maybe_deleted: set[int] = set()
        """Positions whose deletion failed to commit."""

    def note_deletion(self, positions: Iterable[int], *, is_certain: bool) -> None:
        """Whether a deletion that was not certain happened shows at the next opening; a certain one explains nothing
        that is missing later."""
        change = self._maybe_deleted.difference_update if is_certain else self._maybe_deleted.update
        change(positions)

    def note_opening(self, expected: int | None) -> None:
        """`count` is what an opening found; `expected` is None at the first one."""
        if expected is None:
            self.recovered = self.count
            return
        self.recovered += max(0, self.count - expected)
        missing = expected - len(self._maybe_deleted) - self.count
        self._maybe_deleted.clear()
        if missing > 0:
            self.lost += missing
            log.error("callbacks that were kept are missing from the spool", callbacks=missing)


class DiskQuota:
    """How much of the disk the file may take: its ceiling, its log, and what is set apart for a full disk."""

    def __init__(self, bytes_max: int) -> None:
        self.reserve_bytes = min(RESERVE_BYTES_MAX, bytes_max // RESERVE_SHARE)
        self.log_bytes_max = max(LOG_BYTES_MIN, min(LOG_BYTES_MAX, bytes_max // LOG_SHARE))
        self.bytes = 0
        self.full = False
        self._bytes_max = bytes_max
        self._size = FileSize()
        self._log_bytes_used = 0
        """About how much is in the log that is not in the database yet."""

    def measured(self, size: FileSize, log_bytes: int) -> None:
        """What the file takes after an operation."""
        self._log_bytes_used += abs(size.bytes_used - self._size.bytes_used) + COMMIT_BYTES
        self._size = size
        self.bytes = size.bytes_used + log_bytes
        most = size.bytes_used + max(log_bytes, self.log_bytes_max) + self.reserve_bytes
        self.full = most >= self._bytes_max

    def checkpointed(self) -> None:
        """What the log held is in the database, as far as possible."""
        self._log_bytes_used = 0

    @property
    def is_checkpoint_due(self) -> bool:
        """Whether the log is as long as it may become."""
        return self._log_bytes_used > self.log_bytes_max

    @property
    def is_worth_shrinking(self) -> bool:
        """Whether an empty file takes more space than it should."""
        return self._size.bytes_all > SHRINK_BYTES


class RetryPause:
    """After a failure nothing is tried for a while; what took long and failed, for a longer one."""

    def __init__(self, retry_s: float) -> None:
        self._retry_s = retry_s
        self._ends_at_s = 0.0
        self._why = ""

    def begin(self, why: str, took_s: float) -> None:
        """An operation failed."""
        self._why = why
        self._ends_at_s = time.monotonic() + (self._retry_s if took_s < LONG_S else RETRY_RATIO * took_s)

    def end(self) -> None:
        """What was in the way may be gone."""
        self._ends_at_s = 0.0

    def check(self) -> None:
        """Raises SpoolBrokenError when it is too soon."""
        if time.monotonic() < self._ends_at_s:
            raise SpoolBrokenError(f"the spool does not work: {self._why}")
