"""Closed-loop load, in a process of its own: each connection sends its next request when the one before is answered.

Run as `python -m benchmarks.load JSON`, with the fields of `Load`; prints the fields of `Heard` as JSON.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from array import array
from dataclasses import asdict, dataclass
from time import perf_counter

import orjson

from benchmarks.connection import Connection, connect, percentile
from benchmarks.traffic import Traffic

ANSWER_PATIENCE_S = 30


@dataclass(frozen=True, slots=True)
class Load:
    """What to send. With `count` exactly so many; else for `seconds`."""

    port: int
    connections: int
    deployments: int
    first: int
    """Number of the first request; those of two loads must not overlap."""
    seconds: float = 0.0
    count: int = 0
    rate: float = 0.0
    """Requests per second in all, as far as the answers come in time; 0: as many as can be."""
    vms: int = 0
    operations: int = 0
    """As `Traffic` has them."""


@dataclass(frozen=True, slots=True)
class Heard:
    """How it was answered."""

    answered: int
    refused: int
    """Answers other than 2xx."""
    seconds: float
    p50_s: float
    p99_s: float
    cpu_s: float
    """What the generator itself took."""

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answered / self.seconds


class Run:
    """One load on its way."""

    def __init__(self, load: Load) -> None:
        self._request = Traffic(load.deployments, load.vms, load.operations).request
        self._number = self._first = load.first
        self._every_s = 1 / load.rate if load.rate else 0.0
        self._began_s = perf_counter()
        self._last = load.first + load.count if load.count else sys.maxsize
        self._ends_s = perf_counter() + load.seconds if load.seconds else float("inf")
        self._latencies_s = array("d")
        self._refused = 0

    def answered(self, connection: Connection, fine: bool) -> None:
        """Note it, and send the next."""
        now_s = perf_counter()
        self._latencies_s.append(now_s - connection.sent_s)
        self._refused += not fine
        self.go_on(connection, now_s)

    def go_on(self, connection: Connection, now_s: float) -> None:
        """Send the next request, or end."""
        if self._number < self._last and now_s < self._ends_s:
            due_s = self._began_s + self._every_s * (self._number - self._first) - now_s
            request = self._request(self._number)
            self._number += 1
            if self._every_s and due_s > 0:
                asyncio.get_running_loop().call_later(due_s, connection.post, request)
            else:
                connection.post(request)
        else:
            connection.close()

    def heard(self, seconds: float) -> Heard:
        """The sum of it."""
        ascending = sorted(self._latencies_s)
        return Heard(
            answered=len(ascending),
            refused=self._refused,
            seconds=seconds,
            p50_s=percentile(ascending, 0.5),
            p99_s=percentile(ascending, 0.99),
            cpu_s=os.times().user + os.times().system,
        )


async def send(load: Load) -> Heard:
    """Send all of it and wait for the answers."""
    run = Run(load)
    connections = await connect(load.port, load.connections, run.answered)
    began_s = perf_counter()
    for connection in connections:
        run.go_on(connection, began_s)
    async with asyncio.timeout(load.seconds + ANSWER_PATIENCE_S if load.seconds else None):
        await asyncio.gather(*(connection.lost for connection in connections))
    return run.heard(perf_counter() - began_s)


def main() -> None:
    """One load."""
    load = Load(**orjson.loads(sys.argv[1]))
    gc.disable()  # nothing here makes cycles
    sys.stdout.buffer.write(orjson.dumps(asdict(asyncio.run(send(load)))))


if __name__ == "__main__":
    main()
