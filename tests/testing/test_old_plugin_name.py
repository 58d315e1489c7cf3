"""`receiver.testing`, the old name of `esc_lab.fixtures`, still works as a pytest plugin, and says that it is old."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.support.program import CHECKOUT


async def test_the_old_plugin_name_works_with_a_warning(tmp_path: Path) -> None:
    """A test suite that names it has the fixture `esc_lab`, and a DeprecationWarning that names the new one."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["receiver.testing"]\n')
    (tmp_path / "test_one.py").write_text("def test_one(request):\n    assert request.getfixturevalue\n")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", tmp_path, "-W", "default"),
        *("--fixtures", tmp_path),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=tmp_path,
        env={"PYTHONPATH": str(CHECKOUT), "PATH": ""},
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert "\nesc_lab" in output.decode()
    assert "receiver.testing is now esc_lab.fixtures" in output.decode()
