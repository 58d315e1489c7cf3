"""One step of the way of a callback, done again and again while valgrind counts, for `benchmarks.instructions`.

Run as `valgrind --tool=callgrind --instr-atstart=no python -m benchmarks.counted STEP POSTGRES_DSN`. Must not know who
reads the count.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import asyncpg

from benchmarks.traffic import Traffic
from receiver.lifecycle import Windows, decide
from receiver.model.entities import Decision
from receiver.model.envelope import Clock, Envelope, HeadReader
from receiver.model.notification import Channel
from receiver.parsing.parsed_callback import ParsedCallback, read
from receiver.postgres.session import WRITING, set_up
from receiver.postgres.store import Store, events_of
from receiver.postgres.unit_of_work import UnitOfWork
from receiver.redaction.redactor import Redactor

COUNTED = 480
"""Callbacks that are counted."""
BATCH = 40
DEPLOYMENTS = 400
"""All are there before: that many callbacks are done first."""

WINDOWS = Windows()

T = TypeVar("T")
Posted = tuple[tuple[tuple[bytes, bytes], ...], bytes]
"""Header fields and body."""


def posted(first: int, count: int) -> list[Posted]:
    """So many requests of the load, taken apart."""
    request = Traffic(DEPLOYMENTS).request
    return [_taken_apart(request(number)) for number in range(first, first + count)]


def _taken_apart(request: bytes) -> Posted:
    head, body = request.split(b"\r\n\r\n", 1)
    fields = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return tuple((name, value.strip()) for name, _, value in fields), body


class Reader:
    """From header fields and body to an envelope, as in the service; secrets in the body are looked for before."""

    def __init__(self, redactor: Redactor) -> None:
        self._heads = HeadReader(redactor)
        self._clock = Clock()

    def envelope(self, one: Posted) -> Envelope:
        """It is stamped now."""
        fields, body = one
        received_at, receipt = self._clock.stamp()
        return Envelope.of(
            self._heads.read(fields, 65_536), receipt=receipt, received_at=received_at, source="default",
            channel=Channel.CALLBACK, remote="127.0.0.1", ref=None, body=body, redacted=False,
        )  # fmt: skip


@contextmanager
def counting() -> Iterator[None]:
    """What happens in it counts."""
    _count("on")
    try:
        yield
    finally:
        _count("off")


def _count(on_or_off: str) -> None:
    command = ("callgrind_control", "-i", on_or_off, str(os.getpid()))
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - valgrind's own program


def redact() -> None:
    """Secrets looked for in bodies."""
    _each([body for _, body in posted(0, BATCH + COUNTED)], Redactor((), 5_000).redact)


def read_head() -> None:
    """Header fields read, secrets in them looked for, stamped."""
    _each(posted(0, BATCH + COUNTED), Reader(Redactor((), 5_000)).envelope)


def parse() -> None:
    """Bodies read: XML, and what it means."""
    reader = Reader(Redactor((), 5_000))
    _each([reader.envelope(one) for one in posted(0, BATCH + COUNTED)], partial(read, depth_max=50))


def judge() -> None:
    """Callbacks decided against rows in memory."""
    _each(_parsed(), partial(_judged, UnitOfWork()), uncounted=DEPLOYMENTS)


def make_events() -> None:
    """What is published of them."""
    unit = UnitOfWork()
    decided = [(callback, _judged(unit, callback)) for callback in _parsed()]
    _each(decided, lambda one: events_of(*one), uncounted=DEPLOYMENTS)


def _judged(unit: UnitOfWork, callback: ParsedCallback) -> Decision:
    assert callback.notification
    decision = decide(unit.current(callback.notification), callback.notification, WINDOWS, callback.delayed)
    unit.apply(decision)
    return decision


def _parsed() -> list[ParsedCallback]:
    """Of new VMs; of each deployment there was one before."""
    reader = Reader(Redactor((), 5_000))
    return [read(reader.envelope(one), 50) for one in posted(0, DEPLOYMENTS + COUNTED)]


def _each(values: Sequence[T], do: Callable[[T], object], *, uncounted: int = BATCH) -> None:
    gc.freeze()  # as `serve` does
    gc.disable()
    for value in values[:uncounted]:
        do(value)
    with counting():
        for value in values[uncounted:]:
            do(value)


async def write(postgres_dsn: str) -> None:
    """Batches decided, their events made, all written; each callback is about a new VM of a known deployment."""
    connection = await asyncpg.connect(postgres_dsn)
    await set_up(connection, WRITING)
    store, callbacks = Store(WINDOWS), _parsed()
    gc.freeze()
    gc.disable()
    await _write(store, connection, callbacks[:DEPLOYMENTS])
    with counting():
        await _write(store, connection, callbacks[DEPLOYMENTS:])
    await connection.close()


async def _write(
    store: Store, connection: asyncpg.Connection[asyncpg.Record], callbacks: Sequence[ParsedCallback]
) -> None:
    for first in range(0, len(callbacks), BATCH):
        await store.write_batch(connection, callbacks[first : first + BATCH])


STEPS: dict[str, Callable[[], None]] = {
    "redact": redact, "head": read_head, "parse": parse, "judge": judge, "events": make_events,
}  # fmt: skip
"""Those that need no PostgreSQL."""
WRITE = "write"


def main() -> None:
    """One step."""
    _, step, postgres_dsn = sys.argv
    if step == WRITE:
        asyncio.run(write(postgres_dsn))
    else:
        STEPS[step]()


if __name__ == "__main__":
    main()
