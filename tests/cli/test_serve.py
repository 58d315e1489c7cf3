"""What `serve` asks of the system before it serves, and that it does not depend on its log."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import shlex
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import nats
import pytest

from receiver.embedded.child_process import free_port, listens
from tests.support.program import CHECKOUT, PATIENCE_S, program, run
from tests.support.samples import SAMPLES
from tests.support.waiting import until

PROGRAM = """
import resource, sys
from receiver.cli.serve import allow_open_files
soft, hard = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
allow_open_files(2000)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def files_allowed(soft: int, hard: int) -> list[str]:
    """What a process of its own says that begins with these limits, for 2,000 connections."""
    command = [sys.executable, "-c", PROGRAM, str(soft), str(hard)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  # ours
    return done.stdout.strip().splitlines()


@pytest.mark.parametrize(("soft", "hard", "then"), [(256, 4000, 2128), (3000, 4000, 3000)])
def test_as_many_files_may_be_open_as_connections_are_allowed(soft: int, hard: int, then: int) -> None:
    """A low limit of the shell is raised, a high one left alone."""
    assert files_allowed(soft, hard) == [str(then)]


def test_a_system_that_allows_fewer_is_told_of() -> None:
    """All that can be had is taken, and one line names the setting."""
    warning, files = files_allowed(256, 1000)
    assert files == "1000"
    assert "ESC_RECEIVER_CONNECTIONS_MAX" in warning


@asynccontextmanager
async def serving_with_log(log: int | None, folder: Path, **settings: object) -> AsyncIterator[tuple[Process, str]]:
    """The service, its standard error being `log` (None: closed), and where it is; without PostgreSQL and NATS."""
    port = free_port()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ESC_RECEIVER_")}
    chosen = {"postgres_dsn": "postgresql://esc@127.0.0.1:1/esc", "port": port, "data_dir": folder} | settings
    process = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        f'exec "$0" -m receiver serve{" 2>&-" if log is None else ""}',
        sys.executable,
        cwd=CHECKOUT,
        env=environ | {f"ESC_RECEIVER_{name.upper()}": str(value) for name, value in chosen.items()},
        stderr=log,
    )
    try:
        await until(lambda: asyncio.to_thread(listens, port), PATIENCE_S)
        yield process, f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_what_is_open_is_warned_of_or_refused(tmp_path: Path) -> None:
    """A proxy on this machine makes a loopback address one that everybody reaches."""
    open_to_all = {"trusted_proxies": "127.0.0.1", "log_format": "json"}
    async with (
        serving_with_log(2, tmp_path, **open_to_all) as (_, url),
        aiohttp.ClientSession(url) as session,
        session.get("/readyz") as answer,
    ):
        warnings = (await answer.json())["warnings"]
    assert ["query API" in warnings[0], "source default" in warnings[1], len(warnings)] == [True, True, 2]
    status, _, lines = await run(
        "serve", refuse_open="on", postgres_dsn="postgresql://esc@127.0.0.1:1/x", **open_to_all
    )
    assert status == 2
    assert lines[:2] == [f"esc-receiver: {line}" for line in warnings]
    assert "REFUSE_OPEN is on" in lines[2]


def unwritable_log(kind: str) -> tuple[int | None, int | None]:
    """What the service writes to, and the end of the pipe that nobody reads."""
    if kind == "full disk":
        return os.open("/dev/full", os.O_WRONLY), None
    if kind == "closed":
        return None, None
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    return write, read


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("kind", ["unread", "reader gone", "full disk", "closed"])
async def test_a_log_that_cannot_be_written_keeps_nothing_else_from_happening(
    kind: str, log_format: str, tmp_path: Path
) -> None:
    """Callbacks and refusals are answered, what is missing of the log is counted, and SIGTERM ends the service."""
    log, unread = unwritable_log(kind)
    settings = {"log_format": log_format, "log_queue_bytes_max": 4096, "log_flush_timeout_s": 0.1}
    settings["unknown_source"] = "refuse"
    async with serving_with_log(log, tmp_path, **settings) as (process, url), aiohttp.ClientSession(url) as session:
        if log is not None:
            os.close(log)
        if kind == "reader gone" and unread is not None:
            os.close(unread)
        for _ in range(60):
            assert await status_of(session.post("/", data=b"<x/>")) in {200, 202}
        assert await status_of(session.post("/esc/nobody/callback", data=b"<x/>")) == 404
        async with session.get("/metrics") as answer:
            (dropped,) = re.findall(r"^esc_receiver_log_lines_dropped_total (\S+)", await answer.text(), re.MULTILINE)
        assert float(dropped) > 0
        process.terminate()
        async with asyncio.timeout(PATIENCE_S):
            assert await process.wait() == 0


async def status_of(request: AbstractAsyncContextManager[aiohttp.ClientResponse]) -> int:
    """The status of the answer."""
    async with asyncio.timeout(PATIENCE_S), request as answer:
        return answer.status


async def test_embedded_prints_lines_that_work_as_they_stand(tmp_path: Path) -> None:
    """The NATS URL lets in who reads it, to the subject beside it; psql's, too; the log has neither secret."""
    async with program("serve", "--embedded", "--data-dir", tmp_path / "my data", "--port", "0") as service:
        url = (await service.says('"serving"'))["url"]
        assert service.process.stdout
        printed = [(await service.process.stdout.readline()).decode() for _ in range(3)]
        nats_line, tail_line, psql_line = (shlex.split(line) for line in printed)
        server, subject = nats_line[nats_line.index("--server") + 1 :]
        client = await nats.connect(server)
        heard = await client.subscribe(subject)
        await client.flush()
        body = SAMPLES["rec-deploy-01-vm-deployed"]
        async with aiohttp.ClientSession() as session:
            await session.post(f"{url}/esc/default/callback", data=body.body, headers=dict(body.headers))
        assert (await heard.next_msg(timeout=PATIENCE_S)).subject.startswith("esc.v1.")
        await client.close()
        connection = await asyncpg.connect(psql_line[-1])
        assert await connection.fetchval("SELECT count(*) FROM callbacks") == 1
        await connection.close()
        assert tail_line[-3:] == ["tail", "--data-dir", str(tmp_path / "my data")]
        secrets = {urlsplit(address).password for address in (server, psql_line[-1])}
        assert len(secrets) == 2
        service.signal(signal.SIGTERM)
        await service.ended()
        assert not [line for line in service.lines for secret in secrets if str(secret) in line]
