"""Where a webhook's consumer is to stand when its events begin to be read: where it stood, never silently elsewhere.

The table remembers a place and the message there. Where the stream no longer has that message at that place (it was
made anew, cut short, or has outrun the webhook), the message is looked for; while it is not found, nothing is
delivered, and that is told. Must not know how events are delivered.
"""

from __future__ import annotations

import structlog

from receiver.errors import ConsumerLostError
from receiver.publishing.durable_consumer import DurableConsumer, Place
from receiver.publishing.stream_setup import StreamState
from receiver.webhooks.register import Register, Row

CURE = "choose where it goes on: esc-receiver webhooks resend NAME --from-seq N"

log = structlog.get_logger()


class StartingPlace:
    """Sees to the consumer of one webhook."""

    def __init__(self, consumer: DurableConsumer, register: Register) -> None:
        self._consumer = consumer
        self._register = register

    async def ensure(self, row: Row) -> Place:
        """Make the consumer stand where it should; where that is.

        Raises ConsumerLostError when the place is lost, and what consumer and register raise.
        """
        stream = await self._consumer.stream()
        if row.resend_from is not None:
            return await self._move(row, await self._consumer.place_at(row.resend_from - 1))
        if (place := row.place) is None:
            place = await self._consumer.place_at(stream.last_sequence)
            await self._register.begin(row.name, place)
            return await self._move(row, place)
        if why := await self._lost_because(place, stream):
            return await self._move(row, await self._found(row, place, why))
        if await self._consumer.standing() is None:
            log.warning(
                "a webhook's consumer was gone from JetStream; it is made anew", webhook=row.name, behind=place.sequence
            )
            return await self._move(row, place)
        if row.trouble:
            await self._register.placed(row, place)
        return place

    async def _move(self, row: Row, place: Place) -> Place:
        await self._consumer.make(place.sequence)
        await self._register.placed(row, place)
        return place

    async def _lost_because(self, place: Place, stream: StreamState) -> str:
        """Why the place is not where it was; empty: it is."""
        if place.sequence > stream.last_sequence:
            return f"the stream ends at {stream.last_sequence}: it was made anew, or cut short"
        if place.sequence + 1 < stream.first_sequence:
            return f"the stream begins at {stream.first_sequence} by now"
        there = await self._consumer.place_at(place.sequence)
        if place.id and there.id and there.id != place.id:
            return "another message stands there: the stream was made anew"
        return ""

    async def _found(self, row: Row, place: Place, why: str) -> Place:
        found = await self._consumer.find(place)
        if found is None:
            raise ConsumerLostError(f"its place {place.sequence} is lost, {why}; {CURE.replace('NAME', row.name)}")
        log.warning(
            "a webhook's place in the stream was found again", webhook=row.name, was=place.sequence,
            is_now=found.sequence, why=why,
        )  # fmt: skip
        return found
