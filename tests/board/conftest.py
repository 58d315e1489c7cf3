"""A browser for all of the board's tests in a process, and a receiver for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from playwright.async_api import Browser

from receiver.app import App
from tests.support.browser import browser, receiving


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """One browser for all tests; each has contexts of its own."""
    async with browser() as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def app(postgres_dsn: str, nats_url: str, tmp_path: Path) -> AsyncIterator[App]:
    """A receiver of the test's own."""
    async with receiving(postgres_dsn, nats_url, tmp_path) as app:
        yield app
