"""Large bodies are read in processes of their own, so that no body holds up the event loop.

A thread would not do: work on a megabyte is done in few long steps, and in each of them no other thread runs. A process
is started for the first large body; one that dies or takes longer than `body_reader_timeout_s` is replaced. How many
bodies of a source may wait is limited. Must not know HTTP, nor what a body means.
"""

from __future__ import annotations

import asyncio
import marshal
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import structlog

from receiver.config.settings import PREFIX, Settings
from receiver.errors import BodyReadersBusyError, BodyTooLargeError, CannotKeepError, UndecodableBodyError
from receiver.lifecycle import DelayedContext
from receiver.model.envelope import Envelope
from receiver.parsing.content_encoding import decode_body
from receiver.parsing.parsed_callback import ParsedCallback, read
from receiver.parsing.reader_process import LENGTHS, PROGRAM, frame
from receiver.parsing.reading import Limits, Reading, of_values
from receiver.parsing.stored_body import StoredBody, may_be_packed

log = structlog.get_logger()

T = TypeVar("T")

_TURN_S: Final = 0.005
"""How long the loop may wait while small ones are read."""
_END_S: Final = 1.0
"""Until an idle process has ended; one that has not ends with this one."""
_TRIES: Final = 2
"""With a new process each: the one before may have died of something else."""


class BodyReaders:
    """Reads bodies: small ones at once, large ones aside."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._limits = Limits(
            settings.body_bytes_max, settings.xml_depth_max, settings.secret_names, settings.redaction_tokens_max
        )
        self._redactor = self._limits.redactor()
        self._free = asyncio.Semaphore(settings.body_readers)
        self._idle: list[_Process] = []
        self._ending: set[asyncio.Task[None]] = set()
        self._waiting: Counter[str] = Counter()
        """Bodies by source, those that are being read among them."""

    def store_small(self, sent: bytes, encoding: str | None) -> StoredBody | None:
        """What is stored of a body, where that is little work; else None."""
        small_bytes_max = self._settings.body_inline_bytes_max
        if len(sent) > small_bytes_max:
            return None
        try:
            body = decode_body(sent, encoding, small_bytes_max) if encoding else sent
        except (BodyTooLargeError, UndecodableBodyError):
            return None
        return None if may_be_packed(body) else StoredBody(*self._redactor.redact(body))

    async def store(self, sent: bytes, encoding: str | None, source: str) -> tuple[StoredBody, Reading]:
        """What is stored of a body, and what it says, read aside.

        Raises BodyTooLargeError, BodyReadersBusyError when too many of this source wait, or CannotKeepError.
        """
        with self._place_in_queue(source):
            answer = await self._ask((True, encoding), sent)
        if answer is None:
            raise CannotKeepError("the body could not be read within body_reader_timeout_s, or its reader failed")
        (too_large, *values), body = answer
        if too_large is not None:
            raise BodyTooLargeError(too_large)
        is_same, redacted, fault, reading = values
        return StoredBody(sent if is_same else body, redacted, fault), of_values(reading)

    async def read(self, envelope: Envelope, delayed: DelayedContext | None = None) -> ParsedCallback:
        """Read a callback that was stored before; one whose body cannot be read is as it came."""
        is_small = len(envelope.body) <= self._settings.body_inline_bytes_max
        if is_small or envelope.undecodable_because is not None:
            return read(envelope, self._limits.xml_depth_max, delayed)
        answer = await self._ask((False, None), envelope.body)
        reading = of_values(answer[0]) if answer else Reading()
        return read(envelope, self._limits.xml_depth_max, delayed, reading)

    async def read_all(
        self, envelopes: Iterable[tuple[T, Envelope]], delayed: DelayedContext | None = None
    ) -> AsyncIterator[tuple[T, ParsedCallback]]:
        """Read callbacks one after the other; the loop turns in between."""
        turn_ends_s = time.monotonic() + _TURN_S
        for key, envelope in envelopes:
            yield key, await self.read(envelope, delayed)
            if time.monotonic() > turn_ends_s:
                await asyncio.sleep(0)
                turn_ends_s = time.monotonic() + _TURN_S

    async def close(self) -> None:
        """End the processes."""
        while self._idle:
            self._end(self._idle.pop())
        if self._ending:
            await asyncio.wait(self._ending, timeout=_END_S)

    def _end(self, process: _Process, *, at_once: bool = False) -> None:
        ending = asyncio.create_task(process.end(at_once=at_once), name="reader of large bodies: end")
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    @contextmanager
    def _place_in_queue(self, source: str) -> Iterator[None]:
        if self._waiting[source] >= self._settings.body_readers_queue_max:
            raise BodyReadersBusyError("too many large bodies of this source wait (body_readers_queue_max)")
        self._waiting[source] += 1
        try:
            yield
        finally:
            self._waiting[source] -= 1

    async def _ask(self, order: tuple[bool, str | None], body: bytes) -> tuple[Any, bytes] | None:
        """The answer of a process; None when there is none."""
        async with self._free:
            for _ in range(_TRIES):
                process = self._idle.pop() if self._idle else _Process()
                try:
                    async with asyncio.timeout(self._settings.body_reader_timeout_s):
                        answer = await process.ask(self._limits, order, body)
                except (OSError, EOFError) as error:  # a TimeoutError among them
                    self._end(process, at_once=True)
                    log.error("the reader of large bodies failed", why=type(error).__name__, body_bytes=len(body))  # noqa: TRY400 - where it waited says nothing
                    if isinstance(error, TimeoutError):
                        return None
                except BaseException:
                    self._end(process, at_once=True)
                    raise
                else:
                    self._idle.append(process)
                    return answer
        return None


class _Process:
    """One process; it is started when it is first asked."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def ask(self, limits: Limits, order: tuple[bool, str | None], body: bytes) -> tuple[Any, bytes]:
        """Its answer. Raises OSError or EOFError (IncompleteReadError) when it is not there, or no longer."""
        if self._process is None:
            self._process = await _started(limits)
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None  # they are pipes
        assert stdout is not None
        stdin.write(frame(order, body))
        await stdin.drain()
        values, of_body = LENGTHS.unpack(await stdout.readexactly(LENGTHS.size))
        answer = await stdout.readexactly(values)
        return marshal.loads(answer), await stdout.readexactly(of_body)  # noqa: S302 - of a process of ours

    async def end(self, *, at_once: bool) -> None:
        """End it: an idle one ends with its input."""
        if self._process is None:
            return
        assert self._process.stdin is not None  # it is a pipe
        if at_once and self._process.returncode is None:
            self._process.kill()
        self._process.stdin.close()
        await self._process.communicate()


async def _started(limits: Limits) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", PROGRAM, *sys.path,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_PIPE_BYTES,
        env={name: value for name, value in os.environ.items() if not name.startswith(PREFIX)},
    )  # fmt: skip
    assert process.stdin is not None  # it is a pipe
    process.stdin.write(frame(tuple(limits)))
    return process


_PIPE_BYTES: Final = 1 << 20
"""Read from a process before the reading pauses."""
