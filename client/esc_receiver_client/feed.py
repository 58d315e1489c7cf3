"""`EscFeed`: the feed on NATS, as async iterations over events.

Must not know how messages are fetched (`durable`, `ordered`), nor what an event holds (`event`).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import aclosing, suppress
from typing import Any, Self, TypeVar

from esc_receiver_client.connection import CONNECT_S, Connection
from esc_receiver_client.durable import Durable, DurableReader
from esc_receiver_client.errors import FeedError
from esc_receiver_client.event import Batch, Event
from esc_receiver_client.ordered import Follower, Start
from esc_receiver_client.snapshot import EntityKind, SnapshotReader, State

ALL = ("esc.v1.>",)
PREFETCH = 256
ACK_WAIT_S = 30.0
UNACKNOWLEDGED_MAX = 1_000
DeadLetter = Callable[[Event], Awaitable[None]]
_T = TypeVar("_T")


class EscFeed:
    """One connection to NATS, used as `async with EscFeed("nats://…") as feed`.

    `nats_options` are handed to nats-py's `connect`: `user_credentials`, `tls`, `token` …
    """

    def __init__(
        self,
        servers: str | Sequence[str],
        *,
        stream: str = "ESC",
        bucket: str = "esc-state",
        name: str = "esc-receiver-client",
        connect_timeout_s: float = CONNECT_S,
        stop_on: Iterable[signal.Signals] = (),
        **nats_options: Any,
    ) -> None:
        """`stop_on`: signals that end all iterations between two events, such as SIGTERM."""
        self._connection = Connection(servers, name=name, connect_timeout_s=connect_timeout_s, **nats_options)
        self._stream = stream
        self._bucket = bucket
        self._signals = tuple(stop_on)
        self._stopping = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._connection.open()
        for number in self._signals:
            asyncio.get_running_loop().add_signal_handler(number, self.stop)
        return self

    async def __aexit__(self, *_: object) -> None:
        for number in self._signals:
            asyncio.get_running_loop().remove_signal_handler(number)
        await self._connection.close()

    def stop(self) -> None:
        """End all iterations; what was fetched and not handed out yet is given back."""
        self._stopping.set()

    async def subscribe(
        self,
        durable: str | None = None,
        subjects: Sequence[str] = ALL,
        start: Start = "beginning",
        *,
        ack_wait_s: float = ACK_WAIT_S,
        unacknowledged_max: int = UNACKNOWLEDGED_MAX,
        prefetch: int = PREFETCH,
        max_deliver: int | None = None,
        on_dead_letter: DeadLetter | None = None,
    ) -> AsyncGenerator[Event]:
        """Events one by one, for ever, or until `stop`.

        With a `durable` name, JetStream remembers what was acknowledged; an event that is not acknowledged within
        `ack_wait_s` is delivered again, here or to another process of that name. Without one, events are read in order
        from `start` on and need no acknowledgement.

        `max_deliver`: an event that was delivered so often without being settled goes to `on_dead_letter` instead, and
        is then passed over. Events are asked for one at a time then, so that a delivery is an attempt.

        Raises FeedError, or one of its kinds, at the start; later NATS is waited for.
        """
        batches = self.batches(
            durable, subjects, start, ack_wait_s=ack_wait_s, unacknowledged_max=unacknowledged_max,
            prefetch=prefetch, max_deliver=max_deliver, on_dead_letter=on_dead_letter,
        )  # fmt: skip
        async with aclosing(batches) as found:
            async for batch in found:
                handed_out = 0
                try:
                    for event in batch:
                        if self._stopping.is_set():
                            return
                        handed_out += 1
                        yield event
                finally:
                    await _give_back(batch[handed_out:])

    async def batches(
        self,
        durable: str | None = None,
        subjects: Sequence[str] = ALL,
        start: Start = "beginning",
        *,
        ack_wait_s: float = ACK_WAIT_S,
        unacknowledged_max: int = UNACKNOWLEDGED_MAX,
        prefetch: int = PREFETCH,
        max_deliver: int | None = None,
        on_dead_letter: DeadLetter | None = None,
    ) -> AsyncGenerator[Batch]:
        """The same, as many as there are, at most `prefetch`, at once: for work that is cheaper together."""
        if (max_deliver is None) != (on_dead_letter is None):
            raise ValueError("max_deliver and on_dead_letter go together: nothing may be dropped unseen")
        reader: DurableReader | Follower
        if durable is None:
            reader = Follower(self._connection, self._stream, subjects, start)
        else:
            wanted = Durable(
                durable, subjects, start, ack_wait_s, unacknowledged_max, prefetch if max_deliver is None else 1
            )
            reader = DurableReader(self._connection, self._stream, wanted)
        async with aclosing(reader.batches()) as found:
            while messages := await self._next(found):
                events = [Event(one, wants_ack=durable is not None, ack_wait_s=ack_wait_s) for one in messages]
                if max_deliver and on_dead_letter:
                    events = await _without_poison(events, max_deliver, on_dead_letter)
                if events:
                    yield Batch(events)

    async def snapshot_then_follow(
        self, entities: Collection[EntityKind] = ("deployment", "vm")
    ) -> AsyncGenerator[State]:
        """Each entity's current state, and then every change after it, without a gap or a repeat, until `stop`.

        An event of the snapshot is None. Nothing is acknowledged: a process that starts again takes a new snapshot.
        """
        reader = SnapshotReader(self._connection, self._stream, self._bucket, entities)
        async with aclosing(reader.batches()) as batches:
            while (states := await self._next(batches)) is not None:
                for state in states:
                    if self._stopping.is_set():
                        return
                    yield state

    async def _next(self, found: AsyncGenerator[_T]) -> _T | None:
        """The next of them; None when there are none, or all is to stop."""
        step = asyncio.ensure_future(anext(found, None))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((step, stopping), return_when=asyncio.FIRST_COMPLETED)
            return step.result() if step.done() else None
        finally:
            for task in (step, stopping):
                task.cancel()
                with suppress(asyncio.CancelledError, StopAsyncIteration):
                    await task


async def _without_poison(events: Sequence[Event], max_deliver: int, on_dead_letter: DeadLetter) -> list[Event]:
    kept = []
    for event in events:
        if event.deliveries > max_deliver:
            await on_dead_letter(event)
            await event.reject()
        else:
            kept.append(event)
    return kept


async def _give_back(events: Sequence[Event]) -> None:
    with suppress(FeedError):  # NATS is away: they are delivered again by themselves
        for event in events:
            await event.nak()
