"""The pure rooms can be compiled; that they then do the same shows `make compiled`, which runs all tests with them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.program import CHECKOUT
from tools.compiled_wheel import ROOMS, prepared

TRANSLATE = "import setuptools, sys; from mypyc.build import mypycify; mypycify(sys.argv[1:], target_dir='translated')"
"""Into C, which the C compiler takes: it is this step that knows less than Python does."""


def test_the_pure_rooms_can_be_translated(tmp_path: Path) -> None:
    """With nothing installed of what they import that is not on this machine, and nothing left beside the sources."""
    files = prepared(CHECKOUT, tmp_path)
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-c", TRANSLATE, *files], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {Path(file).parent.name for file in files} == set(ROOMS)
    assert list(tmp_path.glob("translated/*.c"))
