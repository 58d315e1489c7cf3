"""The machine's clock as one receiver sees it, which can be set back: by libfaketime, where it is installed.

It stands between the process and the C library, so Python, its extensions and SQLite all see the same time; how long
something took (the monotonic clock) stays true. Must not know what the time is used for.
"""

from __future__ import annotations

from pathlib import Path

PLACES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/libfaketimeMT.so.1")
"""Of the Debian package `faketime`."""


class Clock:
    """Of one receiver; `settable` tells whether it can be set."""

    def __init__(self, file: Path) -> None:
        found = sorted(path for place in PLACES for path in Path("/").glob(place.removeprefix("/")))
        self.settable = bool(found)
        self._library = found[0] if found else None
        self._file = file

    def environment(self) -> dict[str, str]:
        """For a process that is to see this clock; nothing where it cannot be set."""
        if self._library is None:
            return {}
        self.set_back(0)
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def set_back(self, by_s: int) -> None:
        """So far behind the true time; 0: right again."""
        draft = self._file.with_suffix(".new")
        draft.write_text(f"-{by_s}\n" if by_s else "+0\n")
        draft.replace(self._file)
