"""What the pages tell people to type works: each `curl` of docs/api.md, and the example of an orchestrator."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from esc_lab.emulator import Faults, Options, emulating
from esc_lab.simulator import SimulateOptions, simulate
from receiver.app import App
from tests.support.browser import named, post, receiving
from tests.support.query_api import ALIVE, DEPLOYED, SERVICE_ALIVE

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "api.md").read_text("utf-8")
LINES = [line for block in re.findall(r"(?ms)^```sh\n(.*?)^```", PAGE) for line in block.splitlines() if "curl" in line]
EXAMPLE = DOCS / "examples" / "orchestrate.sh"
CUT_OFF = 28
"""curl's exit status when its time is over: a feed has no end."""

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")


@pytest.fixture
async def app(postgres_dsn: str, nats_url: str, tmp_path: Path) -> AsyncIterator[App]:
    """A receiver."""
    async with receiving(postgres_dsn, nats_url, tmp_path) as app:
        await app.until_ready()
        yield app


async def shell(script: str, *arguments: str | Path, **environment: str) -> tuple[int, str]:
    """Exit status and output of a shell; `esc-receiver` is the program of these tests."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", script, "sh", *map(str, arguments), stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PATH": path, **environment},
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


def test_the_page_has_lines_to_copy() -> None:
    """At least one for each way of asking."""
    text = "\n".join(LINES)
    assert len(LINES) >= 7
    assert all(word in text for word in ("/vms", "/operations/", "wait=", "/feed", "Last-Event-ID", "/explain/"))


async def test_every_curl_of_the_page_is_answered(app: App) -> None:
    """Against a receiver that has played some traffic, and knows the transaction and the VM that they name."""
    await simulate(SimulateOptions(target=app.url, seed=7, deployments=3, operations=3, rate=0))
    await post(app, named((DEPLOYED, ALIVE, SERVICE_ALIVE), "vm-1"))
    _, listed = await shell('curl -s "$BASE/transitions?limit=1"', BASE=f"{app.url}/api/v1")
    position = json.loads(listed)["items"][0]["position"]
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    for line in LINES:
        is_feed = "/feed" in line
        script = f'curl() {{ command curl -f --max-time {2 if is_feed else 60} "$@"; }}\n{line}'
        status, output = await shell(script, BASE=f"{app.url}/api/v1", POSITION=position, AT=now)
        assert status == (CUT_OFF if is_feed else 0), (line, output)
        assert ("retry: " if is_feed else "{") in output, line


@pytest.mark.parametrize(
    ("faults", "status", "words"), [("", 0, "SUCCEEDED deploy"), ("vm-fails=1", 1, "FAILED deploy")]
)
async def test_the_orchestrator_of_the_example(app: App, faults: str, status: int, words: str) -> None:
    """It orders from an ESC, waits for the end, and ends as the operation did."""
    async with emulating(Options(port=0, time_scale=0.0, seed=1, faults=Faults.of(faults))) as esc:
        ended, output = await shell(
            f'"{EXAMPLE}" "$@"', "my-id", EXAMPLE.parent / "deployment.xml", ESC=esc.url, RECEIVER=app.url, TIMEOUT="60"
        )
    assert (ended, words in output) == (status, True), output
