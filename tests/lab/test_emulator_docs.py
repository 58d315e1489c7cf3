"""The page about the emulator does what it says: its walk is walked with curl, its example runs as a user's test."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from esc_lab.emulator import Options, emulating
from receiver.app import running
from receiver.config.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of the page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


async def said(*command: str, folder: Path, **environ: str) -> tuple[int | None, str]:
    """A program run to its end: exit status, and all it said."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_the_walk_is_walked(postgres_dsn: str, nats_url: str, tmp_path: Path) -> None:
    """Every command of it, one after the other, in a shell that stops at the first that fails."""
    settings = Settings(postgres_dsn=postgres_dsn, nats_url=nats_url, port=0, data_dir=tmp_path)
    async with running(settings) as app, emulating(Options(port=0, time_scale=0.001, seed=1)) as emulator:
        await app.until_ready()
        script = "\n".join(["set -eu", *blocks("sh")])
        status, output = await said("sh", "-c", script, folder=tmp_path, ESC=emulator.url, RECEIVER=app.url)
    assert status == 0, output
    outcomes = re.findall('^"state":"([A-Z]+)"$', output, re.MULTILINE)
    # A tenant, a deploy, a recovery; a deploy that fails, and its undeploy.
    assert outcomes == ["SUCCEEDED", "SUCCEEDED", "SUCCEEDED", "FAILED", "SUCCEEDED"], output
    assert output.count("<vm_state_machine_state>VM_ALIVE_STATE") == 2
    assert '"says": "SERVICE_UNDEPLOYED"' in output


async def test_the_example_of_the_fixture_passes(tmp_path: Path) -> None:
    """As a user's test, in a folder of its own, without any setting of this project."""
    (example,) = blocks("python")
    (tmp_path / "test_example.py").write_text(example)
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp=folders", "test_example.py")
    status, output = await said(*command, folder=tmp_path)
    assert (status, "2 passed" in output) == (0, True), output
