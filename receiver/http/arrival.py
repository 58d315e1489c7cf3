"""What a request to a callback path shows before its body is read, whichever way it came.

Must not know what follows.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, Self

from aiohttp import hdrs, web

from receiver.http.access import Sender
from receiver.observability.labels import ROOT_CHANNEL

if TYPE_CHECKING:
    from aiohttp.typedefs import RawHeaders
    from multidict import CIMultiDictProxy
    from yarl import URL


class Arrival(NamedTuple):
    """A request that has reached a callback path."""

    source: str
    channel: str
    token: str | None
    """The last part of the path."""
    url: URL
    raw_headers: RawHeaders
    headers: CIMultiDictProxy[str]
    remote: str | None
    """The address of the connection's other end."""
    transport: asyncio.Transport | None

    @classmethod
    def of(cls, request: web.Request) -> Self:
        """That of a request which was routed."""
        match = request.match_info
        return cls(
            match.get("source", "default"), match.get("channel", ROOT_CHANNEL), match.get("token"), request.rel_url,
            request.raw_headers, request.headers, request.remote, request.transport,
        )  # fmt: skip

    @property
    def sender(self) -> Sender:
        """What it shows of its sender."""
        return Sender(
            token=self.token,
            authorization=self.headers.get(hdrs.AUTHORIZATION),
            peer=self.remote,
            forwarded_for=self.headers.getall(hdrs.X_FORWARDED_FOR, ()),
            certificate=self.transport.get_extra_info("peercert") if self.transport else None,
        )
