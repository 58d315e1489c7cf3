"""A log that cannot be written: nobody waits for it, nothing fails, and what is missing is counted and summed up."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.observability.log_writer import LogWriter

PIPE_BYTES = 65_536
PATIENCE_S = 60
LINE = b"x" * 1023 + b"\n"


class Dropped:
    """Counts what a writer drops."""

    def __init__(self, writer: LogWriter) -> None:
        self.lines = 0
        writer.count_dropped(self._count)

    def _count(self, lines: int) -> None:
        self.lines += lines


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Its reading and its writing end; a test may close the former."""
    read, write = os.pipe()
    yield read, write
    os.close(write)


def read_all(file: int, length: int) -> bytes:
    """So many bytes of a pipe."""
    read = b""
    while len(read) < length:
        read += os.read(file, length - len(read))
    return read


def test_lines_are_written_in_their_order(pipe: tuple[int, int]) -> None:
    """All of them before the end."""
    writer = LogWriter(pipe[1], 1_000_000)
    lines = [b"%d\n" % number for number in range(1000)]
    for line in lines:
        writer.write(line)
    writer.close(PATIENCE_S)
    assert os.read(pipe[0], PIPE_BYTES) == b"".join(lines)
    os.close(pipe[0])


@pytest.mark.parametrize("blocking", [True, False])
def test_a_stalled_reader_costs_lines_and_is_told_how_many(pipe: tuple[int, int], blocking: bool) -> None:
    """The queue holds what its limit allows; what came later is summed up as soon as the reader reads on."""
    read, write = pipe
    os.set_blocking(write, blocking)
    writer = LogWriter(write, 100 * len(LINE))
    writer.sum_up_dropped(lambda lines: b"%d are missing\n" % lines)
    dropped = Dropped(writer)
    for _ in range(300):  # the pipe holds 64 of them, which leave the queue only when all they came with are written
        writer.write(LINE)
    assert 300 - 164 <= dropped.lines <= 200
    kept = 300 - dropped.lines
    summary = b"%d are missing\n" % dropped.lines
    assert sorted(set(read_all(read, kept * len(LINE) + len(summary)).splitlines(keepends=True))) == [summary, LINE]
    writer.close(PATIENCE_S)
    os.close(read)


def test_the_end_does_not_wait_for_a_stalled_reader(pipe: tuple[int, int]) -> None:
    """Not for longer than allowed; whatever else is written to the file then goes nowhere."""
    read, write = pipe
    writer = LogWriter(write, 1_000_000)
    for _ in range(100):
        writer.write(LINE)
    writer.close(0.01)
    os.write(write, 100 * LINE)
    os.close(read)


def test_lines_that_nobody_can_read_are_counted(pipe: tuple[int, int]) -> None:
    """The reader has gone."""
    os.close(pipe[0])
    writer = LogWriter(pipe[1], 1_000_000)
    writer.write(LINE + LINE)
    writer.write(LINE)
    writer.close(PATIENCE_S)
    assert Dropped(writer).lines == 3


def test_a_log_that_was_never_open_drops_all() -> None:
    """As with `2>&-`: the number may long be another file's."""
    writer = LogWriter(None, 1_000_000)
    dropped = Dropped(writer)
    writer.write(LINE)
    writer.close(PATIENCE_S)
    writer.write(LINE)
    assert dropped.lines == 2


FULL_DISK = """
import os, resource, sys
from receiver.observability.log_writer import LogWriter
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
writer = LogWriter(log, 1_000_000)
writer.sum_up_dropped(lambda lines: b"%d are missing\\n" % lines)
writer.write(b"first\\nsecond\\nthird\\n")
while not writer._unreported:
    pass
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
writer.write(b"fourth\\n")
writer.close(60)
"""
"""A file that takes ten bytes, and then as many as one likes: as a disk that is full for a while."""


def test_a_line_that_was_cut_does_not_take_the_next_one_along(tmp_path: Path) -> None:
    """What comes once there is room again begins on a line of its own, and the missing lines are summed up."""
    log = tmp_path / "log"
    subprocess.run([sys.executable, "-c", FULL_DISK, log], check=True, timeout=PATIENCE_S)  # noqa: S603  # ours
    assert log.read_text() == "first\nseco\nfourth\n2 are missing\n"
