"""When Python's garbage collector need not look for cycles. Must not know what is loaded or served."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

COLLECTOR_THRESHOLD = 50_000
"""More objects than a group of callbacks is made of."""


@contextmanager
def uncollected() -> Iterator[None]:
    """For the time in which modules are loaded: they stay, and the collector would look at all of them again and again,
    for a tenth of that time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def spare_the_collector() -> None:
    """For a process that only serves: what is loaded by now stays for good, and callbacks leave next to no cycles
    behind. Else the collector looks at all of it again and again, for a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTOR_THRESHOLD)
