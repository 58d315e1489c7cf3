"""Waiting for what nothing tells of: it is looked at often."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import repeat

POLL_S = 0.02


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float) -> None:
    """Wait for it. Raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        for pause_s in repeat(POLL_S):
            if await condition():
                return
            await asyncio.sleep(pause_s)
