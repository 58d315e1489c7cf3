"""The previous release and this one, side by side on one database and one NATS: nothing lost, nothing twice.

The previous release is the commit that docs/releases.md names, run from its own source by an interpreter of its own.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import venv
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from esc_lab.simulator import SimulateOptions, Summary, simulate
from tests.support import feed
from tests.support.auditor import (
    assert_feed_equals_ledger,
    assert_kept,
    assert_ledger_is_whole,
    published,
)
from tests.support.program import CHECKOUT, Program

RELEASES = (CHECKOUT / "docs" / "releases.md").read_text("utf-8")


@pytest.fixture(scope="session")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a virtual environment in which `receiver` is the previous release's."""
    named = re.search(r"(?m)^\| previous \| `([0-9a-f]+)` \|", RELEASES)
    assert named, "docs/releases.md names no previous release"
    git = shutil.which("git")
    if git is None:
        pytest.skip("no git on this machine")
    archive = subprocess.run([git, "archive", named[1]], cwd=CHECKOUT, capture_output=True, check=False)  # noqa: S603 - ours
    if archive.returncode:
        pytest.skip(f"the history of this checkout does not reach commit {named[1]}")
    folder = tmp_path_factory.mktemp("previous")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(folder / "source", filter="data")
    venv.create(folder / "venv", with_pip=False)
    found = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "venv")}))
    # Its own source first, then the libraries that this test run has.
    (found / "release.pth").write_text(f"{folder / 'source'}\n{sysconfig.get_path('purelib')}\n")
    return folder / "venv" / "bin" / "python"


@asynccontextmanager
async def serving(python: str, source: Path, folder: Path, **settings: object) -> AsyncIterator[tuple[Program, str]]:
    """A receiver of one release that keeps callbacks in PostgreSQL, with its URL; killed when it still runs."""
    running = await Program.start_release(
        python, source, "serve", data_dir=folder, port=0, log_format="json", **settings
    )
    drained: asyncio.Task[None] | None = None
    try:
        url = (await running.says('"serving"'))["url"]
        await running.says('"mode": "direct"')
        drained = asyncio.create_task(drain(running))
        yield running, url
    finally:
        if running.process.returncode is None:
            running.signal(signal.SIGKILL)
        if drained is not None:
            await drained
        await running.process.wait()


async def drain(running: Program) -> None:
    """Read the rest of its log, so that it can go on writing."""
    assert running.process.stderr
    async for raw in running.process.stderr:
        running.lines.append(raw.decode().rstrip())


async def stop(running: Program) -> None:
    """SIGTERM, and its end in order."""
    running.signal(signal.SIGTERM)
    assert await running.process.wait() == 0


async def traffic(url: str, seed: int) -> Summary:
    """Whole operations, as fast as they are answered."""
    return await simulate(
        SimulateOptions(target=url, seed=seed, deployments=6, operations=5, rate=0.0, keep_audit_log=True)
    )


async def audit(postgres_dsn: str, nats_url: str, summaries: list[Summary]) -> None:
    """The promises: every receipt is stored once, the ledger is whole, the feed follows it."""
    connection = await asyncpg.connect(postgres_dsn)
    try:
        messages = await published(connection, nats_url)
        assert not [surprise for summary in summaries for surprise in summary.surprises]
        logs = [summary.audit_log for summary in summaries if summary.audit_log is not None]
        assert len(logs) == len(summaries)
        await assert_kept(connection, [receipt for log in logs for receipt in log.receipts])
        await assert_ledger_is_whole(connection)
        await assert_feed_equals_ledger(connection, messages)
    finally:
        await connection.close()


@pytest.mark.parametrize("goes_first", ["the previous", "this"])
async def test_two_releases_share_a_database(
    previous: Path, empty_postgres_dsn: str, nats_url: str, tmp_path: Path, goes_first: str
) -> None:
    """The older one was there first. Both serve while the newer one has migrated; then either of them goes on alone."""
    where = {"postgres_dsn": empty_postgres_dsn, "nats_url": nats_url}
    async with serving(str(previous), previous.parent, tmp_path / "old", **where) as (old, old_url):
        summaries = [await traffic(old_url, 1)]
        async with serving(sys.executable, CHECKOUT, tmp_path / "new", **where) as (new, new_url):
            summaries += await asyncio.gather(traffic(old_url, 2), traffic(new_url, 3))
            first, rest_url = (old, new_url) if goes_first == "the previous" else (new, old_url)
            await stop(first)
            summaries.append(await traffic(rest_url, 4))
            await audit(empty_postgres_dsn, nats_url, summaries)
            async with aiohttp.ClientSession(rest_url) as session, session.get("/readyz") as answer:
                assert answer.status == 200
    assert await feed.items(nats_url)
