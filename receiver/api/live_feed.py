"""`GET feed`: ledger entries as server-sent events, from now on or from where a reader left off.

What lies behind is read from the ledger, what comes is handed over by the follower; the two meet at one position, so
nothing is lost or repeated, whichever receiver the reader was at before. This file must not know SQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import hdrs, web

from receiver.api.api_errors import ParameterError, StaleCursorError
from receiver.api.ledger_follower import Follower
from receiver.api.position import Position, read_position
from receiver.api.read_pool import Reader
from receiver.api.row_shapes import position_of, sql
from receiver.api.subscription import Subscription, Wanted, events, sent_position
from receiver.config.settings import Settings

LAST_EVENT_ID = "Last-Event-ID"
RETRY_MS = 2_000
STILL_HERE = b": still here\n\n"


class Feed:
    """Serves readers of the feed."""

    def __init__(self, follower: Follower, reader: Reader, settings: Settings) -> None:
        self._follower = follower
        self._reader = reader
        self._settings = settings
        self._sql = sql()

    async def serve(self, request: web.Request, asked: Mapping[str, Any]) -> web.StreamResponse:
        """Until the reader leaves, is too slow, or the receiver stops. Raises QueryError before the first byte."""
        wanted = Wanted(**{name: asked[name] for name in ("entity", "change", "source", "deployment")})
        with self._follower.joining():
            resumes = await self._resumes_at(request, asked)
            place = await self._follower.place()
            response = await _begun(request)
            try:
                await self._send(request, response, wanted, resumes or place)
            except ConnectionError:
                request.protocol.force_close()  # the reader has left, or was too slow
            return response

    async def _send(
        self, request: web.Request, response: web.StreamResponse, wanted: Wanted, position: Position
    ) -> None:
        await response.write(b"retry: %d\n%b" % (RETRY_MS, sent_position(position)))
        # Twice: the second time, with a queue that fills meanwhile, there is only little left to read.
        position = await self._catch_up(response, wanted, position, await self._follower.place())
        with self._follower.subscribed(wanted, position, lambda: _cut(request)) as reader:
            await self._catch_up(response, wanted, position, reader.position)
            await self._live(response, reader)

    async def _live(self, response: web.StreamResponse, reader: Subscription) -> None:
        told = reader.position
        while not reader.closed:
            chunk = await reader.take(self._settings.feed_heartbeat_s)
            if chunk:
                told = reader.position
                await response.write(chunk)
            elif reader.position != told:
                # Nothing that it wants, but it need not look through all of that again when it comes back.
                told = reader.position
                await response.write(sent_position(told))
            else:
                await response.write(STILL_HERE)

    async def _catch_up(
        self, response: web.StreamResponse, wanted: Wanted, position: Position, until: Position
    ) -> Position:
        """Send what lies behind `position`, up to `until`; where that ends."""
        batch = self._settings.feed_batch_max
        while position < until:
            rows = await self._reader.rows(self._sql["after"], *position, batch)
            inside = [row for row in rows if position_of(row) <= until]
            chunk = b"".join(event.sent for event in events(inside) if wanted.has(event.row))
            position = position_of(inside[-1]) if len(inside) == batch else until
            await response.write(chunk + sent_position(position))
        return position

    async def _resumes_at(self, request: web.Request, asked: Mapping[str, Any]) -> Position | None:
        name = "after"
        position: Position | None = asked["after"]
        if last := request.headers.get(LAST_EVENT_ID):
            name = LAST_EVENT_ID
            try:
                position = read_position(last)
            except ValueError as error:
                raise ParameterError(LAST_EVENT_ID, str(error)) from None
        if position is not None:
            reached = await self._reader.row(self._sql["reached"], None)
            if reached is not None and position.xid > reached["xid"]:
                raise StaleCursorError(name, "this database has not reached it")
        return position


async def _begun(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={
            hdrs.CONTENT_TYPE: "text/event-stream",
            hdrs.CACHE_CONTROL: "no-store",
            "X-Accel-Buffering": "no",
        }
    )
    await response.prepare(request)
    return response


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
