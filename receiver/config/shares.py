"""How many workers there are, and which part of a limit is one worker's.

Limits of what the machine has (memory, disk, connections) are the whole receiver's and are divided; others hold for
each worker (docs/settings.md#limits-and-workers). Must not know what a limit is for.
"""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path

from receiver.config.settings import Settings
from receiver.config.worker_number import AUTO

DIVIDED = (
    "connections_max",
    "connections_per_address_max",
    "connections_reserved",
    "queue_callbacks_max",
    "queue_bytes_max",
    "spool_bytes_max",
    "log_queue_bytes_max",
    "query_concurrency_max",
    "waits_max",
    "feed_readers_max",
)
CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def workers_of(settings: Settings) -> int:
    """How many there are to be."""
    return processors() if settings.workers == AUTO else settings.workers


def processors(cpu_max: Path = CPU_MAX) -> int:
    """How many this process may use: those it may run on, and what a container's quota allows."""
    affinity = getattr(os, "sched_getaffinity", None)
    number = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        quota, period = cpu_max.read_text().split()
    except (OSError, ValueError):
        return number
    return number if quota == "max" else min(number, max(1, ceil(int(quota) / int(period))))


def share_of(settings: Settings, workers: int) -> Settings:
    """The settings of one of so many workers."""
    parts = {name: max(1, getattr(settings, name) // workers) for name in DIVIDED}
    return settings.model_copy(update=parts) if workers > 1 else settings
