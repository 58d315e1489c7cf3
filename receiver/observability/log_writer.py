"""Writes log lines on a thread of its own: who logs neither waits nor fails, even when the log cannot be written.

Lines wait in a queue that is bounded in bytes. A line that finds no room, or that cannot be written (the reader has
gone or stalls, the disk is full), is dropped and counted. The standard library's QueueListener is no help here: at the
end it waits without limit for a reader that has stalled. Must not know who logs, nor how a line looks.
"""

from __future__ import annotations

import fcntl
import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class LogWriter:
    """Writes to a file descriptor until `close`; None stands for a log that was closed before the program began."""

    def __init__(
        self, file: int | None, queue_bytes_max: int, gather_s: float = 0, shared_lock: int | None = None
    ) -> None:
        """From one write to the next `gather_s` pass, so that thousands of lines a second wake the thread seldom.

        `shared_lock` is a file that other processes lock too while they write to the same log: no line is torn.
        """
        self._shared_lock = shared_lock
        self._file = file
        self._queue_bytes_max = queue_bytes_max
        self._queue: list[bytes] = []
        self._queue_bytes = 0
        """Also those that are being written."""
        self._changed = threading.Condition()
        self._gather_s = gather_s
        self._closed = threading.Event()
        self._uncounted = 0
        self._unreported = 0
        self._count: Callable[[int], None] | None = None
        self._summary: Callable[[int], bytes] | None = None
        self._line_end = b""
        """What is missing of a line that could be written only in part."""
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def count_dropped(self, count: Callable[[int], None]) -> None:
        """Have `count` called with each number of dropped lines, first with those dropped until now."""
        with self._changed:
            self._count = count
            count(self._uncounted)

    def sum_up_dropped(self, summary: Callable[[int], bytes]) -> None:
        """Write the line that `summary` makes of the number of dropped lines, when lines can be written again."""
        self._summary = summary

    def write(self, lines: bytes) -> None:
        """Queue whole lines, each with its end. From any thread; never waits for the log, never raises."""
        with self._changed:
            if not self._closed.is_set() and self._queue_bytes + len(lines) <= self._queue_bytes_max:
                if not self._queue:
                    self._changed.notify()
                self._queue.append(lines)
                self._queue_bytes += len(lines)
                return
        self._drop(lines.count(b"\n"))

    def close(self, timeout_s: float) -> None:
        """Write what is queued, for this time at most. Afterwards nobody who uses the file waits for its reader."""
        with self._changed:
            self._closed.set()
            self._changed.notify()
        self._thread.join(timeout_s)
        if self._file is not None and (self._thread.is_alive() or not _takes_more(self._file)):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._file)
            os.close(nowhere)

    def _run(self) -> None:
        while lines := self._take():
            written = self._write(lines)
            with self._changed:
                self._queue_bytes -= len(lines)
            if written and self._unreported and self._summary:
                self._sum_up(self._summary)
            self._closed.wait(self._gather_s)

    def _take(self) -> bytes:
        """All that is queued, as soon as there is any; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed.is_set())
            taken, self._queue = b"".join(self._queue), []
        return taken

    def _sum_up(self, summary: Callable[[int], bytes]) -> None:
        with self._changed:
            lines, self._unreported = self._unreported, 0
        if not self._write(summary(lines)):
            with self._changed:
                self._unreported += lines

    def _write(self, lines: bytes) -> bool:
        """Whether all of it was written; the rest is dropped."""
        if self._file is None:
            self._drop(lines.count(b"\n"))
            return False
        whole = self._line_end + lines
        with _locked(self._shared_lock):
            written = _write_what_can_be(self._file, whole)
        if written:
            self._line_end = b"" if whole.endswith(b"\n", 0, written) else b"\n"
        if written < len(whole):
            self._drop(min(whole.count(b"\n", written), lines.count(b"\n")))
        return written == len(whole)

    def _drop(self, lines: int) -> None:
        with self._changed:
            self._unreported += lines
            if self._count:
                self._count(lines)
            else:
                self._uncounted += lines


@contextmanager
def _locked(file: int | None) -> Iterator[None]:
    """A record lock, which is a process's own even though all have inherited the same open file."""
    if file is not None:
        fcntl.lockf(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if file is not None:
            fcntl.lockf(file, fcntl.LOCK_UN)


def _write_what_can_be(file: int, whole: bytes) -> int:
    """How many bytes were written before the first failure."""
    written = 0
    with memoryview(whole) as view:
        while written < len(whole):
            try:
                written += os.write(file, view[written:])
            except BlockingIOError:  # whoever shares the file with us made it non-blocking
                select.select((), (file,), ())
            except OSError:
                break
    return written


def _takes_more(file: int) -> bool:
    return bool(select.select((), (file,), (), 0)[1])
