"""`esc-receiver consumers`: who reads the feed, for people and programs."""

from __future__ import annotations

from pathlib import Path

import orjson

from esc_receiver_client import EscFeed
from receiver.app import running
from receiver.config.settings import Settings
from tests.cli.test_cli_reading import ask
from tests.support import feed
from tests.support.consumers import publish, take


async def test_consumers_are_listed(postgres_dsn: str, nats_url: str, tmp_path: Path) -> None:
    """What each has yet to be given, what is open, and when it acknowledged; none is an empty list."""
    settings = Settings(postgres_dsn=postgres_dsn, nats_url=nats_url, port=0, data_dir=tmp_path)
    async with running(settings) as app:
        await app.until_ready()
        await feed.until(lambda: _is_listed(app.url))
        assert (await ask(app.url, "consumers", "-o", "json"))[1] == []
        await publish(nats_url, [feed.event(feed.vm(name)) for name in ("one", "two", "three")])
        async with EscFeed(nats_url) as esc_feed:
            first, _ = await take(esc_feed.subscribe("billing", ["esc.v1.vm.>"], prefetch=1), 2)
            await first.ack()
        status, (line,), _ = await ask(app.url, "consumers", "-o", "json")
        told = orjson.loads(line)
        assert (status, told["name"], told["durable"], told["subjects"]) == (0, "billing", True, ["esc.v1.vm.>"])
        assert (told["pending"], told["unacknowledged"], told["redelivered"]) == (1, 1, 0)
        assert told["last_acknowledged_at"]
        _, (heading, shown), _ = await ask(app.url, "consumers")
        assert heading.split()[:5] == ["CONSUMER", "READING", "BEHIND", "OPEN", "AGAIN"]
        assert shown.split()[0] == "billing"


async def _is_listed(url: str) -> bool:
    return (await ask(url, "consumers", "-o", "json"))[0] == 0
