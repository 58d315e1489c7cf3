"""What Python 3.11 loses of a cancellation. Must not know what is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def cancellation_kept() -> Iterator[None]:
    """Until Python 3.12, `wait_for`, on which nats-py rests, drops a cancellation that comes together with the answer,
    which may be an error; whoever was to end would then go on for ever."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError
