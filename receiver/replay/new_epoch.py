"""`esc-receiver epoch`: a PostgreSQL that went back in time goes on without giving a number twice.

What consumers have seen and the ledger has forgotten is accepted as lost; whatever was stored since and not published
is renumbered, and every later entry of any entity has a higher number than any that was seen. All in one transaction,
in which no receiver writes. Must not know how it was noticed (`publishing.ledger_behind`), nor the command line.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from receiver.config.settings import Settings
from receiver.postgres.session import Connection
from receiver.postgres.statements import statements
from receiver.publishing.comparison import Missing
from receiver.publishing.jetstream import StreamMessage
from receiver.publishing.ledger_behind import forgotten
from receiver.publishing.outbox import Outbox
from receiver.publishing.rebuild import TABLES
from receiver.publishing.stream_end import owned_feed
from receiver.publishing.stream_setup import StreamState
from receiver.replay.relay_place import RelayPlace, Report, relay_place

NAMED_MAX = 100
"""So many of the lost are named."""


class Epoch(NamedTuple):
    """What was found and done."""

    number: int
    """0: none was declared."""
    floor: int
    """No entry made from now on has this number within its entity, or a lower one."""
    lost: list[StreamMessage]
    """Messages that consumers were given, and of which the ledger knows nothing."""
    renumbered: int
    """Entries that were stored since and are published now."""

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        named = [{"sequence": one.sequence, "id": one.id, "subject": one.subject} for one in self.lost[:NAMED_MAX]]
        return self._asdict() | {"lost": len(self.lost), "lost_messages": named}


class _Tail(NamedTuple):
    """What the stream has behind the relay's mark."""

    ids: list[UUID]
    lost: list[StreamMessage]
    last_id: str | None


async def declare(settings: Settings, report: Report, *, dry_run: bool) -> Epoch:
    """Declare an epoch if there is reason to. Raises ReceiverErrors, each one clear line."""
    async with relay_place(settings) as place:
        async with place.alone() as outbox:
            progress = await outbox.progress()
            feed = await owned_feed(outbox, place.jetstream, progress)
            tail = await _read(place, outbox, feed, progress.sequence, report)
            floor = max((one.entry_sequence for one in tail.lost), default=0)
            if not tail.lost or dry_run:
                return Epoch(0, floor, tail.lost, 0)
            done = await _declare(place, feed, tail, floor)
        await place.publish(done.renumbered, report)
        return done


async def _read(place: RelayPlace, outbox: Outbox, feed: StreamState, sequence: int, report: Report) -> _Tail:
    ids: list[UUID] = []
    lost: list[StreamMessage] = []
    last_id = None
    async for portion in place.jetstream.ids_after(feed, sequence):
        here = [message.uuid for message in portion if message.uuid]
        waiting = {row["id"] for row in await outbox.rows_of(here)}
        lost += await forgotten(outbox, [message for message in portion if message.uuid not in waiting])
        ids += here
        last_id = portion[-1].id
        report("messages read", portion[-1].sequence - sequence, feed.last_sequence - sequence)
    return _Tail(ids, lost, last_id)


async def _declare(place: RelayPlace, feed: StreamState, tail: _Tail, floor: int) -> Epoch:
    sql = statements("replay/new_epoch.sql")
    timeout_s = place.settings.rebuild_timeout_s
    async with place.database.dedicated(timeout_s) as connection, connection.transaction():
        await connection.execute(sql["alone"])
        floor = max(floor, await connection.fetchval(sql["floor"]))
        await connection.execute(sql["published"], tail.ids)
        pending = [row["id"] for row in await connection.fetch(sql["pending"])]
        await _renumber(connection, sql, pending, floor)
        await connection.execute(sql["drop_pending"], pending)
        await place.rebuild.fill_within(connection, [Missing(one, is_callback=False) for one in pending])
        number = await connection.fetchval(
            sql["declare"], floor, len(tail.lost), tail.lost[0].sequence, tail.lost[-1].sequence,
            feed.identity, feed.last_sequence, tail.last_id,
        )  # fmt: skip
    return Epoch(number, floor, tail.lost, len(pending))


async def _renumber(connection: Connection, sql: dict[str, str], pending: Sequence[UUID], floor: int) -> None:
    """Entries and their entities, whose next one is then higher still."""
    entities: defaultdict[str, set[UUID]] = defaultdict(set)
    for row in await connection.fetch(sql["renumber"], pending, floor):
        entities[row["entity"]].add(row["entity_id"])
    for kind, ids in entities.items():
        table, _ = TABLES[kind]
        await connection.execute(
            f"UPDATE {table} SET sequence = sequence + $2 WHERE id = ANY($1::uuid[])",  # noqa: S608 - names of ours
            list(ids), floor,
        )  # fmt: skip
