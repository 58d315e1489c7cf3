"""How much of the disk the spool may use, and uses: its ceiling, its log, and what is set apart for a full disk.

Must not know files or SQL: it is told what was measured (`table`, `folder`).
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from receiver.spool.table import COMMIT_BYTES, Measure

SHRINK_BYTES = 1_048_576
"""A file that has nothing in it is made small again when it is larger."""
RESERVE_BYTES_MAX = 16_777_216
"""More than the log and a group in it: so much may have to be copied into the database before room is won."""
RESERVE_SHARE = 8
LOG_BYTES_MAX = 4_194_304
LOG_BYTES_MIN = 65_536
LOG_SHARE = 32
"""Of a small spool these are not more than such a part."""


class State(NamedTuple):
    """What is in the file; replaced as a whole, so that another thread may look."""

    callbacks: int = 0
    bytes: int = 0
    """PageReader in use, and the log. Free pages inside the file are not counted: they are used before it grows."""
    full: bool = False
    """Whether the next group could go beyond the ceiling."""
    oldest: datetime | None = None
    trouble: str | None = None
    """Why the last thing asked of it was not done."""


class DiskQuota:
    """That of one file."""

    def __init__(self, bytes_max: int) -> None:
        self.reserve_bytes = min(RESERVE_BYTES_MAX, bytes_max // RESERVE_SHARE)
        self.log_bytes_max = max(LOG_BYTES_MIN, min(LOG_BYTES_MAX, bytes_max // LOG_SHARE))
        self.bytes = 0
        self.full = False
        self._bytes_max = bytes_max
        self._used = self._all = 0
        self._unfolded = 0
        """About how much is in the log that is not in the database yet."""

    def measured(self, size: Measure, log_bytes: int) -> None:
        """Something was done; this is what the file takes now."""
        self._unfolded += abs(size.bytes_used - self._used) + COMMIT_BYTES
        self._used, self._all = size.bytes_used, size.bytes_all
        self.bytes = size.bytes_used + log_bytes
        most = size.bytes_used + max(log_bytes, self.log_bytes_max) + self.reserve_bytes
        self.full = most >= self._bytes_max

    @property
    def is_fold_due(self) -> bool:
        """Whether the log is as long as it may become."""
        return self._unfolded > self.log_bytes_max

    def folded(self) -> None:
        """What the log held is in the database, as far as could be."""
        self._unfolded = 0

    @property
    def is_worth_shrinking(self) -> bool:
        """Whether an empty file takes more room than it should."""
        return self._all > SHRINK_BYTES
