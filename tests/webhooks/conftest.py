"""An endpoint, and receivers that deliver to it quickly."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from receiver.app import App
from receiver.events.cloudevents import OutboxRow
from tests.support import feed
from tests.support.browser import receiving
from tests.support.feed import Connection
from tests.support.relays import QUICK
from tests.support.webhook_endpoint import Endpoint, chosen

QUICKLY: dict[str, Any] = QUICK | {
    "webhook_allow": "127.0.0.0/8",
    "webhook_retry_first_s": 0.02,
    "webhook_retry_max_s": 0.2,
    "webhook_check_s": 0.05,
    "webhook_timeout_s": 5,
    "webhook_ack_wait_s": 10,
}
Receiver = Callable[..., AbstractAsyncContextManager[App]]
Publish = Callable[[Sequence[OutboxRow]], Any]


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    """One that listens."""
    endpoint = Endpoint()
    async with endpoint.listening():
        yield endpoint


@pytest.fixture
def receiver(postgres_dsn: str, nats_url: str, tmp_path: Path, endpoint: Endpoint) -> Receiver:
    """A whole receiver with a webhook, which has begun when it is entered."""

    @asynccontextmanager
    async def receiver(**changes: Any) -> AsyncIterator[App]:
        webhooks = changes.pop("webhooks", [chosen(endpoint)])
        url, folder = changes.pop("nats_url", nats_url), changes.pop("data_dir", tmp_path / "data")
        async with receiving(postgres_dsn, url, folder, webhooks=webhooks, **QUICKLY | changes) as app:
            await feed.until(lambda: has_begun(app), 60)
            yield app

    return receiver


@pytest.fixture
def publish(connection: Connection) -> Publish:
    """Entries of the ledger, for the relay."""

    async def publish(rows: Sequence[OutboxRow]) -> None:
        await feed.insert(connection, rows)

    return publish


async def has_begun(app: App) -> bool:
    """Whether each webhook has a place in the stream, and callbacks go to PostgreSQL."""
    if not (app.database.ready and app.router.direct):
        return False
    async with app.database.acquire() as connection:
        begun = await connection.fetchval("SELECT count(*) FROM webhooks WHERE place_sequence IS NOT NULL")
    return bool(begun >= len(app.settings.webhooks))
