"""API, board, probes and metrics on a port of their own: the port of ESC takes callbacks and nothing else."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from receiver.app import running
from receiver.config.settings import Settings
from receiver.errors import SetupError
from tests.support.certificates import Authority
from tests.support.program import PATIENCE_S, Program, program
from tests.support.samples import SAMPLES
from tests.support.waiting import until

SAMPLE = SAMPLES["rec-deploy-01-vm-deployed"]
CALLBACKS = ("/esc/default/callback", "/esc/default/events", "/")
REST = ("/", "/healthz", "/readyz", "/metrics", "/api/v1/vms", "/api/v1/openapi.json", "/api/docs")


async def answers(session: aiohttp.ClientSession, url: str, method: str, paths: tuple[str, ...]) -> list[int]:
    """The status of each."""
    found = []
    for path in paths:
        content = {"data": SAMPLE.body, "headers": dict(SAMPLE.headers)} if method == "POST" else {}
        async with session.request(method, url + path, **content) as answer:  # type: ignore[arg-type]
            found.append(answer.status)
    return found


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("is_tls", [False, True], ids=["http", "https"])
async def test_each_port_answers_its_own(
    workers: int, is_tls: bool, postgres_dsn: str, nats_url: str, tmp_path: Path
) -> None:
    """Both by one process and by workers, both over TLS and without; after all workers were replaced, too."""
    authority = Authority(tmp_path)
    cert, key = authority.certify("receiver")
    settings: dict[str, object] = {
        "postgres_dsn": postgres_dsn, "nats_url": nats_url, "data_dir": tmp_path, "port": 0, "admin_port": 0,
        "workers": workers, "worker_linger_s": 0, **({"tls_cert_file": cert, "tls_key_file": key} if is_tls else {}),
    }  # fmt: skip
    trust = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=authority.file), force_close=True)
    async with program("serve", **settings) as serving, aiohttp.ClientSession(connector=trust) as session:
        said = await serving.says('"serving"')
        url, admin = said["url"], said["admin_url"]
        assert url != admin
        assert {url.partition(":")[0], admin.partition(":")[0]} == {"https" if is_tls else "http"}
        listening = asyncio.create_task(listen(serving))
        for _ in range(workers):
            assert set(await answers(session, url, "POST", CALLBACKS)) <= {200, 202}
            assert await answers(session, url, "GET", CALLBACKS[:2]) == [204, 204]
            assert set(await answers(session, url, "GET", REST)) == {404, 405}
            assert set(await answers(session, admin, "POST", CALLBACKS)) == {404, 405}
            assert await answers(session, admin, "GET", ("/", "/healthz", "/metrics", "/api/docs")) == [200] * 4
            if workers > 1:
                serving.signal(signal.SIGHUP)
                await until_said(serving, "all workers were replaced")
        serving.signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            assert await serving.process.wait() == 0
        await listening


async def listen(serving: Program) -> None:
    """To all that it says."""
    assert serving.process.stderr
    async for raw in serving.process.stderr:
        serving.lines.append(raw.decode())


async def until_said(serving: Program, words: str) -> None:
    """Until a line has these words; lines until then are forgotten."""

    async def said() -> bool:
        return any(words in line for line in serving.lines)

    await until(said)
    serving.lines.clear()


async def test_a_port_that_is_taken_is_named_by_its_setting(postgres_dsn: str, nats_url: str, tmp_path: Path) -> None:
    """And nothing is served then, on the other one neither."""
    with socket.socket() as other, socket.socket() as free:
        other.bind(("127.0.0.1", 0))
        free.bind(("127.0.0.1", 0))
        port, admin_port = free.getsockname()[1], other.getsockname()[1]
        other.listen()
        free.close()
        settings = Settings(
            postgres_dsn=postgres_dsn, nats_url=nats_url, data_dir=tmp_path, port=port, admin_port=admin_port
        )
        with pytest.raises(SetupError, match="set ESC_RECEIVER_ADMIN_PORT to a free port"):
            async with running(settings):
                pass
        with suppress(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
            pytest.fail("the port of callbacks is still open")


async def test_both_ports_share_the_limit_of_connections(postgres_dsn: str, nats_url: str, tmp_path: Path) -> None:
    """Readers of the API cannot take what is reserved for callbacks."""
    settings = Settings(
        postgres_dsn=postgres_dsn, nats_url=nats_url, data_dir=tmp_path, port=0, admin_port=0, connections_max=4,
        connections_reserved=2,
    )  # fmt: skip
    async with running(settings) as app, aiohttp.ClientSession() as session:
        host, port = app.admin_url.removeprefix("http://").split(":")
        idle = [await asyncio.open_connection(host, int(port)) for _ in range(2)]
        assert await answers(session, app.admin_url, "GET", ("/healthz",)) == [503]
        assert set(await answers(session, app.url, "POST", CALLBACKS[:1])) <= {200, 202}
        for _, writer in idle:
            writer.close()
