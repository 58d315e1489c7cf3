"""A receiver that is killed, or frozen, with deliveries under way: another goes on, and nothing is lost or out of
order."""

from __future__ import annotations

import json
import signal
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from aiohttp import web

from tests.support.feed import Connection, until, vm_events
from tests.support.program import program
from tests.support.webhook_endpoint import Endpoint, chosen
from tests.webhooks.conftest import QUICKLY, Publish


def settings_for(postgres_dsn: str, nats_url: str, folder: Path, endpoint: Endpoint) -> dict[str, Any]:
    """Of a receiver whose endpoint refuses three deliveries of ten; always the same ones."""
    chance = Random(11)
    endpoint.answer = lambda _: web.Response(status=500) if chance.random() < 0.3 else None
    return QUICKLY | {
        "postgres_dsn": postgres_dsn, "nats_url": nats_url, "data_dir": folder, "port": 0,
        "log_format": "json", "webhooks": json.dumps([chosen(endpoint)]), "webhook_ack_wait_s": 6,
        "webhook_timeout_s": 3,
    }  # fmt: skip


async def has_begun(connection: Connection) -> bool:
    """Whether the webhook has a place in the stream."""
    return bool(await connection.fetchval("SELECT count(*) FROM webhooks WHERE place_sequence IS NOT NULL"))


async def test_what_a_killed_receiver_had_in_hand_comes_again_first(
    postgres_dsn: str, nats_url: str, tmp_path: Path, endpoint: Endpoint, publish: Publish, connection: Connection
) -> None:
    """By SIGKILL, so that it can give nothing back; each delivery has the same id as before."""
    settings = settings_for(postgres_dsn, nats_url, tmp_path / "data", endpoint)
    rows = vm_events(80, vms=5)
    async with program("serve", **settings) as first:
        await until(partial(has_begun, connection), 60)
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


async def test_a_frozen_receiver_is_replaced_and_harmless_when_it_wakes(
    postgres_dsn: str, nats_url: str, tmp_path: Path, endpoint: Endpoint, publish: Publish, connection: Connection
) -> None:
    """By SIGSTOP: its connections stay open, and what it had in hand it must not send when others have gone on."""
    settings = settings_for(postgres_dsn, nats_url, tmp_path / "data", endpoint)
    rows = vm_events(100, vms=5)
    async with program("serve", **settings) as first:
        await until(partial(has_begun, connection), 60)
        await publish(rows[:60])
        await endpoint.has_taken(20)
        first.signal(signal.SIGSTOP)
        assert len({one.id for one in endpoint.taken}) < 60
        async with program("serve", **settings | {"data_dir": tmp_path / "other"}):
            await publish(rows[60:80])
            await endpoint.has_taken(80, 120)
            first.signal(signal.SIGCONT)
            await publish(rows[80:])
            await endpoint.has_taken(100, 120)
            first.signal(signal.SIGTERM)
            assert await first.ended() == 0
    assert {one.id for one in endpoint.taken} == {str(row.id) for row in rows}
    endpoint.assert_in_order()
