"""What `serve` asks of the system before it serves."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from receiver.cli.serve import allow_open_files
soft, hard = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
allow_open_files(2000)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def files_allowed(soft: int, hard: int) -> list[str]:
    """What a process of its own says that begins with these limits, for 2,000 connections."""
    command = [sys.executable, "-c", PROGRAM, str(soft), str(hard)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  # ours
    return done.stdout.strip().splitlines()


@pytest.mark.parametrize(("soft", "hard", "then"), [(256, 4000, 2128), (3000, 4000, 3000)])
def test_as_many_files_may_be_open_as_connections_are_allowed(soft: int, hard: int, then: int) -> None:
    """A low limit of the shell is raised, a high one left alone."""
    assert files_allowed(soft, hard) == [str(then)]


def test_a_system_that_allows_fewer_is_told_of() -> None:
    """All that can be had is taken, and one line names the setting."""
    warning, files = files_allowed(256, 1000)
    assert files == "1000"
    assert "ESC_RECEIVER_CONNECTIONS_MAX" in warning
