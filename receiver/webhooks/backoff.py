"""When a delivery that failed is tried again: after a pause that doubles, drawn so that not all come at once.

Pure but for the generator of chances that it is given. Must not know why a delivery failed.
"""

from __future__ import annotations

from datetime import datetime
from email.utils import parsedate_to_datetime
from random import Random

from receiver.config.settings import Settings

_DOUBLED_MAX = 32


def pause_s(failures: int, settings: Settings, chance: Random) -> float:
    """The pause after so many failures, at least one: between half and all of what they make of the first."""
    longest: float = settings.webhook_retry_first_s * 2 ** min(failures - 1, _DOUBLED_MAX)
    return min(longest, settings.webhook_retry_max_s) * chance.uniform(0.5, 1.0)


def asked_pause_s(retry_after: str | None, now: datetime, longest_s: float) -> float:
    """What `Retry-After` asks for, in seconds or as a date; 0 when it says nothing that can be understood."""
    text = (retry_after or "").strip()
    if text.isdecimal() and text.isascii():
        wanted = float(text[:12])
    else:
        try:
            wanted = (parsedate_to_datetime(text) - now).total_seconds()
        except (ValueError, TypeError):  # no date, or one without a zone
            return 0.0
    return min(max(0.0, wanted), longest_s)
