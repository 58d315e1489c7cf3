"""The settings of a command that works on PostgreSQL and NATS itself. Must not know what it does there."""

from __future__ import annotations

import os
from pathlib import Path

from receiver.cli.endpoints_file import read_endpoints
from receiver.config.loading import load
from receiver.config.settings import PREFIX, Settings
from receiver.observability import logs


def server_settings(config: Path | None, data_dir: Path | None) -> Settings:
    """As `serve` reads them; where PostgreSQL and NATS are is told by the folder of an embedded receiver, if given."""
    names = ("postgres_dsn", "nats_url")
    found = read_endpoints(data_dir, *names, what="PostgreSQL and NATS are") if data_dir else {}
    settings = load(config, {**os.environ, **{f"{PREFIX}{name.upper()}": value for name, value in found.items()}})
    logs.configure(settings)
    return settings
