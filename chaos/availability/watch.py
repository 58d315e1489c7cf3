"""What is felt of a strike: by the sender, on the feed, and of PostgreSQL and NATS themselves.

Everybody notes the times at which it went well; what lies between two of them is a pause. `span` and `pauses` only
reckon. Must not know what was struck.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from time import monotonic, time
from typing import NamedTuple

import nats
from nats.aio.client import Client

from chaos.availability.patroni import PostgresNode
from chaos.cluster import Node
from chaos.stage import Connection, connected
from esc_lab.simulator.delivery_faults import Sort
from esc_lab.simulator.posting import Answer
from esc_lab.simulator.report import Latency, Summary

PROBE_S = 0.2
PROBE_TIMEOUT_S = 1.0
READ_TIMEOUT_S = 30.0
USUAL_S = 0.8
"""Of a probe: what lies further apart is an outage of the engine."""
FEED = "ESC"


class Pause(NamedTuple):
    """From one time to another."""

    begin_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """How long."""
        return self.end_s - self.begin_s


def pauses(times: Sequence[float], window: Pause, least_s: float = 0.0) -> list[Pause]:
    """What lies between two of these times, in part at least within the window, and is as long."""
    found = [Pause(*both) for both in pairwise(times) if both[1] > window.begin_s and both[0] < window.end_s]
    return [pause for pause in found if pause.length_s >= least_s]


def longest(times: Sequence[float], window: Pause) -> Pause:
    """The longest of them; of no length when there is none."""
    return max(pauses(times, window), key=lambda pause: pause.length_s, default=Pause(window.begin_s, window.begin_s))


def beyond(pause: Pause, outages: Sequence[Pause]) -> float:
    """What is left of a pause without the time in which any of the engines was away."""
    left_s, covered_s = pause.length_s, pause.begin_s
    for outage in sorted(outages):
        begin_s, end_s = max(outage.begin_s, covered_s), min(outage.end_s, pause.end_s)
        if end_s > begin_s:
            left_s -= end_s - begin_s
            covered_s = end_s
    return left_s


class Answered(NamedTuple):
    """One answer to the sender."""

    at_s: float
    took_s: float
    status: int
    """0: none came."""


class TimedLatency(Latency):
    """Remembers when each answer came, too; of those that are failures nothing is heard here."""

    def __init__(self) -> None:
        super().__init__()
        self.last_s = 0.0

    def add(self, seconds: float) -> None:
        """One answer."""
        super().add(seconds)
        self.last_s = seconds


@dataclass(slots=True)
class TimedSummary(Summary):
    """A summary that tells one answer from the next."""

    latency: TimedLatency = field(default_factory=TimedLatency)
    answered: list[Answered] = field(default_factory=list)

    def count_answer(self, sort: Sort, answer: Answer) -> None:
        """A message was answered, or failed for good."""
        Summary.count_answer(self, sort, answer)
        self.answered.append(Answered(monotonic(), self.latency.last_s, answer.status))


@dataclass(slots=True)
class Watch:
    """When it went well, of each."""

    feed: list[float] = field(default_factory=list)
    """Read from the stream when all is over."""
    postgres: list[float] = field(default_factory=list)
    nats: list[float] = field(default_factory=list)

    @asynccontextmanager
    async def kept(self, postgres: Sequence[tuple[PostgresNode, str]], nodes: Sequence[Node]) -> AsyncIterator[Watch]:
        """For as long as the context lasts. Of each PostgreSQL the DSN of itself alone."""
        tasks = [asyncio.create_task(_probe_postgres(dsn, self.postgres)) for _, dsn in postgres]
        tasks += [asyncio.create_task(_probe_nats(node.url, self.nats)) for node in nodes]
        try:
            yield self
        finally:
            await _ended(tasks)

    def outages(self, window: Pause) -> tuple[list[Pause], list[Pause]]:
        """Of PostgreSQL and of NATS."""
        return pauses(self.postgres, window, USUAL_S), pauses(self.nats, window, USUAL_S)


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """However often it takes: a cancellation that comes together with an answer of NATS is dropped by Python 3.11."""
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=PROBE_TIMEOUT_S)


async def stored_times(url: str) -> list[float]:
    """When the stream took each of its messages, by our clock."""
    client = await nats.connect(url.split(","))
    ahead_s = time() - monotonic()
    found: list[float] = []
    read = 0
    try:
        stream = client.jetstream()
        last = (await stream.stream_info(FEED)).state.last_seq
        reading = await stream.subscribe(">", stream=FEED, ordered_consumer=True)
        while read < last:
            message = await reading.next_msg(timeout=READ_TIMEOUT_S)
            read = message.metadata.sequence.stream
            found.append(message.metadata.timestamp.timestamp() - ahead_s)
    finally:
        await client.close()
    return found


async def _probe_postgres(dsn: str, times: list[float]) -> None:
    """Whether this one commits."""
    while True:
        with suppress(Exception):  # likewise
            async with connected(dsn) as connection:
                await _again_and_again(partial(_commits, connection), times)
        await asyncio.sleep(PROBE_S)


async def _commits(connection: Connection) -> bool:
    if await connection.fetchval("SELECT pg_is_in_recovery()"):
        return False
    await connection.execute("SELECT pg_logical_emit_message(true, 'probe', 'x')")
    return True


async def _probe_nats(url: str, times: list[float]) -> None:
    """Whether through this one the stream's leader answers."""
    while True:
        with suppress(Exception):  # likewise
            client = await nats.connect(url, connect_timeout=1, allow_reconnect=False, error_cb=_hush)
            try:
                await _again_and_again(partial(_leads, client), times)
            finally:
                with suppress(Exception):
                    async with asyncio.timeout(PROBE_TIMEOUT_S):
                        await client.close()
        await asyncio.sleep(PROBE_S)


async def _leads(client: Client) -> bool:
    info = await client.jetstream(timeout=PROBE_TIMEOUT_S).stream_info(FEED)
    return info.cluster is None or bool(info.cluster.leader)


async def _again_and_again(works: Callable[[], Awaitable[bool]], times: list[float]) -> None:
    """Until it fails, or takes too long."""
    while True:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            if await works():
                times.append(monotonic())
        await asyncio.sleep(PROBE_S)


async def _hush(_: Exception) -> None:
    """It is raised, too."""
