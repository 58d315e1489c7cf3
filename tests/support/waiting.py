"""Waiting for a condition that nothing signals: it is polled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

PATIENCE_S = 30


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float = PATIENCE_S) -> None:
    """Polls until the condition holds, at first often. Raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        for tries in count():
            if await condition():
                return
            await asyncio.sleep(min(0.001 * 2**tries, 0.05))
