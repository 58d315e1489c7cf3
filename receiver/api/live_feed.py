"""`GET feed`: ledger entries as server-sent events, from now on or from where a subscriber left off.

Past entries are read from the ledger, new ones come from the follower. The two meet at one position, so nothing is
lost or repeated, whichever receiver the subscriber was at before. This file must not know SQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import hdrs, web

from receiver.api.api_errors import ParameterError
from receiver.api.ledger_follower import LedgerFollower
from receiver.api.ledger_lists import check_position
from receiver.api.position import Position, read_position
from receiver.api.read_pool import Reader
from receiver.api.row_shapes import position_of
from receiver.api.subscription import EventFilter, Subscription, events, position_event
from receiver.api.tokens import Tokens
from receiver.config.read_tokens import Scope
from receiver.config.settings import Settings

LAST_EVENT_ID = "Last-Event-ID"
RETRY_MS = 2_000
HEARTBEAT = b": still here\n\n"
_HEADERS = {
    hdrs.CONTENT_TYPE: "text/event-stream",
    hdrs.CACHE_CONTROL: "no-store",
    "X-Accel-Buffering": "no",  # else nginx would hold events back
}


class _Client:
    """Who the feed is sent to, as long as its token or session is valid."""

    def __init__(self, request: web.Request, response: web.StreamResponse, tokens: Tokens) -> None:
        self._request = request
        self._response = response
        self._tokens = tokens

    async def write(self, chunk: bytes) -> None:
        """Raises ConnectionError when it has left, or may read no more."""
        if Scope.READ not in self._tokens.scopes(self._request):
            raise ConnectionError("its session is over")
        await self._response.write(chunk)

    def cut(self) -> None:
        """End the connection at once."""
        if self._request.transport is not None:
            self._request.transport.abort()


class LiveFeed:
    """Serves subscribers."""

    def __init__(self, follower: LedgerFollower, reader: Reader, tokens: Tokens, settings: Settings) -> None:
        self._follower = follower
        self._reader = reader
        self._tokens = tokens
        self._settings = settings

    async def serve(self, request: web.Request, query: Mapping[str, Any]) -> web.StreamResponse:
        """Until the client leaves, is too slow, or may read no more, or the receiver stops.

        Raises QueryError before the first byte.
        """
        wanted = EventFilter(**{name: query[name] for name in ("entity", "change", "source", "deployment")})
        with self._follower.joined():
            after = await self._after(request, query)
            position = await self._follower.position()
            response = web.StreamResponse(headers=_HEADERS)
            await response.prepare(request)
            try:
                await self._send(_Client(request, response, self._tokens), wanted, after or position)
            except ConnectionError:
                request.protocol.force_close()  # the client has left, was too slow, or may read no more
            return response

    async def _send(self, client: _Client, wanted: EventFilter, position: Position) -> None:
        await client.write(b"retry: %d\n%b" % (RETRY_MS, position_event(position)))
        # Twice: the second time, with a queue that fills meanwhile, there is only little left to read.
        position = await self._catch_up(client, wanted, position, await self._follower.position())
        with self._follower.subscribed(wanted, position, client.cut) as subscription:
            await self._catch_up(client, wanted, position, subscription.position)
            await self._forward(client, subscription)

    async def _forward(self, client: _Client, subscription: Subscription) -> None:
        sent = subscription.position
        while not subscription.closed:
            chunk = await subscription.take(self._settings.feed_heartbeat_s)
            if not chunk:
                # Where nothing matched, the new position saves the client from reading all that again.
                chunk = HEARTBEAT if subscription.position == sent else position_event(subscription.position)
            sent = subscription.position
            await client.write(chunk)

    async def _catch_up(self, client: _Client, wanted: EventFilter, position: Position, until: Position) -> Position:
        """Send what the ledger has after `position`, up to `until`; returns the position reached."""
        batch_max = self._settings.feed_batch_max
        while position < until:
            rows = await self._reader.rows("after", *position, batch_max)
            inside = [row for row in rows if position_of(row) <= until]
            chunk = b"".join(event.sse for event in events(inside) if wanted.matches(event.row))
            position = position_of(inside[-1]) if len(inside) == batch_max else until
            await client.write(chunk + position_event(position))
        return position

    async def _after(self, request: web.Request, query: Mapping[str, Any]) -> Position | None:
        """The position that the client resumes at: of the header, else of the parameter."""
        name = "after"
        position: Position | None = query["after"]
        if last := request.headers.get(LAST_EVENT_ID):
            name = LAST_EVENT_ID
            try:
                position = read_position(last)
            except ValueError as error:
                raise ParameterError(name, str(error)) from None
        if position is not None:
            await check_position(self._reader, name, position)
        return position
