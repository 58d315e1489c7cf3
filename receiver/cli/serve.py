"""Running the service in a terminal or under a supervisor: signals, embedded servers, endpoints.json."""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import structlog

from receiver.app import App
from receiver.config.settings import Settings
from receiver.embedded.servers import Embedded

log = structlog.get_logger()

COLLECTOR_THRESHOLD = 50_000
"""More objects than a group of callbacks is made of."""
ENDPOINTS = "endpoints.json"
FILES_BESIDE = 128
"""Open files that are no connections of clients: databases, the broker, the spool, logs."""


def spare_the_collector() -> None:
    """For a process that only serves: what is loaded by now stays for good, and callbacks leave next to no cycles
    behind. Else the collector looks at all of it again and again, for a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTOR_THRESHOLD)


def allow_open_files(connections_max: int) -> None:
    """Let as many connections be open as the settings allow: many systems begin with 1,024 files for a process."""
    wanted = connections_max + FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < ceiling:
        resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))
    if ceiling < wanted:
        log.warning(
            "the system lets this process open fewer files than ESC_RECEIVER_CONNECTIONS_MAX asks for (ulimit -n)",
            files_max=hard,
            wanted=wanted,
        )


@asynccontextmanager
async def embedded(settings: Settings, data_dir: Path | None) -> AsyncIterator[Settings]:
    """PostgreSQL and NATS of our own in `data_dir` (None: a throw-away folder), and the settings that point at them."""
    async with Embedded(data_dir) as servers:
        found = {"postgres_dsn": servers.postgres_dsn, "nats_url": servers.nats_url, "data_dir": servers.folder}
        yield settings.model_copy(update=found)


def forget_endpoints(folder: Path) -> None:
    """Nothing is served from here now, or not yet."""
    (folder / ENDPOINTS).unlink(missing_ok=True)


def write_endpoints(folder: Path, app: App) -> None:
    """Tell other programs on this machine where everything is; only the user may read it, as it holds a password."""
    found = {"http": app.url, "postgres_dsn": app.settings.postgres_dsn, "nats_url": app.settings.nats_url}
    path = folder / ENDPOINTS
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    draft.replace(path)
