"""Several workers are one receiver: one port, one set of figures, one relay, one sum; and they look after each other.

Real processes, PostgreSQL and NATS; real kills.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from receiver.embedded.child_process import free_port
from tests.cli.test_serve_tls import is_served
from tests.support.auditor import assert_feed_equals_ledger, assert_ledger_is_whole, published
from tests.support.certificates import Authority
from tests.support.crew import Crew, Sending, adds_up, crew, kill, session, starting_crew, under_load, watched
from tests.support.program import PATIENCE_S, Program, facts, program, run
from tests.support.samples import SAMPLES
from tests.support.waiting import until

ABSENT = "postgresql://esc@127.0.0.1:1/esc"


SERVING = {"aiohttp", "asyncpg", "lxml"}
"""Packages in C of which a supervisor has no use."""


def loaded_to_serve(pid: int) -> set[str]:
    """Which of them a process has in its memory."""
    paths = {part for file in psutil.Process(pid).memory_maps() for part in Path(file.path).parts}
    return paths & SERVING


async def kept(connection: Any) -> set[str]:
    """The receipts in PostgreSQL."""
    return {str(row["receipt"]) for row in await connection.fetch("SELECT receipt FROM callbacks")}


async def until_published(connection: Any) -> None:
    """Until the outbox is empty."""

    async def is_empty() -> bool:
        return not await connection.fetchval("SELECT count(*) FROM outbox")

    await until(is_empty)


async def test_workers_are_one_receiver(postgres_dsn: str, nats_url: str, connection: Any, tmp_path: Path) -> None:
    """Whichever is asked, it tells of all; one of them publishes; the sum at the end is that of all."""
    async with crew(tmp_path, postgres_dsn=postgres_dsn, nats_url=nats_url) as found:
        await found.all_direct()
        sending = Sending(found.url, keeping=False)
        await sending.send(4, count=80)
        assert sending.failed == []
        told = [await found.figures() for _ in range(12)]
        assert {one["received_total"] for one in told} == {80}
        assert {one["stored_total"] for one in told} == {80}
        each = [told[-1][f'worker_received_callbacks{{worker="{number}"}}'] for number in (1, 2)]
        assert sum(each) == 80
        assert min(each) > 0
        assert told[-1]["relay_leader"] == 1
        assert {name: told[-1][f'worker_up{{worker="{name}"}}'] for name in "12"} == {"1": 1, "2": 1}
        assert loaded_to_serve(found.program.process.pid) == set()
        assert loaded_to_serve((await found.pids())[1]) == SERVING
        ready = await found.readiness()
        assert (ready["ready"], ready["degraded"], sorted(ready["workers"])) == (True, False, ["1", "2"])
        assert len({*(await found.pids()).values(), found.program.process.pid}) == 3
        await until_published(connection)
        last = await found.stopped()
    assert (last["received"], last["stored"], last["in_flight"], last["workers"]) == (80, 80, 0, 2)
    assert adds_up(last)
    assert await kept(connection) == sending.receipts
    await assert_ledger_is_whole(connection)
    await assert_feed_equals_ledger(connection, await published(connection, nats_url))


async def test_a_killed_worker_is_started_again_and_nothing_kept_is_lost(
    postgres_dsn: str, nats_url: str, connection: Any, tmp_path: Path
) -> None:
    """No counter falls, the sums add up at every moment, and each acknowledged callback is there, published once."""
    async with crew(tmp_path, postgres_dsn=postgres_dsn, nats_url=nats_url) as found:
        await found.all_direct()
        async with watched(found) as wrong, under_load(found.url) as sending:
            for number in (1, 2):
                await sending.until(len(sending.receipts) + 100)
                victim = (await found.pids())[number]
                kill(victim)
                line = await found.says("a worker has died; it is started again", number)
                assert (line["worker"], line["process"], line["status"]) == (number, victim, -signal.SIGKILL)
                await found.all_direct()
            await sending.until(len(sending.receipts) + 100)
        assert wrong == []
        told = await found.figures()
        assert [told[f'worker_restarts_total{{worker="{number}"}}'] for number in (1, 2)] == [1, 1]
        await until_published(connection)
        last = await found.stopped()
    assert adds_up(last)
    assert sending.receipts <= await kept(connection)
    assert len(sending.failed) <= 2 * 8, sending.failed  # those whose connection died with the worker
    await assert_ledger_is_whole(connection)
    await assert_feed_equals_ledger(connection, await published(connection, nats_url))


async def test_a_hangup_replaces_all_workers_and_refuses_nobody(
    postgres_dsn: str, nats_url: str, connection: Any, tmp_path: Path
) -> None:
    """Not one request fails, on connections that are kept or new; no counter falls."""
    async with crew(tmp_path, postgres_dsn=postgres_dsn, nats_url=nats_url) as found:
        await found.all_direct()
        before = await found.pids()
        async with (
            watched(found) as wrong,
            under_load(found.url, keeping=True) as keeping,
            under_load(found.url) as sending,
        ):
            await sending.until(100)
            found.program.signal(signal.SIGHUP)
            await found.says("all workers were replaced")
            await sending.until(len(sending.receipts) + 100)
        assert keeping.failed == []
        assert sending.failed == []
        assert wrong == []
        after = await found.pids()
        assert not set(before.values()) & set(after.values())
        assert found.lines("a worker has died; it is started again") == []
        last = await found.stopped()
    receipts = sending.receipts | keeping.receipts
    assert (last["received"], last["stored"], last["unaccounted"]) == (len(receipts), len(receipts), 0)
    assert await kept(connection) == receipts


async def test_a_worker_that_keeps_dying_waits_longer_each_time_and_the_others_serve(tmp_path: Path) -> None:
    """New connections go to the others meanwhile, and none is refused."""
    async with crew(tmp_path, postgres_dsn=ABSENT, worker_steady_s=3600) as found:
        pauses = []
        for times in range(1, 4):
            victim = (await found.pids())[2]
            kill(victim)
            pauses.append((await found.says("a worker has died; it is started again", times))["pause_s"])
            await until(partial(_has_place, found, 2, not_pid=victim))
        assert pauses == [0, 0.5, 1]
        kill((await found.pids())[2])
        await found.says("a worker has died; it is started again", 4)
        ready = await found.readiness()  # at once: it pauses for two seconds
        assert (ready["ready"], ready["degraded"]) == (True, True)
        assert "worker 2" in ready["dependencies"]["workers"]["why"]
        sending = Sending(found.url, keeping=False)
        await sending.send(4, count=40)
        assert sending.failed == []


async def _has_place(found: Crew, number: int, *, not_pid: int) -> bool:
    return (await found.pids())[number] != not_pid


async def test_what_waits_in_the_spools_of_all_is_stored_by_fewer(
    postgres_dsn: str, nats_url: str, connection: Any, tmp_path: Path
) -> None:
    """Three workers keep callbacks on disk; of one receiver that follows, each is stored once, and counted once."""
    async with crew(tmp_path, 3, postgres_dsn=ABSENT, nats_url=nats_url) as found:
        sending = Sending(found.url, keeping=False)
        await sending.send(8, count=150)
        told = await found.sums()
        assert (told["received"], told["spooled"]) == (150, 150)
        last = await found.stopped()
    assert (last["received"], last["spooled"]) == (150, 150)
    assert all((tmp_path / f"spool-{number}" / "spool.db").exists() for number in (1, 2, 3))
    async with crew(tmp_path, 2, postgres_dsn=postgres_dsn, nats_url=nats_url, spool_left_check_s=0.1) as found:
        await until(lambda: _has_stored(connection, 150))
        await until(lambda: _is(found, recovered=150, stored=150, spooled=0))
        assert adds_up(await found.stopped())
    assert await kept(connection) == sending.receipts


async def _has_stored(connection: Any, number: int) -> bool:
    return bool(await connection.fetchval("SELECT count(*) FROM callbacks") == number)


async def _is(found: Crew, **expected: int) -> bool:
    sums = await found.sums()
    return {name: sums[name] for name in expected} == expected


async def test_what_a_killed_worker_had_spooled_is_counted_once(tmp_path: Path) -> None:
    """Another finds it in the spool: it was received before, so it is not recovered now."""
    async with crew(tmp_path, postgres_dsn=ABSENT) as found, watched(found) as wrong:
        sending = Sending(found.url, keeping=False)
        await sending.send(4, count=60)
        await until(lambda: _is(found, spooled=60))
        for number in (1, 2):
            kill((await found.pids())[number])
            await found.says("a worker has died; it is started again", number)
            await until(lambda: _all_serve(found))
        await until(lambda: _is(found, received=60, recovered=0, spooled=60, unaccounted=0))
        last = await found.stopped()
    assert wrong == []
    assert {name: last[name] for name in ("received", "recovered", "spooled")} == {
        "received": 60, "recovered": 0, "spooled": 60,
    }  # fmt: skip


async def _all_serve(found: Crew) -> bool:
    return all(worker["state"] == "serving" for worker in (await found.readiness())["workers"].values())


async def test_workers_end_when_nobody_looks_after_them(tmp_path: Path) -> None:
    """The supervisor is killed: they finish what they have, and the port is free."""
    async with crew(tmp_path, postgres_dsn=ABSENT) as found:
        workers = [psutil.Process(pid) for pid in (await found.pids()).values()]
        kill(found.program.process.pid)
        await asyncio.to_thread(psutil.wait_procs, workers, timeout=30)
        assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)
        await until(lambda: _ended(found, 2))
        assert [line["spooled"] for line in found.lines("worker stopped")] == [0, 0]


async def _ended(found: Crew, number: int) -> bool:
    return len(found.lines("worker stopped")) == number


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_port_that_others_use_is_not_shared_with_them(workers: int, tmp_path: Path) -> None:
    """A second receiver, with or without workers, ends with one line and exit status 2."""
    async with crew(tmp_path / "one", postgres_dsn=ABSENT) as found:
        port = found.url.rpartition(":")[2]
        status, _, lines = await run(
            "serve", "--port", port, "--workers", str(workers), postgres_dsn=ABSENT, data_dir=tmp_path / "two"
        )
    assert status == 2
    assert f"127.0.0.1:{port} is taken by another program" in lines[-1]


async def test_a_worker_that_cannot_start_is_one_line_and_exit_status_2(tmp_path: Path) -> None:
    """What is wrong is said once by each, and no process is left."""
    (tmp_path / "spool-1").symlink_to(tmp_path)
    status, _, lines = await run(
        "serve", "--port", str(free_port()), "--workers", "2", postgres_dsn=ABSENT, data_dir=tmp_path
    )
    assert status == 2
    assert any("spool-1 is a symbolic link" in line for line in lines)
    assert "worker 1 did not start" in lines[-1]


async def test_a_worker_that_is_killed_while_it_starts_is_started_again(tmp_path: Path) -> None:
    """As at any other time: only one that ends by itself says that starting is in vain."""
    async with starting_crew(tmp_path, postgres_dsn=ABSENT) as found:
        supervisor = psutil.Process(found.program.process.pid)
        await until(partial(_has_children, supervisor, 2))
        kill(max(one.pid for one in supervisor.children()))
        line = await found.says("a worker has died; it is started again")
        assert (line["worker"], line["status"]) == (2, -signal.SIGKILL)
        await found.serves()
        await until(lambda: _all_serve(found))


async def _has_children(process: psutil.Process, number: int) -> bool:
    return len(process.children()) >= number


async def test_a_session_that_was_ended_is_ended_at_every_worker(
    postgres_dsn: str, nats_url: str, tmp_path: Path
) -> None:
    """The board logs out at one; none takes its cookie any more."""
    async with crew(tmp_path, postgres_dsn=postgres_dsn, nats_url=nats_url, read_tokens="a-token-of-ours") as found:
        await found.all_direct()
        path = f"{found.url}/api/v1/session"
        async with session() as client, client.post(path, json={"token": "a-token-of-ours"}) as answer:
            cookie = answer.cookies["esc_receiver_session"].value
        headers = {"Cookie": f"esc_receiver_session={cookie}"}

        async def statuses() -> set[int]:
            found_statuses = set()
            async with session() as client:
                for _ in range(12):
                    async with client.get(f"{found.url}/api/v1/vms", headers=headers) as answer:
                        found_statuses.add(answer.status)
            return found_statuses

        assert await statuses() == {200}
        async with session() as client, client.delete(path, headers=headers) as answer:
            assert answer.status == 204
        assert await statuses() == {401}


async def test_waits_and_the_live_feed_work_at_whichever_worker(
    postgres_dsn: str, nats_url: str, tmp_path: Path
) -> None:
    """Readers and waiting requests at both are told of what either of them keeps."""
    async with crew(tmp_path, postgres_dsn=postgres_dsn, nats_url=nats_url, wake_sweep_s=3600) as found:
        await found.all_direct()
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(session())
            readers = [
                await stack.enter_async_context(client.get(f"{found.url}/api/v1/feed", timeout=NO_TIMEOUT))
                for _ in range(8)
            ]
            waits = [asyncio.create_task(ended(client, found.url, f"txn-{number}")) for number in range(8)]
            await until(lambda: _waits(found, readers=8, waits=8))
            each = psutil.Process(found.program.process.pid).children()
            connected = [sum(one.laddr.port == _port(found) for one in worker.net_connections()) for worker in each]
            assert min(connected) > 2, connected  # the socket it listens on, and some of these
            for number in range(8):
                sample = SAMPLES["rec-image-delete"]
                headers = {**dict(sample.headers), "ESC-Transaction-Id": f"txn-{number}"}
                async with client.post(found.url, data=sample.body, headers=headers) as answer:
                    assert answer.status == 200
            assert await asyncio.gather(*waits) == ["SUCCEEDED"] * 8
            assert [await entries(reader, 8) for reader in readers] == [8] * 8


NO_TIMEOUT = aiohttp.ClientTimeout(total=None)


async def ended(client: aiohttp.ClientSession, url: str, transaction_id: str) -> str:
    """Wait for an operation; its state."""
    path = f"{url}/api/v1/operations/default/{transaction_id}"
    async with client.get(path, params={"wait": "60"}, timeout=NO_TIMEOUT) as answer:
        return str((await answer.json())["state"])


async def entries(reader: aiohttp.ClientResponse, number: int) -> int:
    """Wait until a reader of the feed was told of so many operations that ended."""
    found = 0
    async with asyncio.timeout(PATIENCE_S):
        async for line in reader.content:
            found += line.startswith(b"data:") and b'"SUCCEEDED"' in line and b'"operation"' in line
            if found == number:
                break
    return found


async def _waits(found: Crew, *, readers: int, waits: int) -> bool:
    figures = await found.figures()
    return (figures["feed_readers"], figures["waits"]) == (readers, waits)


def _port(found: Crew) -> int:
    return int(found.url.rpartition(":")[2])


async def test_a_hangup_brings_new_certificates_and_a_wrong_one_changes_nothing(tmp_path: Path) -> None:
    """The new workers show it; when they cannot be started, the old ones stay."""
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    cert, key = old.certify("receiver")
    settings = {"tls_cert_file": cert, "tls_key_file": key, "tls_check_s": 3600, "postgres_dsn": ABSENT}
    async with crew(tmp_path / "data", 2, **settings) as found:
        assert await is_served(_port(found), old.file)
        workers = await found.pids()
        new.certify("receiver")
        found.program.signal(signal.SIGHUP)
        await found.says("all workers were replaced")
        assert [await is_served(_port(found), new.file) for _ in range(8)] == [True] * 8
        cert.write_text("no certificate")
        replaced = await found.pids()
        assert not set(workers.values()) & set(replaced.values())
        found.program.signal(signal.SIGHUP)
        await found.says("a new worker does not serve; the others stay as they are")
        assert await found.pids() == replaced
        assert [await is_served(_port(found), new.file) for _ in range(8)] == [True] * 8


async def _workers_begin(program: Program) -> None:
    """Wait until there are processes of workers; none of them serves yet."""
    supervisor = psutil.Process(program.process.pid)

    async def there_are() -> bool:
        return len(supervisor.children()) == 2

    await until(there_are)


async def test_a_hangup_while_workers_start_is_taken(tmp_path: Path) -> None:
    """It would end a program that does not listen for it; who is being started reads everything anew."""
    async with program("serve", workers=2, port=0, postgres_dsn=ABSENT, data_dir=tmp_path / "data") as found:
        await _workers_begin(found)
        found.signal(signal.SIGHUP)
        await found.says('"serving"')
        found.signal(signal.SIGTERM)
        assert await found.ended() == 0


async def test_told_to_stop_while_workers_start_it_tells_the_sums(tmp_path: Path) -> None:
    """Who has started already may have taken callbacks; nobody is left."""
    async with program("serve", workers=2, port=0, postgres_dsn=ABSENT, data_dir=tmp_path / "data") as found:
        await _workers_begin(found)
        workers = psutil.Process(found.process.pid).children()
        found.signal(signal.SIGTERM)
        assert await found.ended() == 0
    assert adds_up(facts(next(line for line in found.lines if '"stopped"' in line)))
    assert not any(worker.is_running() for worker in workers)
