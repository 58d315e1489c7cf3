"""Which connections there are: how many in all and of one address, and which of them owe the head of a request.

The last of them are kept for callbacks. Must not know bytes, paths or answers.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Protocol as Shape

from receiver.config.settings import Settings
from receiver.http.sender_address import SenderAddresses, client_of, parse_address
from receiver.observability.labels import Rejected


class OwesHead(Shape):
    """A connection."""

    def give_up_head(self) -> None:
        """End it: its head took too long."""


class Connections:
    """Counts connections. What a trusted proxy opens is not counted for its address."""

    def __init__(self, settings: Settings) -> None:
        self._max = settings.connections_max
        self._unreserved = self._max - min(settings.connections_reserved, self._max // 2)
        self._per_address_max = settings.connections_per_address_max
        self._addresses = SenderAddresses(settings.trusted_proxies)
        self._open = 0
        self._of_client: Counter[str] = Counter()

    def client(self, peer: str | None) -> str | None:
        """Whom a connection counts for; None for nobody."""
        address = parse_address(peer or "")
        return None if address is None or self._addresses.is_proxy(address) else client_of(address)

    def refusal(self, client: str | None) -> Rejected | None:
        """Why no further connection of this client is taken."""
        if self._open >= self._max:
            return Rejected.TOO_MANY_CONNECTIONS
        if client is not None and self._of_client[client] >= self._per_address_max:
            return Rejected.TOO_MANY_OF_ADDRESS
        return None

    def add(self, client: str | None) -> bool:
        """One more; whether it is of the reserve."""
        self._open += 1
        if client is not None:
            self._of_client[client] += 1
        return self._open > self._unreserved

    def remove(self, client: str | None) -> None:
        """It was closed."""
        self._open -= 1
        if client is not None:
            self._of_client[client] -= 1
            if not self._of_client[client]:
                del self._of_client[client]


class HeadTimes:
    """Connections that owe a head: new ones, and those whose next head has begun. One timer for all."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._due_s: dict[OwesHead, float] = {}
        """In the order of these times."""
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, connection: OwesHead) -> None:
        """It owes a head from now on, and did not before."""
        loop = asyncio.get_running_loop()
        self._due_s[connection] = loop.time() + self._timeout_s
        if self._timer is None:
            self._timer = loop.call_at(self._due_s[connection], self._end_overdue)

    def end(self, connection: OwesHead) -> None:
        """It owes none any more."""
        self._due_s.pop(connection, None)

    def _end_overdue(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        now_s = loop.time()
        for connection in [one for one, due_s in self._due_s.items() if due_s <= now_s]:
            self.end(connection)
            connection.give_up_head()
        if self._due_s:
            self._timer = loop.call_at(next(iter(self._due_s.values())), self._end_overdue)
