"""Whether the feed is fsynced is asked of NATS itself, and told in `/readyz` and on `/metrics`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from receiver.app import running
from receiver.config.settings import Settings
from receiver.embedded.child_process import free_port
from receiver.jobs.monitors import NOT_FSYNCED
from receiver.observability.labels import Fsynced
from receiver.publishing.feed_fsync import feed_fsynced
from tests.app.test_app import readiness
from tests.support.nats_servers import ConfiguredNats
from tests.support.scrapes import figures
from tests.support.waiting import until

ALWAYS = {"sync_interval": "always"}


def monitored(folder: Path, **jetstream: Any) -> tuple[ConfiguredNats, str]:
    """A server and its monitoring address."""
    port, stored = free_port(), {"store_dir": str(folder)} | jetstream
    return ConfiguredNats(folder, http=f"127.0.0.1:{port}", jetstream=stored), f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("jetstream", "found"), [(ALWAYS, Fsynced.YES), ({}, Fsynced.NO), ({"sync_interval": "1s"}, Fsynced.NO)]
)
async def test_each_server_tells_its_own(tmp_path: Path, jetstream: dict[str, Any], found: Fsynced) -> None:
    """With a slash behind the address or without."""
    server, url = monitored(tmp_path, **jetstream)
    async with server:
        assert await feed_fsynced(Settings(nats_monitor_urls=url)) is found
        assert await feed_fsynced(Settings(nats_monitor_urls=f" {url}/ ,")) is found


async def test_one_server_that_does_not_is_enough_and_one_that_is_silent_leaves_it_open(tmp_path: Path) -> None:
    """All of them hold the feed."""
    (one, first), (other, second) = monitored(tmp_path / "one", **ALWAYS), monitored(tmp_path / "other")
    nobody = f"http://127.0.0.1:{free_port()}"
    async with one, other:
        assert await feed_fsynced(Settings(nats_monitor_urls=f"{first},{second}")) is Fsynced.NO
        assert await feed_fsynced(Settings(nats_monitor_urls=f"{first},{nobody}")) is Fsynced.UNKNOWN
        assert await feed_fsynced(Settings(nats_monitor_urls=f"{nobody},{second}")) is Fsynced.NO
        assert await feed_fsynced(Settings(nats_monitor_urls=f"{first}/healthz?")) is Fsynced.UNKNOWN
        assert await feed_fsynced(Settings(nats_monitor_urls="nats:8222")) is Fsynced.UNKNOWN
    assert await feed_fsynced(Settings()) is Fsynced.UNKNOWN


async def test_a_receiver_tells_it(postgres_dsn: str, tmp_path: Path) -> None:
    """By name in `/readyz`, with a warning; and as a metric."""
    server, url = monitored(tmp_path / "nats")
    async with server:
        settings = Settings(
            postgres_dsn=postgres_dsn, nats_url=server.url, nats_monitor_urls=url, data_dir=tmp_path, port=0,
        )  # fmt: skip
        async with running(settings) as app, aiohttp.ClientSession(app.url) as session:

            async def is_told() -> bool:
                return bool((await readiness(session))[1]["feed_fsynced"] == "no")

            await until(is_told)
            assert NOT_FSYNCED in (await readiness(session))[1]["warnings"]
            async with session.get("/metrics") as answer:
                told = figures(await answer.text())
        assert [told[f'feed_fsynced{{state="{state}"}}'] for state in Fsynced] == [0, 1, 0]
