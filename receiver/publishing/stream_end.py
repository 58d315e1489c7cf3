"""Whose the stream is, and whether it still has what it had acknowledged: judged before anything is published to it.

A stream belongs to the database whose id it carries. One without an id (made by an earlier release, by an operator, or
where the id may not be written) is known by what stands at its end. What was acknowledged last must stand in its
place; the time of creation proves nothing. Must not know what is done about a loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import structlog

from receiver.errors import StreamTakenError
from receiver.publishing.jetstream import JetStream
from receiver.publishing.outbox import Outbox, Progress
from receiver.publishing.stream_setup import CURE, StreamState

LOOKED_AT_MAX = 256
"""Messages at the end of a stream without an id that are looked at."""

log = structlog.get_logger()


class Loss(StrEnum):
    """What became of messages that the stream had acknowledged."""

    EMPTIED = "emptied"
    """It has nothing at all: made anew, its store lost, or purged."""
    CUT_SHORT = "cut-short"
    """Its end is missing, or something else stands there."""


@dataclass(slots=True)
class Tail:
    """Where the two streams end, as far as this relay knows; when it is wrong, the broker refuses what follows."""

    feed: StreamState
    feed_sequence: int
    feed_message_id: str | None
    """What stands at that sequence; None: not known."""
    kv_sequence: int
    connections: int
    """The number of the connection to NATS; after a reconnection the broker may have lost what it had."""


async def owned_feed(outbox: Outbox, jetstream: JetStream, progress: Progress) -> StreamState:
    """The stream of this database, marked as its own. Raises StreamTakenError, and leaves alone what is another's."""
    feed = await jetstream.feed(progress.database_id)
    if feed.owner:
        return feed
    if not await _is_ours(outbox, jetstream, feed, progress):
        raise StreamTakenError(f"stream {feed.name} ends with messages that this database never made; {CURE}")
    log.info("the stream is taken for this database's", stream=feed.name)
    return await jetstream.claim_feed(progress.database_id)


async def _is_ours(outbox: Outbox, jetstream: JetStream, feed: StreamState, progress: Progress) -> bool:
    """Whether it is the one published to so far, or no receiver has published to it, or this database's has."""
    if feed.messages == 0 or (progress.stream == feed.identity and progress.sequence <= feed.last_sequence):
        return True
    found = False
    async for portion in jetstream.ids_after(feed, max(0, feed.last_sequence - LOOKED_AT_MAX)):
        events = [message.uuid for message in portion if message.is_event and message.uuid]
        if await outbox.known(events):
            return True
        found = found or bool(events)
    return not found


async def loss_of(jetstream: JetStream, feed: StreamState, progress: Progress) -> Loss | None:
    """What the stream has lost since `progress`; None: nothing, as far as its end shows."""
    ends_too_soon = feed.last_sequence < progress.sequence
    if feed.messages == 0:
        is_anew = feed.last_sequence == 0 and (progress.sequence > 0 or progress.stream != feed.identity)
        was_purged = not feed.is_limited and progress.message_id is not None
        return Loss.EMPTIED if is_anew or ends_too_soon or was_purged else None
    if ends_too_soon:
        return Loss.CUT_SHORT
    if progress.message_id is None:
        return None
    there = await jetstream.id_at(feed, progress.sequence)
    may_leave = feed.is_limited or feed.age_max_s > 0
    has_left = there is None and may_leave and progress.sequence < feed.first_sequence
    return None if has_left or there == progress.message_id else Loss.CUT_SHORT
