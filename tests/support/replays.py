"""Simulated traffic kept at times of the test's choosing, and what PostgreSQL holds of it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from esc_lab.simulator import Faults, Traffic
from receiver.config.settings import Settings
from receiver.model.envelope import Envelope
from receiver.model.notification import Channel
from receiver.parsing.parsed_callback import ParsedCallback
from receiver.replay.export_file import receipt_at
from receiver.replay.reparse import read_again
from tests.support.auditor import Connection
from tests.support.samples import envelope

TABLES = ("callbacks", "operations", "deployments", "vms", "vm_aliases", "resources", "transitions", "outbox")
FAULTS = Faults.of("duplicate=0.1,reorder=0.3,gap=0.05,malformed=0.02,unknown=0.02")


def traffic(seed: int, *, gap_s: float, deployments: int = 6, operations: int = 5) -> list[Envelope]:
    """The messages of a run, lives interleaved, up to twice `gap_s` apart; all of it in the past."""
    rng = random.Random(seed)
    lives = [
        posts(life) for life in Traffic(seed, deployments=deployments, operations=operations, faults=FAULTS).lives()
    ]
    told: list[Envelope] = []
    while lives:
        life = rng.choice(lives)
        try:
            told.append(next(life))
        except StopIteration:
            lives.remove(life)
    return timed(told, [rng.uniform(0, 2 * gap_s) for _ in told])


def posts(life: Any) -> Iterator[Envelope]:
    """What a life sends, in order."""
    for performance in life:
        for sending in performance.sendings:
            message = sending.message
            headers = [(name.encode(), value.encode()) for name, value in message.headers.items()]
            yield envelope(message.body, headers, source=performance.operation.source, channel=Channel(message.channel))


def timed(envelopes: Sequence[Envelope], gaps_s: Sequence[float]) -> list[Envelope]:
    """The same, arriving so far apart, the last one a minute ago."""
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=60 + sum(gaps_s))
    arrived = []
    for number, (one, gap_s) in enumerate(zip(envelopes, gaps_s, strict=True)):
        at += timedelta(seconds=gap_s)
        arrived.append(one._replace(received_at=at, receipt=receipt_at(at, str(number).encode())))
    return arrived


def letters(envelopes: Sequence[Envelope]) -> list[ParsedCallback]:
    """As they are read."""
    return [read_again(one, Settings()) for one in envelopes]


async def everything(connection: Connection) -> dict[str, Any]:
    """All that is kept, in any order."""
    return {
        table: sorted(row[0] for row in await connection.fetch(f"SELECT t::text FROM {table} AS t"))  # noqa: S608
        for table in TABLES
    }
