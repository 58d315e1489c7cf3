"""NATS that says nothing and closes nothing: a machine that is frozen, or cut off."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from nats.aio.client import Client

from esc_receiver_client import EscFeed
from receiver.config.settings import Settings
from receiver.embedded.servers import EmbeddedNats
from receiver.observability.metrics import Metrics
from receiver.publishing.broker import Broker
from tests.support.waiting import until

NEVER_S = 600.0


@pytest_asyncio.fixture
async def pair(tmp_path: Path) -> AsyncIterator[list[EmbeddedNats]]:
    """Two servers that do not know each other; to a client either will do."""
    servers = [EmbeddedNats(tmp_path / name) for name in ("one", "two")]
    async with servers[0], servers[1]:
        yield servers


@contextmanager
def frozen(server: EmbeddedNats) -> Iterator[None]:
    """It says nothing for as long."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def server_of(client: Client, servers: list[EmbeddedNats]) -> EmbeddedNats:
    """Whom it is connected to."""
    url = client.connected_url
    return next(server for server in servers if url is not None and server.port == url.port)


async def test_an_answer_that_comes_too_late_does_not_end_the_connection(pair: list[EmbeddedNats]) -> None:
    """Whoever asked had given up: nats-py took that for a reason to read nothing more, ever."""
    server = pair[0]
    broker = Broker(Settings(nats_url=server.url, nats_ping_s=NEVER_S), Metrics())
    client = await broker.client()
    with frozen(server):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await broker.ping()
        asked = asyncio.create_task(broker.ping())
        await asyncio.sleep(0)
    await asked
    await broker.ping()
    assert broker.connections == 1
    assert client.is_connected
    await broker.close()


async def test_a_receiver_leaves_a_server_that_says_nothing(pair: list[EmbeddedNats]) -> None:
    """For another one that it was given."""
    broker = Broker(Settings(nats_url=",".join(server.url for server in pair), nats_ping_s=0.1), Metrics())
    silent = server_of(await broker.client(), pair)
    with frozen(silent):
        await until(lambda: _has_connected(broker, 2))
        assert server_of(await broker.client(), pair) is not silent
        await broker.ping()
    await broker.close()


async def test_a_consumer_leaves_a_server_that_says_nothing(pair: list[EmbeddedNats]) -> None:
    """Without being told to."""
    async with EscFeed([server.url for server in pair]) as feed:
        client = feed._connection._client
        assert client is not None
        silent = server_of(client, pair)
        with frozen(silent):
            await until(lambda: _is_elsewhere(client, pair, silent))


async def _has_connected(broker: Broker, times: int) -> bool:
    return broker.connections == times


async def _is_elsewhere(client: Client, servers: list[EmbeddedNats], silent: EmbeddedNats) -> bool:
    return client.is_connected and server_of(client, servers) is not silent
