"""PostgreSQL restored from a base backup and what WAL was archived: it is noticed, told, and cured by an epoch.

The servers are real, and so is the backup: `pg_basebackup`, WAL archived segment by segment, the last one lost.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from pwd import getpwnam
from typing import Any

import aiohttp
import asyncpg
import nats
import pytest

from receiver.embedded.child_process import free_port
from receiver.embedded.servers import EmbeddedNats, EmbeddedPostgres, bundled_postgres
from tests.support.batches import of_deployment
from tests.support.program import program, run
from tests.support.samples import SAMPLES
from tests.support.waiting import until

DEPLOYED, ALIVE = SAMPLES["rec-deploy-01-vm-deployed"], SAMPLES["rec-deploy-02-vm-alive"]
BEHIND = "PostgreSQL has gone back in time"


def backup(server: EmbeddedPostgres, to: Path) -> None:
    """A base backup, as PostgreSQL's own program takes it."""
    command = [bundled_postgres() / "pg_basebackup", "-d", server.dsn, "-D", to, "-X", "none", "--checkpoint=fast"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)  # noqa: S603 - ours


def restored(base: Path, server: EmbeddedPostgres, folder: Path, archive: Path) -> EmbeddedPostgres:
    """A server on the backup, which recovers from the archive at its start."""
    folder.mkdir()
    shutil.copy(server.folder / "password", folder / "password")
    shutil.move(base, folder / "data")
    (folder / "data" / "recovery.signal").touch()
    give(folder)
    return EmbeddedPostgres(folder, options={"restore_command": f"cp {archive}/%f %p"})


def give(folder: Path) -> None:
    """To whomever PostgreSQL runs as."""
    if os.geteuid() == 0:
        nobody = getpwnam("nobody")
        for path in (folder, *folder.rglob("*")):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)


class Site:
    """A receiver on these servers, and what is posted to it and read of it."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def post(self, sample: Any, deployment: str) -> None:
        """One callback; it must be acknowledged."""
        one = of_deployment(sample, deployment)
        async with self._session.post(self._url, data=one.body, headers=dict(one.headers)) as answer:
            assert answer.status == 200

    async def readyz(self) -> Any:
        """How it says that it is."""
        async with self._session.get(f"{self._url}/readyz") as answer:
            return await answer.json()

    async def metric(self, line: str) -> float:
        """A figure."""
        async with self._session.get(f"{self._url}/metrics") as answer:
            text = await answer.text()
        return next((float(one.rsplit(" ", 1)[1]) for one in text.splitlines() if one.startswith(line)), 0.0)


@asynccontextmanager
async def site(folder: Path, dsn: str, nats_url: str) -> AsyncIterator[Site]:
    """Started, and writing to PostgreSQL."""
    port = free_port()
    settings = {"postgres_dsn": dsn, "nats_url": nats_url, "port": port, "data_dir": folder, "log_callbacks": "off"}
    async with program("serve", **settings) as running, aiohttp.ClientSession() as session:
        await running.says('"mode": "direct"')
        reading = asyncio.create_task(running.process.stderr.read())  # type: ignore[union-attr]  # it is a pipe
        try:
            yield Site(session, f"http://127.0.0.1:{port}")
        finally:
            running.process.terminate()
            await running.process.wait()
            await reading


async def numbers(nats_url: str) -> dict[str, list[int]]:
    """Of each entity in the stream, the numbers of its entries in the order in which consumers get them."""
    client = await nats.connect(nats_url)
    try:
        jetstream = client.jetstream()
        info = await jetstream.stream_info("ESC")
        found: defaultdict[str, list[int]] = defaultdict(list)
        for sequence in range(info.state.first_seq, info.state.last_seq + 1):
            headers = (await jetstream.get_msg("ESC", sequence)).headers or {}
            found[headers["ce-subject"]].append(int(headers["ce-sequence"]))
        return found
    finally:
        await client.close()


async def published(dsn: str) -> bool:
    """Whether nothing waits."""
    connection = await asyncpg.connect(dsn)
    try:
        return bool(await connection.fetchval("SELECT count(*) FROM outbox") == 0)
    finally:
        await connection.close()


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[EmbeddedNats]:
    """It is not restored: what was published stays published."""
    async with EmbeddedNats(tmp_path / "nats") as server:
        yield server


async def test_a_restored_backup_is_noticed_told_and_cured_without_a_number_given_twice(
    tmp_path: Path, broker: EmbeddedNats
) -> None:
    """The VM that was lost, those that were kept, and one that came between restore and epoch."""
    archive, base = tmp_path / "archive", tmp_path / "base"
    archive.mkdir(mode=0o777)
    archive.chmod(0o777)
    async with AsyncExitStack() as stack:
        command = f"test ! -e {archive}/full && cp %p {archive}/%f"
        options = {"archive_mode": "on", "archive_command": command, "wal_level": "replica"}
        first = await stack.enter_async_context(EmbeddedPostgres(tmp_path / "first", options=options))
        async with site(tmp_path / "r1", first.dsn, broker.url) as running:
            await running.post(DEPLOYED, "kept")
            await until(lambda: published(first.dsn))
            backup(first, base)
            await running.post(DEPLOYED, "archived")
            await until(lambda: published(first.dsn))
            await switch_wal(first.dsn, archive)
            await running.post(ALIVE, "kept")
            await running.post(DEPLOYED, "lost")
            await running.post(ALIVE, "lost")
            await until(lambda: published(first.dsn))
    seen = await numbers(broker.url)
    messages = sum(map(len, seen.values()))
    async with restored(base, first, tmp_path / "second", archive) as second:
        async with site(tmp_path / "r2", second.dsn, broker.url) as running:
            await running.post(ALIVE, "kept")  # ESC repeats what it was answered: the restored ledger does not know it
            await running.post(DEPLOYED, "lost")

            async def is_told() -> bool:
                return BEHIND in json.dumps(await running.readyz())

            await until(is_told)
            told = await running.readyz()
            assert (told["ready"], told["degraded"]) == (True, True)
            assert await running.metric('esc_receiver_publish_failures_total{reason="behind"}') >= 1
            assert sum(map(len, (await numbers(broker.url)).values())) == messages
            where = {"postgres_dsn": second.dsn, "nats_url": broker.url}
            status, said, _ = await run("epoch", "--dry-run", **where)
            assert status == 1
            assert "lost" in said
            status, said, _ = await run("epoch", "-o", "json", **where)
            assert status == 0, said
            done = json.loads(said)
            assert done["number"] == 1
            assert done["floor"] == max(max(of) for of in seen.values())
            assert done["renumbered"] > 0
            assert {one["subject"].split(".")[2] for one in done["lost_messages"]} >= {"vm", "operation"}
            await running.post(ALIVE, "lost")  # by a receiver that knew another floor until now
            await running.post(DEPLOYED, "later")
            await until(lambda: published(second.dsn))

            async def is_well() -> bool:
                return not (await running.readyz())["degraded"]

            await until(is_well)
        status, said, _ = await run("epoch", **where)
        assert (status, said) == (0, "the ledger has everything that the stream has: nothing is to be done\n")
        now = await numbers(broker.url)
        assert sum(map(len, now.values())) > messages
        for subject, given in now.items():
            assert given == sorted(set(given)), subject
            assert all(number > done["floor"] for number in given[len(seen.get(subject, ())) :]), subject
        await assert_stored_alike(second.dsn, now)


async def switch_wal(dsn: str, archive: Path) -> None:
    """What was written until now is archived; what follows no longer."""
    connection = await asyncpg.connect(dsn)
    try:
        segment = await connection.fetchval("SELECT pg_walfile_name(pg_current_wal_lsn())")
        await connection.execute("SELECT pg_switch_wal()")

        async def is_archived() -> bool:
            return bool((archive / segment).exists())

        await until(is_archived)
        (archive / "full").touch()
    finally:
        await connection.close()


async def assert_stored_alike(dsn: str, stream: dict[str, list[int]]) -> None:
    """The ledger's numbers are those of the stream, but for what was lost; each entity's row has its last one."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "SELECT entity_id, array_agg(sequence ORDER BY sequence) AS of FROM transitions GROUP BY 1"
        )
        numbered = {number for given in stream.values() for number in given}
        for row in rows:
            assert len(set(row["of"])) == len(row["of"])
            assert set(row["of"]) <= numbered
            last = await connection.fetchval(
                "SELECT sequence FROM vms WHERE id = $1 UNION SELECT sequence FROM operations WHERE id = $1"
                " UNION SELECT sequence FROM deployments WHERE id = $1", row["entity_id"],
            )  # fmt: skip
            assert last == row["of"][-1]
        assert await connection.fetchval("SELECT count(*) FROM epochs") == 1
    finally:
        await connection.close()
