"""Waiting for a condition that nothing signals: it is polled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

PATIENCE_S = 30


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float = PATIENCE_S) -> None:
    """Polls until the condition holds, at first often. Raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        for tries in count():
            if await condition():
                return
            await asyncio.sleep(0.001 * 2 ** min(tries, 5))


async def a_session_waits(connection: Any, how: str = "wait_event_type = 'Lock'") -> bool:
    """Whether a session of PostgreSQL does; within a transaction it goes on to show the sessions of the first look."""
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    return bool(await connection.fetchval(f"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE {how})"))  # noqa: S608 - our own words
