"""The tables of docs/settings.md: the settings that matter first, and the rest grouped by what they are for.

Names, defaults and meanings come from the settings themselves. This file only says which group a setting belongs to.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import orjson

from receiver.config.settings import PREFIX, Settings, is_secret

FIRST = (
    "postgres_dsn", "nats_url", "host", "port", "admin_port", "admin_host", "data_dir",
    "cell", "cells_file",
    "workers", "sources", "default_source", "trusted_proxies", "read_tokens", "refuse_open", "body_bytes_max",
    "spool_bytes_max", "commit_timeout_s", "reorder_window_s", "overdue_after_s", "callbacks_retention_days",
    "ledger_retention_days", "stream_age_max_s", "stream_bytes_max", "migrate", "log_level",
)  # fmt: skip
GROUPS = {
    "Logs": ("log_",),
    "Receiving: limits of requests and connections": (
        "unknown_", "body_", "head", "request_line_", "ref_", "xml_", "connections_", "keepalive_", "ping_", "readyz_",
        "retry_after_",
    ),
    "HTTPS": ("tls_",),
    "Secrets": ("secret_", "redaction_"),
    "Writing to PostgreSQL": ("queue_", "batch_", "commit", "postgres_"),
    "The spool": ("spool_", "drain_"),
    "Order, repetition, silence": ("reorder_", "duplicate_", "overdue_", "learn_", "silence_"),
    "Asking ESC": ("reconcile_",),
    "Query API, board and live feed": ("session", "query_", "replay_", "wait_s_", "waits_", "feed_", "wake_"),
    "Publishing to NATS": ("nats_", "subject_", "publish_", "relay_", "rebuild_", "verify_", "stream_", "kv_"),
    "Webhooks": ("webhook",),
    "Retention, partitions, clocks": ("callbacks_", "ledger_", "partition", "maintenance_", "clock_"),
    "Metrics": ("counts_", "tenants_", "consumers_", "flapping_", "loop_"),
    "Workers": ("worker_",),
    "Stopping": ("stop_",),
}  # fmt: skip
"""Heading, and how the names of its settings begin."""


def table(names: Iterable[str]) -> str:
    """Name, default and meaning of each."""
    rows = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for name in names:
        field = Settings.model_fields[name]
        file = " (or `…_FILE`)" if is_secret(name) else ""
        rows.append(f"| `{PREFIX}{name.upper()}`{file} | {setting_default(field.default)} | {field.description} |")
    return "\n".join(rows)


def first() -> str:
    """The table of what most installations set."""
    return table(FIRST)


def rest() -> str:
    """A table for each group, in the order of the settings. Raises StopIteration for a setting that is in no group."""
    names = sorted((name for name in Settings.model_fields if name not in FIRST), key=_group)
    return "\n\n".join(f"### {list(GROUPS)[number]}\n\n{table(group)}" for number, group in groupby(names, _group))


def _group(name: str) -> int:
    return next(number for number, begins in enumerate(GROUPS.values()) if name.startswith(begins))


def setting_default(value: object) -> str:
    """A default as it stands in a table."""
    match value:
        case bool():
            return "`on`" if value else "`off`"
        case dict() if value:
            return f"`{orjson.dumps(value).decode()}`"
        case None | "" | () | {}:
            return ""
        case _:
            return f"`{value}`"
