"""A place for relays, and a NATS that may be killed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from receiver.embedded.servers import EmbeddedNats
from tests.support.feed import Connection
from tests.support.relays import Place


@pytest.fixture
async def place(postgres_dsn: str, nats_url: str, connection: Connection) -> AsyncIterator[Place]:
    """On the session's servers."""
    place = Place(postgres_dsn, nats_url, connection)
    async with place.clean_up:
        yield place


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[EmbeddedNats]:
    """A NATS of the test's own, to be killed."""
    async with EmbeddedNats(tmp_path / "nats") as server:
        yield server
