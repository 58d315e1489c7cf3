"""How the tests themselves are run: what hangs is ended, and what is drawn is drawn alike in every run."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import hypothesis
import pytest

from tests.support.program import CHECKOUT

HANGS = """
import threading

def test_that_hangs():
    threading.Event().wait()

def test_after_it():
    pass
"""


@pytest.mark.parametrize("workers", ["0", "2"])
async def test_one_that_hangs_ends_the_run_with_its_stacks(tmp_path: Path, workers: str) -> None:
    """The stacks of all threads say where it hangs, also when it is run by a worker."""
    (tmp_path / "test_it.py").write_text(HANGS)
    settings = ("-c", CHECKOUT / "pyproject.toml", "--override-ini", "faulthandler_timeout=1", "-p", "no:cacheprovider")
    folders = ("--rootdir", tmp_path, "--basetemp", tmp_path / "folders")
    as_make = ("--numprocesses", workers, "--dist", "load", "--maxschedchunk", "1", "--max-worker-restart", "0")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", *settings, *folders, *as_make, "test_it.py",
        cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    said = output.decode()
    assert process.returncode == 1, said
    assert "in test_that_hangs" in said


def test_examples_are_the_same_in_every_run() -> None:
    """A run that fails can be repeated; `make random` draws new examples."""
    drawn = hypothesis.settings()
    assert drawn.derandomize or hypothesis.settings.get_current_profile_name() == "random"
