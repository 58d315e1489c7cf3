"""docs/upgrade.md: its recipes run as they stand, on a real PostgreSQL and NATS, and receivers go on or come back.

`nats kv del` is done by a program of that name that asks JetStream for the same: the NATS command line is no Python.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import asyncpg

from esc_lab.simulator import Summary
from receiver.embedded.servers import EmbeddedNats, EmbeddedPostgres, bundled_postgres
from tests.app.test_rolling_upgrade import audit, previous, serving, stop, traffic  # noqa: F401 - a fixture
from tests.support import feed
from tests.support.auditor import assert_kept, assert_ledger_is_whole, in_postgres
from tests.support.program import CHECKOUT, Program

PAGE = (CHECKOUT / "docs" / "upgrade.md").read_text("utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
KV_DEL = """#!{python}
import asyncio, os, sys, nats
async def main():
    assert sys.argv[1:3] == ["kv", "del"] and sys.argv[4:] == ["--force"]
    client = await nats.connect(os.environ["ESC_RECEIVER_NATS_URL"])
    assert await client.jetstream().delete_key_value(sys.argv[3])
    await client.close()
asyncio.run(main())
"""


@dataclass(slots=True)
class Site:
    """A PostgreSQL with a database `esc`, a NATS, and a shell in which the page's lines are run."""

    postgres: EmbeddedPostgres
    nats_url: str
    folder: Path

    def dsn(self, database: str = "esc") -> str:
        """Of one of its databases."""
        return urlsplit(self.postgres.dsn)._replace(path=f"/{database}").geturl()

    async def recipe(self, title: str, python: str | Path = sys.executable, **variables: str) -> str:
        """Run the block that begins with this comment, `esc-receiver` being this interpreter's; what it printed."""
        (block,) = [block for block in BLOCKS if block.startswith(f"# {title}\n")]
        (function,) = re.findall(r"^dsn\(\) .*$", PAGE, re.MULTILINE)
        return await self.shell(f"{function}\n{block}", python, **variables)

    async def shell(self, script: str, python: str | Path, **variables: str) -> str:
        """Run lines; all must end well."""
        programs = self.folder / f"bin-{Path(python).parents[1].name}"
        _program(programs / "esc-receiver", f'#!/bin/sh\nexec {python} -m receiver "$@"\n')
        _program(programs / "nats", KV_DEL.format(python=sys.executable))
        address = urlsplit(self.postgres.dsn)
        environ = {
            "PATH": f"{programs}:{bundled_postgres()}:{os.environ['PATH']}", "PGHOST": str(address.hostname),
            "PGPORT": str(address.port), "PGUSER": str(address.username), "PGPASSWORD": str(address.password),
            "ESC_RECEIVER_POSTGRES_DSN": self.dsn(), "ESC_RECEIVER_NATS_URL": self.nats_url,
            "ESC_RECEIVER_STREAM_DUPLICATE_WINDOW_S": "1", **variables,
        }  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            "/bin/sh", "-euc", script, cwd=self.folder, env=environ, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said = (await process.communicate())[0].decode()
        assert process.returncode == 0, said
        return said

    async def restart_points(self) -> str:
        """The time now, as PostgreSQL tells it, and a dump of the database beside it."""
        connection = await asyncpg.connect(self.dsn())
        now = str(
            await connection.fetchval("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
        )
        await connection.close()
        await self.shell("pg_dump -Fc -f esc.dump esc", sys.executable)
        return now

    async def states(self) -> object:
        """What the tables hold."""
        connection = await asyncpg.connect(self.dsn())
        try:
            return await in_postgres(connection)
        finally:
            await connection.close()

    async def assert_nothing_is_missing(self, summaries: list[Summary], *, is_newest: bool = True) -> None:
        """Every receipt is stored once, the ledger (of the newest schema) is whole, and the stream has all of it."""
        connection = await asyncpg.connect(self.dsn())
        try:
            logs = [summary.audit_log for summary in summaries if summary.audit_log is not None]
            await assert_kept(connection, [receipt for log in logs for receipt in log.receipts])
            if is_newest:
                await assert_ledger_is_whole(connection)
            entries = {str(row["id"]) for row in await connection.fetch("SELECT id FROM transitions")}
        finally:
            await connection.close()
        assert entries <= {str(message.id) for message in await feed.stored(self.nats_url)}


def _program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    """With an empty database."""
    async with EmbeddedPostgres(folder / "postgres") as postgres, EmbeddedNats(folder / "nats") as nats:
        found = Site(postgres, nats.url, folder)
        await found.shell("createdb esc", sys.executable)
        yield found


def where(found: Site) -> dict[str, object]:
    """Settings of a receiver there."""
    return {
        "postgres_dsn": found.dsn(),
        "nats_url": found.nats_url,
        "stream_duplicate_window_s": 1,
        "relay_sweep_s": 0.1,
    }


async def drained(found: Site, url: str) -> None:
    """Its callbacks go to PostgreSQL again, and nothing waits in its spool or to be published."""

    async def is_so() -> bool:
        async with aiohttp.ClientSession(url) as session, session.get("/metrics") as answer:
            told = (await answer.text()).splitlines()
        connection = await asyncpg.connect(found.dsn())
        try:
            waiting = await connection.fetchval("SELECT EXISTS (SELECT FROM outbox)")
        finally:
            await connection.close()
        return 'esc_receiver_mode{mode="direct"} 1.0' in told and not waiting  # else it drains its spool, or spools

    await feed.until(is_so)


async def test_back_to_the_release_before(previous: Path, tmp_path: Path) -> None:  # noqa: F811
    """Upgraded, refused by the old release in one line, rolled back: every receipt of both is kept, the feed whole."""
    async with site(tmp_path) as found:
        async with serving(str(previous), previous.parent, tmp_path / "old", **where(found)) as (old, url):
            summaries = [await traffic(url, 1)]
            await found.recipe("upgrade: before")
            async with serving(sys.executable, CHECKOUT, tmp_path / "new", **where(found)) as (new, new_url):
                summaries += await asyncio.gather(traffic(url, 2), traffic(new_url, 3))
                await drained(found, url)
                await stop(old)
                summaries.append(await traffic(new_url, 4))
                await drained(found, new_url)
                await stop(new)
        await audit(found.dsn(), found.nats_url, summaries)
        refused = await Program.start_release(
            str(previous), previous.parent, "serve", data_dir=tmp_path / "old", **where(found)
        )
        _, said = await refused.process.communicate()
        assert refused.process.returncode == 2
        (line,) = [line for line in said.decode().splitlines() if "migrations" in line]
        (told,) = re.findall(r"^    (esc-receiver: the database has migrations [\w ]+ \().*$", PAGE, re.MULTILINE)
        assert told in line
        await found.recipe("rollback: new release")
        async with serving(str(previous), previous.parent, tmp_path / "old", **where(found)) as (old, url):
            await found.recipe("rollback: previous release", previous)
            summaries.append(await traffic(url, 5))
            await drained(found, url)
            await stop(old)
        await found.assert_nothing_is_missing(summaries, is_newest=False)


async def test_restored_to_an_earlier_time_with_the_former_database_at_hand(tmp_path: Path) -> None:
    """A receiver that runs on spools, comes back, and with what is taken along states are as before."""
    async with site(tmp_path) as found:
        async with serving(sys.executable, CHECKOUT, tmp_path / "data", **where(found)) as (running, url):
            summaries = [await traffic(url, 1)]
            since = await found.restart_points()
            summaries.append(await traffic(url, 2))
            await drained(found, url)
            expected, before = await found.states(), len(await feed.stored(found.nats_url))
            await found.recipe("restore")
            await drained(found, url)
            assert await found.states() != expected
            ahead = await found.shell("esc-receiver verify-feed --dry-run", sys.executable)
            lost = int(re.findall(r", (\d+) of them not of this ledger\nnothing is missing\n", ahead)[0])
            assert 0 < lost < before
            said = await found.recipe("restore: the former database can be read", SINCE=since)
            assert said.endswith(f" {lost} of them not of this ledger\nnothing is missing\n"), said
            assert await found.states() == expected
            summaries.append(await traffic(url, 3))
            await drained(found, url)
            await stop(running)
        await found.assert_nothing_is_missing(summaries)


async def test_restored_to_an_earlier_time_and_the_former_database_is_gone(tmp_path: Path) -> None:
    """The stream is made what the ledger is, and the bucket has no state of the lost time."""
    async with site(tmp_path) as found:
        async with serving(sys.executable, CHECKOUT, tmp_path / "data", **where(found)) as (running, url):
            kept = await traffic(url, 1)
            await found.restart_points()
            await traffic(url, 2)
            await drained(found, url)
            await found.recipe("restore")
            await drained(found, url)
            said = await found.recipe("restore: the former database is gone")
            assert re.search(r" 0 of them not of this ledger\nnothing is missing\n$", said), said
            later = await traffic(url, 3)
            await drained(found, url)
            await stop(running)
        await audit(found.dsn(), found.nats_url, [kept, later])
        connection = await asyncpg.connect(found.dsn())
        names = {row["vm_name"] for row in await connection.fetch("SELECT vm_name FROM vms")}
        await connection.close()
        items = (await feed.items(found.nats_url)).values()
        assert {item["vm_name"] for item in items if "vm_name" in item} == names
