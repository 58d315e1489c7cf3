"""A receiver that is killed with deliveries under way: the next one goes on, and nothing is lost or out of order."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from random import Random

from aiohttp import web

from tests.support.feed import Connection, until, vm_events
from tests.support.program import program
from tests.support.webhook_endpoint import Endpoint, chosen
from tests.webhooks.conftest import QUICKLY, Publish


async def test_what_a_killed_receiver_had_in_hand_comes_again_first(
    postgres_dsn: str, nats_url: str, tmp_path: Path, endpoint: Endpoint, publish: Publish, connection: Connection
) -> None:
    """By SIGKILL, so that it can give nothing back; each delivery has the same id as before."""
    chance = Random(11)
    endpoint.answer = lambda _: web.Response(status=500) if chance.random() < 0.3 else None
    settings = QUICKLY | {
        "postgres_dsn": postgres_dsn, "nats_url": nats_url, "data_dir": tmp_path / "data", "port": 0,
        "log_format": "json", "webhooks": json.dumps([chosen(endpoint)]), "webhook_ack_wait_s": 6,
        "webhook_timeout_s": 3,
    }  # fmt: skip
    rows = vm_events(80, vms=5)

    async def has_begun() -> bool:
        return bool(await connection.fetchval("SELECT count(*) FROM webhooks WHERE place_sequence IS NOT NULL"))

    async with program("serve", **settings) as first:
        await until(has_begun, 60)
        await publish(rows[:60])
        await endpoint.has_taken(20)
        first.signal(signal.SIGKILL)
        await first.ended()
    assert len({one.id for one in endpoint.taken}) < 60
    async with program("serve", **settings):
        await publish(rows[60:])
        await endpoint.has_taken(80, 120)
    assert {one.id for one in endpoint.taken} == {str(row.id) for row in rows}
    endpoint.assert_in_order()
