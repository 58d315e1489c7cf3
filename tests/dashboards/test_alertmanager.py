"""Who is told of an alert, and what is not told beside it: the stack's own file, on a real Alertmanager."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from receiver.embedded.child_process import free_port, listens
from tests.dashboards.test_alerts import DASHBOARDS, alerts
from tests.support.figures import installed, run_with_input
from tests.support.waiting import until

CONFIG = DASHBOARDS / "provisioning" / "alertmanager.yml"
PACKAGE = "prometheus-alertmanager"
FOLLOWS = {
    "EscSilence": {"alertname": "EscOutOfService", "source": "lab1"},
    "EscCountsStale": {"alertname": "EscPostgresAway", "instance": "a"},
    "EscRelayWithoutLeader": {"alertname": "EscReceiverDown"},
}
"""Alerts, and one that says why."""


@pytest.fixture(scope="session")
def amtool() -> Path:
    """Alertmanager's own judge of its file."""
    return installed("amtool", PACKAGE)


async def test_the_file_is_taken(amtool: Path) -> None:
    """`amtool check-config`."""
    status, said = await run_with_input(amtool, b"", "check-config", CONFIG)
    assert status == 0, said


@pytest.mark.parametrize("name", sorted(alerts()))
async def test_what_cannot_wait_goes_to_whoever_is_on_call(amtool: Path, name: str) -> None:
    """And all else to the team, by `amtool config routes test`."""
    severity = alerts()[name]["labels"]["severity"]
    told = {"critical": "on-call", "warning": "team"}[severity]
    status, said = await run_with_input(
        amtool, b"", "config", "routes", "test", f"--config.file={CONFIG}", f"--verify.receivers={told}",
        f"alertname={name}", f"severity={severity}",
    )  # fmt: skip
    assert status == 0, said


async def test_what_follows_from_something_worse_is_not_told_beside_it(tmp_path: Path) -> None:
    """Of an ESC that said it is out of service, and not of another one."""
    told = [{"alertname": name, "source": "lab1", "instance": "a"} for name in FOLLOWS]
    alone = {"alertname": "EscOperationsFailing", "source": "lab2"}
    async with alertmanager(tmp_path) as ask:
        posted = [{"labels": labels | {"severity": "x"}} for labels in (*FOLLOWS.values(), *told, alone)]
        await ask("POST", json=posted)

        async def inhibited() -> set[tuple[str, str]]:
            """Their names and sources."""
            held = [one["labels"] for one in await ask("GET") if one["status"]["inhibitedBy"]]
            return {(labels["alertname"], labels["source"]) for labels in held}

        async def all_are() -> bool:
            return len(await inhibited()) >= len(FOLLOWS)

        await until(all_are)
        assert await inhibited() == {(name, "lab1") for name in FOLLOWS}


def test_the_file_names_alerts_that_there_are() -> None:
    """A name that is misspelt would match nothing, in silence."""
    text = CONFIG.read_text("utf-8").partition("inhibit_rules:")[2].partition("receivers:")[0]
    named = {word for word in text.replace("|", " ").replace('"', " ").replace("]", " ").split() if word[:3] == "Esc"}
    assert named <= alerts().keys()
    assert named >= FOLLOWS.keys()


@asynccontextmanager
async def alertmanager(folder: Path) -> AsyncIterator[Any]:
    """A real one with the stack's file; gives what asks it of its alerts."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        installed("prometheus-alertmanager", PACKAGE), f"--config.file={CONFIG}", f"--storage.path={folder}",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", "--log.level=error",
    )  # fmt: skip
    try:
        await until(lambda: asyncio.to_thread(listens, port))
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

            async def ask(method: str, **sent: Any) -> Any:
                async with session.request(method, "/api/v2/alerts", **sent) as answer:
                    assert answer.status == 200, await answer.text()
                    return await answer.json() if method == "GET" else None

            yield ask
    finally:
        process.terminate()
        await process.wait()
