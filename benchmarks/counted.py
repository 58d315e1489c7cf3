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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import asyncpg

from benchmarks.traffic import Traffic
from receiver.lifecycle import Windows
from receiver.model.envelope import Clock, Envelope, HeadReader
from receiver.model.notification import Channel
from receiver.parsing.parsed_callback import ParsedCallback, read
from receiver.postgres.session import WRITING, set_up
from receiver.postgres.store import Store
from receiver.redaction.redactor import Redactor

COUNTED = 480
"""Callbacks that are counted."""
BATCH = 40
DEPLOYMENTS = 400
"""All are there before: that many callbacks are done first."""

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
    """From header fields and body to what the lifecycle decides on, as in the service."""

    def __init__(self, redactor: Redactor) -> None:
        self._heads = HeadReader(redactor)
        self._clock = Clock()

    def read(self, one: Posted) -> ParsedCallback:
        """Secrets in the body are looked for before."""
        fields, body = one
        received_at, receipt = self._clock.stamp()
        envelope = Envelope.of(
            self._heads.read(fields, 65_536), receipt=receipt, received_at=received_at, source="default",
            channel=Channel.CALLBACK, remote="127.0.0.1", ref=None, body=body, redacted=False,
        )  # fmt: skip
        return read(envelope, 50)


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
    redactor = Redactor((), 5_000)
    bodies = [body for _, body in posted(0, COUNTED + BATCH)]
    for body in bodies[:BATCH]:
        redactor.redact(body)
    with counting():
        for body in bodies[BATCH:]:
            redactor.redact(body)


def parse() -> None:
    """Header fields and bodies read."""
    reader = Reader(Redactor((), 5_000))
    requests = posted(0, COUNTED + BATCH)
    for one in requests[:BATCH]:
        reader.read(one)
    with counting():
        for one in requests[BATCH:]:
            reader.read(one)


async def write(postgres_dsn: str) -> None:
    """Batches decided, their events made, all written; each callback is about a new VM of a known deployment."""
    connection = await asyncpg.connect(postgres_dsn)
    await set_up(connection, WRITING)
    store, reader = Store(Windows()), Reader(Redactor((), 5_000))
    callbacks = [reader.read(one) for one in posted(0, DEPLOYMENTS + COUNTED)]
    gc.freeze()  # as `serve` does
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


def main() -> None:
    """One step."""
    _, step, postgres_dsn = sys.argv
    if step == "write":
        asyncio.run(write(postgres_dsn))
    else:
        {"redact": redact, "parse": parse}[step]()


if __name__ == "__main__":
    main()
