"""`esc-receiver replay --to-stream`: the stream rebuilt from PostgreSQL on demand, with the ids of the first time.

Must not know how a message is made (`publishing.rebuild`) or published (`replay.relay_place`).
"""

from __future__ import annotations

from functools import partial

from receiver.config.settings import Settings
from receiver.errors import SetupError
from receiver.publishing.outbox import Outbox
from receiver.publishing.stream_setup import StreamState
from receiver.replay.relay_place import RelayPlace, Report, relay_place


async def to_stream(settings: Settings, report: Report = lambda _, __, ___: None, *, purge: bool = False) -> int:
    """Publish the ledger, and what fitted no rule, again; how many messages that is.

    Raises SetupError for a stream that holds messages (unless `purge`), and ReceiverErrors of NATS and PostgreSQL.
    """
    async with relay_place(settings) as place:
        async with place.alone() as outbox:
            messages = await _fill_outbox(place, outbox, report, purge=purge)
        await place.publish(messages, report)
        return messages


async def _fill_outbox(place: RelayPlace, outbox: Outbox, report: Report, *, purge: bool) -> int:
    jetstream, database_id = place.jetstream, (await outbox.progress()).database_id
    stream = await jetstream.feed(database_id, whosever=purge)
    _require_empty(stream, purge=purge)
    # Late, so that the stream is empty for as short a time as can be; and its sequence goes on where it was.
    at_last = partial(jetstream.empty, stream)
    messages = await place.rebuild.run(
        stream.identity, stream.last_sequence, at_last=at_last, report=partial(report, "messages made")
    )
    await jetstream.claim(database_id)  # it may have been another database's
    return messages


def _require_empty(stream: StreamState, *, purge: bool) -> None:
    if stream.messages and not purge:
        raise SetupError(
            f"stream {stream.name} holds {stream.messages} messages: consumers would get them twice. "
            "With --purge they are taken out first"
        )
